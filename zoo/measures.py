"""What tasks are measured by: one table that evaluation, comparisons, Δm and the demo read.

A new number is one entry of the table, beside the metric class that answers it.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from rc_keras import Task, metrics
from rc_keras.base.names import unknown_name
from rc_keras.metrics.boundaries import BoundaryScores


class Scale(NamedTuple):
    """How a number is shown: times `factor`, in `unit`, with `decimals`."""

    factor: float
    unit: str
    decimals: int

    @property
    def in_brackets(self) -> str:
        """The unit behind a name, as `" [m]"`; empty where there is none."""
        return f" [{self.unit}]" if self.unit else ""


SHARE, DEGREES, PLAIN, THRESHOLD = Scale(100, "%", 2), Scale(1, "°", 2), Scale(1, "", 4), Scale(1, "", 3)
IN_UNIT_OF_TASK = Scale(1, "", 4)
METRES = Scale(1, "m", 4)  # with two decimals, rounding alone moves Δm by half a point


@dataclasses.dataclass(frozen=True, eq=False)
class Measure:
    """One number of an evaluation.

    Attributes:
        key: its name in results, and behind `<task>_` in logs.
        name: what people call it.
        scale: the `Scale`.
        better: `"higher"` or `"lower"`; `None`: neither, as of a threshold.
        metrics: `{kind of task: the metric class}`, whose result is the number, or a dictionary that has the key. A
            `keras.metrics.Metric` is made by `evaluation_metrics`, with those of `num_classes`, `ignore` and
            `skip_unlabelled_images` that it takes; `BoundaryScores` measures on the host.
        in_delta_m: whether it is the one that enters Δm, of each kind that has it.
        short: its name in the tables of comparisons, where it differs.
    """

    key: str
    name: str
    scale: Scale
    better: Literal["higher", "lower"] | None
    metrics: Mapping[str, type]
    in_delta_m: bool = False
    short: str | None = None

    @property
    def lower_is_better(self) -> bool:
        return self.better == "lower"

    @property
    def arrow(self) -> str:
        """`"↑"` or `"↓"`, where it is better; empty where it is neither."""
        return {"higher": "↑", "lower": "↓", None: ""}[self.better]

    @property
    def title(self) -> str:
        """The short name."""
        return self.short or self.name

    @property
    def heading(self) -> str:
        """Short name, unit and arrow, as the head of a column."""
        return " ".join(part for part in (self.title, self.scale.unit, self.arrow) if part)

    def show(self, value: float, decimals: int | None = None) -> str:
        """The number without its unit, with the scale's decimals or others."""
        return f"{self.scale.factor * value:.{self.scale.decimals if decimals is None else decimals}f}"

    def show_with_unit(self, value: float, decimals: int | None = None) -> str:
        """The number with its unit."""
        unit = self.scale.unit
        return f"{self.show(value, decimals)}{'' if unit in ('', '°') else ' '}{unit}"


_SEGMENTATION: Mapping[str, type] = {"segmentation": metrics.SegmentationScores}
_SALIENCY: Mapping[str, type] = {"saliency": metrics.SaliencyScores}
_BOUNDARIES: Mapping[str, type] = {"edge": BoundaryScores}
_NORMALS: Mapping[str, type] = {"normals": metrics.NormalsErrors}
_DEPTH: Mapping[str, type] = {"depth": metrics.DepthErrors}
_REGRESSION: Mapping[str, type] = {"regression": metrics.RegressionErrors}
_MAX_F: Mapping[str, type] = {"edge": metrics.MaxF, "saliency": metrics.SaliencyScores}
_NYUD: Mapping[str, type] = {}  # `evaluation_metrics` adds them for that data set alone

