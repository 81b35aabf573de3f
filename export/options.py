"""What can be asked of an export."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

MODES = ("shared", "merged")


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """The options of all exporters; each format knows most of them, see its signature.

    Attributes:
        tasks: names of the tasks to export; `None`: all.
        mode: `"shared"`: bank and modulators apart, the bank once for all tasks; `"merged"`: one plain convolution for
            both, for a single task.
        quantize: how weights, and activations, are stored: `None`, in float32, or one of those that the format knows,
            of `"float16"`, `"dynamic_int8"` and `"int8"`. Input and output stay float32.
        representative_data: for `quantize="int8"`, images like those that the network will see, or `{task: images}`,
            see `check_representative_data`; otherwise `None`.
        image_shape: `(height, width, channels)` of the input, `None` where free; `None`: the model's.
        batch_size: of the input; `None`: any.
        segmentation: what segmentation tasks answer, `"logits"`, or `"class_ids"`: uint8 `(batch, height, width)`.
        resolution: of what segmentation tasks answer, `"image"`, or `"network"`: without the last resizing of the
            decoder, which leaves it to the caller.
        images: what the file is compared with the model on, RGB in 0..255: an array `(n, height, width, channels)`, or
            a list of arrays `(height, width, channels)`; `None`: two of the representative data, or generated ones.
        labels: `{task: labels of the images}`, to compare the tasks' metrics too; `None`: no metrics.
        overwrite: whether what has the name is replaced; otherwise that is an error.
        verbose: whether to print a line for each stage, and the report.
        joint: whether there is a signature or graph besides, `all`, that answers all exported tasks of an image, in
            which what they have in common is computed once.
        license: under which the file may be used, for those who find it alone, as an SPDX identifier or a sentence;
            `None`: it says nothing about that.
        model_version: a number of yours, at least 1, by which versions of the file are told apart.
    """

    tasks: Sequence[str] | None = None
    mode: str = "shared"
    quantize: str | None = None
    representative_data: Iterable[Any] | dict[str, Iterable[Any]] | None = None
    image_shape: Sequence[int | None] | None = None
    batch_size: int | None = 1
    segmentation: str = "logits"
    resolution: str = "image"
    images: np.ndarray | Sequence[np.ndarray] | None = None
    labels: Mapping[str, Sequence[Any]] | None = None
    overwrite: bool = False
    verbose: bool = True
    joint: bool = False
    license: str | None = None
    model_version: int = 1

    @property
    def precision(self) -> str:
        """The key of `TOLERANCES` that `quantize` asks for."""
        return self.quantize or "float32"


OPTIONS = tuple(field.name for field in dataclasses.fields(ExportOptions))
