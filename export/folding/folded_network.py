"""What folding gives, and formats are given."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

ALL = "all"  # the signature of all tasks together; no task may be named so


@dataclasses.dataclass(frozen=True)
class FoldedNetwork:
    """All that a format is given: the folded tasks, and what is to become of them.

    Attributes:
        models: `{task: functional keras.Model}` from image to answer, float32.
        bank: `{name: layer}`, the layers that the models share.
        kernels: `{name: array}`, the kernels of its convolutions, those that adapters stand behind as they stand in the
            unfolded model.
        precision: `"float32"`, or one of the format's `quantizers`.
        image_shape: `(height, width, channels)` of the input, `None` where free.
        batch_size: of the input; `None`: any.
        calibration: `{task: images}` for a precision that needs them, see `check_representative_data`; where `joint`,
            also those of all tasks, as `"all"`.
        description: what the file says about itself to this package, see `rc_keras.export.formats.metadata`.
        verbose: whether progress is printed.
        joint: whether there is to be a network of all tasks besides, see `joint.joint_model`.
        template: `{task: names of the layers of the bank's template that it has}`, without that of the task.
        self_description: what the file says about itself to others, see `rc_keras.export.formats.description`.
    """

    models: dict[str, keras.Model]
    bank: dict[str, keras.Operation]
    kernels: dict[str, np.ndarray]
    precision: str
    image_shape: tuple[int | None, ...]
    batch_size: int | None
    calibration: dict[str, list[np.ndarray]]
    description: dict[str, Any]
    verbose: bool
    joint: bool
    template: dict[str, frozenset[str]]
    self_description: dict[str, Any] = dataclasses.field(default_factory=dict)

    def users(self, convolution: str) -> list[str]:
        """Names of the signatures that use a convolution of the bank: a classifier does not use that of a decoder."""
        names = [name for name, model in self.models.items() if convolution in {layer.name for layer in model.layers}]
        return names + [ALL] * self.joint

    def calibration_images(self, name: str) -> Iterator[np.ndarray]:
        """The images to calibrate a task on, one by one, float32; prints how far they are."""
        images = self.calibration[name]
        for index, image in enumerate(images):
            if self.verbose and index % max(len(images) // 4, 1) == 0:
                print(f"{name} {index}/{len(images)}", end=" ", flush=True)
            yield image.astype("float32")
