"""The one number of each kind of task that methods are compared by."""

import typing
from collections.abc import Iterable, Mapping

from rc_keras.tasks.task import Task


class Measure(typing.NamedTuple):
    """A metric of `zoo.evaluate`, and how it is shown: times `factor`, in `unit`, with `decimals`."""

    metric: str
    title: str
    lower_is_better: bool
    factor: float
    unit: str
    decimals: int

    def show(self, value: float) -> str:
        """The number without its unit."""
        return f"{self.factor * value:.{self.decimals}f}"

    @property
    def heading(self) -> str:
        return f"{self.title} {self.unit} {'↓' if self.lower_is_better else '↑'}"


# As Δm has them (`rc_keras.zoo.delta_m`). Depth has four decimals: with two, rounding alone moves Δm by half a point.
_MEASURES = {
    "edge": Measure("ods_f", "odsF", False, 100, "%", 2),
    "segmentation": Measure("mean_iou", "mIoU", False, 100, "%", 2),
    "saliency": Measure("max_iou", "max IoU", False, 100, "%", 2),
    "normals": Measure("mean_angle", "mean angle", True, 1, "°", 2),
    "depth": Measure("rmse", "RMSE", True, 1, "m", 4),
    "classification": Measure("accuracy", "accuracy", False, 100, "%", 2),
}


def measures_of(tasks: Iterable[Task]) -> dict[str, Measure]:
    """`{task name: Measure}` of `Task`s."""
    return {task.name: _MEASURES[task.kind] for task in tasks}


def directions(measures: Mapping[str, Measure]) -> dict[str, bool]:
    """`{task name: whether lower is better}`, as `delta_m` takes it."""
    return {name: measure.lower_is_better for name, measure in measures.items()}