# Those of a kind stand in the order of its results; the first is what training watches, see `Task`.
MEASURES = (
    Measure("mean_iou", "mean IoU", SHARE, "higher", _SEGMENTATION, in_delta_m=True, short="mIoU"),
    Measure("mean_iou_40", "mean IoU of 40 classes", SHARE, "higher", _NYUD),
    Measure("mean_iou_41", "mean IoU of 41 classes", SHARE, "higher", _NYUD),
    Measure("mean_iou_without_40", "mean IoU without class 40", SHARE, "higher", _NYUD),
    Measure("pixel_accuracy", "pixel accuracy", SHARE, "higher", _SEGMENTATION),
    Measure("max_iou", "max IoU", SHARE, "higher", _SALIENCY, in_delta_m=True),
    Measure("max_iou_threshold", "threshold of max IoU", THRESHOLD, None, _SALIENCY),
    Measure("max_f", "max F", SHARE, "higher", _MAX_F),
    Measure("max_f_threshold", "threshold of max F", THRESHOLD, None, _SALIENCY),
    Measure("ods_f", "odsF", SHARE, "higher", _BOUNDARIES, in_delta_m=True),
    Measure("ods_threshold", "threshold of odsF", THRESHOLD, None, _BOUNDARIES),
    Measure("ods_precision", "precision of odsF", SHARE, "higher", _BOUNDARIES),
    Measure("ods_recall", "recall of odsF", SHARE, "higher", _BOUNDARIES),
    Measure("ois_f", "oisF", SHARE, "higher", _BOUNDARIES),
    Measure("ap", "average precision", SHARE, "higher", _BOUNDARIES),
    Measure("mean_angle", "mean angle", DEGREES, "lower", _NORMALS, in_delta_m=True),
    Measure("median_angle", "median angle", DEGREES, "lower", _NORMALS),
    Measure("rmse_angle", "RMSE of angles", DEGREES, "lower", _NORMALS),
    Measure("within_11_25", "within 11.25°", SHARE, "higher", _NORMALS),
    Measure("within_22_5", "within 22.5°", SHARE, "higher", _NORMALS),
    Measure("within_30", "within 30°", SHARE, "higher", _NORMALS),
    Measure("rmse", "RMSE", METRES, "lower", _DEPTH, in_delta_m=True),
    Measure("rmse_per_image", "RMSE per image", METRES, "lower", _DEPTH),
    Measure("log_rmse", "log RMSE", PLAIN, "lower", _DEPTH),
    Measure("log_rmse_median", "median log RMSE", PLAIN, "lower", _DEPTH),
    Measure("abs_rel", "absolute relative error", PLAIN, "lower", _DEPTH),
    Measure("delta_1", "δ < 1.25", SHARE, "higher", _DEPTH),
    Measure("delta_2", "δ < 1.25²", SHARE, "higher", _DEPTH),
    Measure("delta_3", "δ < 1.25³", SHARE, "higher", _DEPTH),
    Measure("root_mean_squared_error", "RMSE", IN_UNIT_OF_TASK, "lower", _REGRESSION, in_delta_m=True),
    Measure("mean_absolute_error", "mean absolute error", IN_UNIT_OF_TASK, "lower", _REGRESSION, short="MAE"),
    Measure("accuracy", "accuracy", SHARE, "higher", {"classification": metrics.MaskedAccuracy}, in_delta_m=True),
)


def measure_of_key(key: str) -> Measure:
    """The `Measure` of a key; of one that is not in the table, such as a task's own metric, the number as it is."""
    return next((measure for measure in MEASURES if measure.key == key), Measure(key, key, PLAIN, None, {}))


def measures_of_kind(kind: str) -> list[Measure]:
    """All `Measure`s of a kind of task, the one that training watches first; none of a kind that the table lacks."""
    return [measure for measure in MEASURES if kind in measure.metrics]


def measures_of(tasks: Iterable[Task]) -> dict[str, Measure]:
    """What enters Δm of `Task`s, `{task name: Measure}`.

    Raises:
        ValueError: if the table has nothing for the kind of a task.
    """
    by_kind = {kind: measure for measure in MEASURES if measure.in_delta_m for kind in measure.metrics}
    measures = {}
    for task in tasks:
        if task.kind not in by_kind:
            raise unknown_name("kind", task.kind, by_kind)
        measures[task.name] = by_kind[task.kind]
    return measures


def directions(measures: Mapping[str, Measure]) -> dict[str, bool]:
    """`{task name: whether lower is better}`, as `delta_m` takes it."""
    return {name: measure.lower_is_better for name, measure in measures.items()}
