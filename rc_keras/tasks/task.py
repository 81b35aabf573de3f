"""What a task is, and the tasks of PASCAL-Context and NYUD."""

import dataclasses
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, cast

import keras
import numpy as np
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.base.names import unknown_name
from rc_keras.tasks import kinds, pictures
from rc_keras.tasks.catalogue import CATALOGUE, NYUD, PASCAL_CONTEXT
from rc_keras.tasks.labels import check_labels
from rc_keras.tasks.task_name import check_name


@keras.saving.register_keras_serializable(package="rc_keras")
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Task:
    """A task: what a branch predicts, and how that is trained, measured and drawn.

    A branch answers raw predictions, and the kind of the task says what they are:

    | kind | raw prediction | labels | loss | metric |
    | --- | --- | --- | --- | --- |
    | `segmentation` | logits `(B, H, W, C)` | class ids | `MaskedCrossentropy` | `mean_iou` |
    | `edge` | logits `(B, H, W, 1)` | 0, 1 | `BalancedBinaryCrossentropy` | `max_f` |
    | `saliency` | logits `(B, H, W, 1)` | 0, 1 | `MaskedBinaryCrossentropy` | `max_iou` |
    | `normals` | unit vectors `(B, H, W, 3)` | unit vectors | `NormalsL1` | `mean_angle` |
    | `depth` | metres `(B, H, W, 1)` | metres | `DepthL1` | `rmse` |
    | `regression` | numbers `(B, H, W, C)` | numbers | `MaskedMeanAbsoluteError` | `root_mean_squared_error` |
    | `classification` | logits `(B, C)` | class ids `(B,)` | `MaskedCrossentropy` | `accuracy` |

    Labels of one channel come as `(B, H, W)` or `(B, H, W, 1)`. A task cannot be changed;
    `dataclasses.replace(task, loss_weight=2.0)` makes another.

    Args:
        name: the key of the task's labels and predictions, and the prefix of its layers, log
            entries, signatures and files: letters, digits, `_` and `-`, starting with a letter.
        channels: channels of the prediction: the number of classes (at least 2) for segmentation
            and classification, any for regression, 3 for normals, 1 for the others.
        kind: one of `"segmentation"`, `"edge"`, `"saliency"`, `"normals"`, `"depth"`, `"regression"`,
            `"classification"`, or one of your own, see `rc_keras.tasks.kinds`.
        loss_weight: finite factor of the task's loss, at least 0.
        ignore: label of the pixels that count neither in the loss nor in the metric. Defaults to
            255 for segmentation, edge and saliency, to -1 for classification and to -9999 for
            regression (where all channels have it). Normals and
            depth ignore 0 (the zero vector), always. A class id is allowed: that class is then
            neither trained nor measured.
        loss: `keras.losses.Loss` to use instead of the kind's own, or a name: `"crossentropy"`, `"dice"` and `"focal"`
            for classes and for yes and no, `"mae"`, `"mse"` and `"huber"` for regression.
        metrics: list of `keras.metrics.Metric` to use instead of the kind's own.
        class_names: names of the classes, for segmentation and classification.
        unit: sign of the unit of the numbers of a regression, such as `"m"`, for legends and files.

    Raises:
        ValueError: if an argument is wrong; the message lists what is allowed.

    Example:

    >>> task = Task("trees", channels=2, kind="segmentation", class_names=["other", "tree"])
    >>> height = Task("height", channels=1, kind="regression", unit="m", loss="mse")
    >>> model = rc_keras.build(tasks=[task, height, "depth"])
    """

    name: str
    channels: int
    kind: str
    loss_weight: float = 1.0
    ignore: int = cast(int, None)  # the kind's own, set at once
    loss: keras.losses.Loss | None = None  # a name becomes one at once
    metrics: Sequence[keras.metrics.Metric] | None = None
    class_names: Sequence[str] | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        kinds.get(self.kind)
        # The class is frozen for its users; this is the one place that normalizes arguments.
        for field in ("channels", "loss_weight", "ignore", "loss", "metrics", "class_names", "unit"):
            object.__setattr__(self, field, getattr(self, f"_checked_{field}")())

    def _checked_channels(self) -> int:
        try:
            channels = operator.index(self.channels)
        except TypeError:
            channels = 0
        kind = self.definition
        if kind.channels is not None:
            expected, right = str(kind.channels), channels == kind.channels
        elif kind.of_classes:
            expected, right = "the number of classes, at least 2,", channels >= 2
        else:
            expected, right = "at least 1", channels >= 1
        if not right or isinstance(self.channels, bool):
            raise ValueError(
                f"`channels` must be {expected} for a task of kind {self.kind}. "
                f"Received: channels={self.channels!r} for task {self.name!r}"
            )
        return channels

    def _checked_loss_weight(self) -> float:
        try:
            weight = float(self.loss_weight)
        except (TypeError, ValueError):
            weight = math.nan
        if not math.isfinite(weight) or weight < 0:
            raise ValueError(
                "`loss_weight` must be a finite number, at least 0. "
                f"Received: loss_weight={self.loss_weight!r} for task {self.name!r}"
            )
        return weight

    def _checked_ignore(self) -> int:
        kind = self.definition
        if self.ignore is None:
            if kind.of_classes and 0 <= kind.ignore < self.channels:
                raise ValueError(
                    f"`ignore` must be given for a {self.kind} task of more than {kind.ignore} "
                    f"classes, for {kind.ignore} is then one of them (-1 ignores none). "
                    f"Received: ignore=None for task {self.name!r}"
                )
            return kind.ignore
        try:
            ignore = operator.index(self.ignore)
        except TypeError:
            raise ValueError(
                f"`ignore` must be an integer label. Received: ignore={self.ignore!r} for task {self.name!r}"
            ) from None
        if kind.binary and ignore in (0, 1):
            raise ValueError(
                f"`ignore` must not be 0 or 1, the labels of kind {self.kind}. "
                f"Received: ignore={ignore} for task {self.name!r}"
            )
        if kind.zero_is_unlabelled and ignore != 0:
            raise ValueError(
                f"`ignore` must be 0 for kind {self.kind}, where unlabelled pixels are zero. "
                f"Received: ignore={ignore} for task {self.name!r}"
            )
        return ignore

    def _checked_loss(self) -> keras.losses.Loss | None:
        named = self.definition.named_losses(self)
        if isinstance(self.loss, str) and self.loss in named:
            return named[self.loss]()
        if self.loss is not None and not isinstance(self.loss, keras.losses.Loss):
            names = f", or one of {list(named)}" if named and isinstance(self.loss, str) else ""
            raise ValueError(
                f"`loss` must be a `keras.losses.Loss` or None{names}. "
                f"Received: loss={self.loss!r} for task {self.name!r}"
            )
        return self.loss

    def _checked_metrics(self) -> tuple[keras.metrics.Metric, ...] | None:
        if self.metrics is None:
            return None
        valid = isinstance(self.metrics, (list, tuple)) and all(
            isinstance(metric, keras.metrics.Metric) for metric in self.metrics
        )
        if not valid or len({metric.name for metric in self.metrics}) != len(self.metrics):
            raise ValueError(
                "`metrics` must be a list of `keras.metrics.Metric` with different names, or None. "
                f"Received: metrics={self.metrics!r} for task {self.name!r}"
            )
        return tuple(self.metrics)

    def _checked_class_names(self) -> tuple[str, ...] | None:
        names = self.class_names
        if names is None:
            return None
        if not self.definition.of_classes:
            raise ValueError(
                f"`class_names` must be None but for {' and '.join(kinds.names_where('of_classes'))}. "
                f"Received: class_names={names!r} for task {self.name!r} of kind {self.kind}"
            )
        valid = isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in names)
        if not valid or len(names) != self.channels:
            raise ValueError(
                f"`class_names` must be {self.channels} strings, one for each class. "
                f"Received: class_names={names!r} for task {self.name!r}"
            )
        return tuple(names)

    def _checked_unit(self) -> str | None:
        if self.unit is not None and not (isinstance(self.unit, str) and self.definition.any_unit):
            raise ValueError(
                f"`unit` must be a string for {' and '.join(kinds.names_where('any_unit'))}, and None for other kinds. "
                f"Received: unit={self.unit!r} for task {self.name!r} of kind {self.kind}"
            )
        return self.unit

    @classmethod
    def get(cls, task: "str | Task") -> "Task":
        """A task from its name in the catalogue; a `Task` is answered as it is.

        Args:
            task: a `Task`, or one of the names of PASCAL-Context (`"edge"`, `"semseg"` with 21
                classes, `"human_parts"`, `"saliency"`, `"normals"`) or NYUD's `"depth"`.

        Raises:
            ValueError: if there is no such task; lists the names and the nearest one.
        """
        if isinstance(task, cls):
            return task
        if not isinstance(task, str) or task not in CATALOGUE:
            raise unknown_name("task", task, CATALOGUE)
        return cls(**CATALOGUE[task])

    @property
    def definition(self) -> kinds.Kind:
        """What the task's kind means, a `rc_keras.tasks.kinds.Kind`."""
        return kinds.get(self.kind)

    def activate(self, raw: Tensor) -> Tensor:
        """What people use, from what the branch answers.

        Args:
            raw: raw prediction, any backend's tensor.

        Returns:
            Tensor of the same shape: probabilities for edge and saliency; the other kinds as they
            are (logits, unit vectors, metres).
        """
        return self.definition.activate(raw)

    def draw(
        self, prediction: Tensor, activated: bool = False, depth_range: tuple[float, float] | None = None
    ) -> np.ndarray:
        """A picture of a prediction: class colours, grey, normals as RGB, or coloured depth.

        Args:
            prediction: `(H, W, channels)` or `(B, H, W, channels)`, raw.
            activated: the prediction went through `activate` already.
            depth_range: for depth, nearest and farthest metres of the colour scale, and for
                regression its lowest and highest number; None takes those of the array.

        Returns:
            uint8 array, `(H, W, 3)` or `(B, H, W, 3)`.

        Raises:
            ValueError: if the shape is wrong, or the task is a classification.
        """
        return pictures.draw(self, ops.convert_to_numpy(prediction), activated, depth_range)

    def draw_label(self, label: Tensor, depth_range: tuple[float, float] | None = None) -> np.ndarray:
        """A picture of labels, like `draw`'s, with ignored pixels in `drawing.IGNORED_COLOUR`.

        Args:
            label: `(H, W)`, `(H, W, 1)`, `(B, H, W)` or `(B, H, W, 1)`; for normals `(H, W, 3)`
                or `(B, H, W, 3)`.
            depth_range: see `draw`.

        Returns:
            uint8 array, `(H, W, 3)` or `(B, H, W, 3)`.
        """
        return pictures.draw_label(self, ops.convert_to_numpy(label), depth_range)

    def make_loss(self) -> keras.losses.Loss:
        """A fresh `keras.losses.Loss` for raw predictions; `loss_weight` is not part of it."""
        if self.loss is not None:
            return _copy(self.loss)
        return self.definition.make_loss(self)

    @property
    def skips_unlabelled_images(self) -> bool:
        """Whether metrics leave out images of background alone, as is published of segmentation named `human_parts`."""
        return self.definition.skips_unlabelled_images(self)

    def make_metrics(self) -> list[keras.metrics.Metric]:
        """A list of fresh `keras.metrics.Metric` for raw predictions."""
        if self.metrics is not None:
            return [_copy(metric) for metric in self.metrics]
        return self.definition.make_metrics(self)

    def check_labels(self, labels: Tensor, images_shape: Iterable[int]) -> None:
        """Checks a batch of labels on the host: shape, type, values.

        Args:
            labels: labels of the batch, any backend's tensor.
            images_shape: shape of its images, `(B, H, W, 3)`.

        Raises:
            ValueError: says what was expected and what came.
        """
        check_labels(self, ops.convert_to_numpy(labels), images_shape)

    def get_config(self) -> dict[str, Any]:
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.loss is not None:
            config["loss"] = keras.saving.serialize_keras_object(self.loss)
        if self.metrics is not None:
            serialize = keras.saving.serialize_keras_object
            config["metrics"] = [serialize(metric) for metric in self.metrics]
        if self.class_names is not None:
            config["class_names"] = list(self.class_names)
        if self.unit is None:
            del config["unit"]  # as written before tasks had units
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Task":
        config = dict(config)
        deserialize = keras.saving.deserialize_keras_object
        if config.get("loss") is not None:
            config["loss"] = deserialize(config["loss"])
        if config.get("metrics") is not None:
            config["metrics"] = [deserialize(metric) for metric in config["metrics"]]
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((self.name, self.channels, self.kind))

    def __repr__(self) -> str:
        return f"Task({self.name!r}, channels={self.channels}, kind={self.kind!r}, loss_weight={self.loss_weight:g})"


def pascal_context() -> list[Task]:
    """The five tasks of PASCAL-Context with the paper's loss weights, in the paper's order."""
    return [Task(**entry) for entry in PASCAL_CONTEXT]


def nyud() -> list[Task]:
    """The four tasks of NYUD with the paper's loss weights, in the paper's order.

    `semseg` has the paper's head of 41 channels and takes the labels as they are stored, but class
    0, unlabelled, is ignored: mean IoU is the mean over the 40 named classes. The paper trains and
    counts class 0 as a 41st class; `dataclasses.replace(task, ignore=255)` does that.
    """
    return [Task(**entry) for entry in NYUD]


def _copy(keras_object: Any) -> Any:
    return type(keras_object).from_config(keras_object.get_config())
