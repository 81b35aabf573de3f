"""`Kind`: all that the package asks of a kind of task."""

import abc
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import keras
import numpy as np

from rc_keras.base.keras_types import Tensor
from rc_keras.tasks import drawing
from rc_keras.tasks.labels import find_labelled
from rc_keras.tasks.legend import Legend, Ramp, show_number

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task


class Kind(abc.ABC):
    """What the tasks of a kind have in common: one object holds all that the package asks of it.

    A subclass gives `name`, `values`, `ignore`, `make_loss` and `make_metrics`, and overrides whatever else is not as
    here, which describes a map of one real number a pixel. Methods get the `Task` they are about; the object keeps
    nothing of it. Arrays are NumPy's, tensors any backend's.

    Three words on which most depends:

    - A **dense** kind answers a map `(B, H, W, channels)`, the others one vector an image `(B, channels)`, from a
      pooled head.
    - **Continuous** labels are floating-point numbers, one for each channel of the prediction; the others are integers,
      one for each pixel (or image).
    - A label is **unlabelled** if it is `Task.ignore` in all its channels.

    Example:

    >>> class Height(rc_keras.tasks.kinds.Kind):
    ...     name, values, unit, ignore = "height", "metres above the ground", "m", -1
    ...     interpolation, colour_scale = "bilinear", True
    ...
    ...     def make_loss(self, task):
    ...         return HeightL1(ignore=task.ignore)
    ...
    ...     def make_metrics(self, task):
    ...         return [HeightError(ignore=task.ignore)]
    >>> rc_keras.tasks.kinds.register(Height())

    Attributes:
        name: the string users give as `Task.kind`.
        values: what the numbers of an activated prediction are, for messages and exported files: `"logits"`,
            `"metres"`.
        unit: the sign of their unit, for legends; may be empty.
        any_unit: whether the numbers have the unit that each task says, `Task.unit`.
        level: place from low level (0, edges) to high (5, classes of whole images), by which comparisons order tasks.
        channels: channels of the prediction; `None`: each task says.
        ignore: default of `Task.ignore`.
        zero_is_unlabelled: whether `Task.ignore` must be 0, the zero vector where there are channels.
        dense: see above.
        continuous: see above.
        of_classes: whether channels are logits of classes and labels class ids, 0 … channels - 1: then tasks may have
            `class_names`, `"accuracy"` and `"crossentropy"` mean those of classes, and exports of dense kinds may
            answer class ids. `channels` is `None` then.
        binary: whether the one channel is a logit and labels are 0, no, and 1, yes: then `"accuracy"` and
            `"crossentropy"` mean the binary ones, and files of labels may say 255 for yes.
        lines: whether "yes" is a line of about one pixel: reduced labels keep it connected, and evaluation matches
            boundaries.
        unit_length: whether labels have length 1: mixed or read ones get it again. It needs `zero_is_unlabelled`.
        interpolation: of rescaled labels, `"nearest"`, or for continuous ones `"bilinear"`: among labelled pixels,
            unlabelled where one of those mixed is.
        scale_power: rescaled labels are multiplied by the factor to this power: 0 for most, -1 for depth, since what
            looks twice as large is half as far, 1 for lengths in pixels.
        mirror_factors: for each channel, the factor of labels when left and right are swapped; empty: none.
        colour_scale: whether pictures have a scale of colours whose ends can be given, as `depth_range`.
        quantity: what such a number is, in the descriptions of exported files; empty: `values`.
        limits: the lowest and the highest number of an activated prediction; `None`: any.
        axes: which way the channels point, a sentence; empty where they are no directions.
        ramp: the colours of `draw`, uint8 RGB `(256, 3)` from `limits[0]` to `limits[1]`, or, without limits, from the
            lowest number of a picture to its highest; `None` where `draw` has no scale of colours.
        integer_hint: what is added to the error about integer labels of a continuous kind.
    """

    name: str
    values: str
    unit: str = ""
    any_unit: bool = False
    level: int = 0
    channels: int | None = 1
    ignore: int
    zero_is_unlabelled: bool = False
    dense: bool = True
    continuous: bool = True
    of_classes: bool = False
    binary: bool = False
    lines: bool = False
    unit_length: bool = False
    interpolation: str = "nearest"
    scale_power: int = 0
    mirror_factors: tuple[float, ...] = ()
    colour_scale: bool = False
    quantity: str = ""
    limits: tuple[float, float] | None = None
    axes: str = ""
    ramp: np.ndarray | None = drawing.DEPTH_COLOURS[::-1]
    integer_hint: str = ""

    # Training

    @abc.abstractmethod
    def make_loss(self, task: "Task") -> keras.losses.Loss:
        """A fresh loss of raw predictions, which leaves unlabelled pixels out; `rc_keras.losses.MaskedLoss` helps."""

    @abc.abstractmethod
    def make_metrics(self, task: "Task") -> list[keras.metrics.Metric]:
        """Fresh metrics of raw predictions, the most important first; `rc_keras.metrics.MaskedMetric` helps."""

    def named_losses(self, task: "Task") -> Mapping[str, Callable[[], keras.losses.Loss]]:
        """Losses that have a short name, as `Task(loss=…)` and `compile(loss=…)` take it: `{name: function}`."""
        del task
        return {}

    def skips_unlabelled_images(self, task: "Task") -> bool:
        """Whether metrics leave out images of background alone."""
        del task
        return False

    # Predictions

    def make_output_layer(self, name: str) -> keras.layers.Layer:
        """The last layer of a branch, from the decoder's map to the raw prediction in float32, without weights."""
        return keras.layers.Activation("linear", dtype="float32", name=name)

    def activate(self, raw: Tensor) -> Tensor:
        """What people use, from the raw prediction, of the same shape; exported files answer it."""
        return raw

    def deactivate(self, activated: np.ndarray) -> np.ndarray:
        """The raw prediction an activated one came from, as near as the activation lets tell."""
        return activated

    def constant_guess(self, task: "Task", labels: np.ndarray) -> tuple[str, np.ndarray]:
        """The best answer without an image: its name, and the raw prediction `(channels,)`.

        Args:
            task: the task.
            labels: the training labels.
        """
        known = labels[find_labelled(task, labels)].reshape(-1, task.channels)
        mean = np.array([channel.mean(dtype="float64") for channel in known.T])
        spans = known.max(axis=0) - known.min(axis=0)
        shown = " ".join(show_number(value, span, 3) for value, span in zip(mean, spans, strict=True))
        return f"mean {task.name}, {shown} {self.unit_of(task)}".rstrip(), mean

    def unit_of(self, task: "Task") -> str:
        """The sign of the unit of a task's numbers; may be empty."""
        return self.unit if task.unit is None else task.unit

    # Labels

    def label_channels(self, task: "Task") -> int:
        """Numbers in the label of a pixel, or of an image where the kind is not dense."""
        return task.channels if self.continuous else 1

    @property
    def is_class_map(self) -> bool:
        """Whether predictions are maps of logits of classes."""
        return self.dense and self.of_classes

    def check_values(self, task: "Task", labels: np.ndarray) -> None:
        """Checks values of labels whose shape and type are right; numbers are finite.

        Raises:
            ValueError: as `rc_keras.tasks.labels.wrong_labels` makes it.
        """
        del task, labels

    def decode(self, values: np.ndarray, is_pixels: bool) -> np.ndarray:
        """Labels from what a file holds, before they are checked.

        Args:
            values: `(H, W)`, of kinds with three channels `(H, W, 3)`.
            is_pixels: whether they are the pixels of a PNG, uint8 or uint16, rather than an array's numbers.

        Raises:
            ValueError: if the file cannot mean labels; the text goes on after "The file must …".
        """
        del is_pixels
        return values

    # Pictures

    def draw(
        self, task: "Task", prediction: np.ndarray, activated: bool, value_range: tuple[float, float] | None
    ) -> np.ndarray:
        """A picture of predictions: as here, the first channel on a scale from bright, low, to dark, high.

        Args:
            task: the task.
            prediction: `(…, channels)`.
            activated: whether it went through `activate` already.
            value_range: lowest and highest value of the scale; `None`: those of the array. Always `None` for kinds
                without `colour_scale`.

        Returns:
            uint8 RGB array `(…, 3)`.
        """
        del task, activated
        return drawing.draw_depth(prediction[..., 0], depth_range=value_range)

    def picture_range(self, task: "Task", labels: np.ndarray) -> tuple[float, float]:
        """The ends of the scale of colours for pictures of labels and what is predicted for them; as here, from 0.

        Args:
            task: the task, of a kind with `colour_scale`.
            labels: the labels.
        """
        del task
        return 0.0, max(float(np.max(labels)), 1.0)

    def draw_label(
        self, task: "Task", label: np.ndarray, ignored: np.ndarray, value_range: tuple[float, float] | None
    ) -> np.ndarray:
        """A picture of labels, like `draw`'s.

        Args:
            task: the task.
            label: `(…)`, or `(…, channels)` for continuous labels of several.
            ignored: `(…)`, whether a pixel is unlabelled: it is drawn in `drawing.IGNORED_COLOUR`.
            value_range: see `draw`.

        Returns:
            uint8 RGB array `(…, 3)`.
        """
        first = label[..., 0] if self.label_channels(task) > 1 else label
        return drawing.draw_depth(first, ignored, value_range)

    def legend(self, task: "Task", value_range: tuple[float, float]) -> Legend:
        """What the colours of `draw` mean.

        Args:
            task: the task.
            value_range: the range pictures were drawn with, for kinds with `colour_scale`.
        """
        span = value_range[1] - value_range[0]
        low, high = (f"{show_number(value, span)} {self.unit_of(task)}".rstrip() for value in value_range)
        return Ramp(drawing.DEPTH_COLOURS[::-17], low, high)
