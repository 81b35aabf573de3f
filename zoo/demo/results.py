"""What the demo found out, as numbers and as a table."""

import dataclasses
from typing import Any

from rc_keras.export.report import ExportReport
from rc_keras.reports.parameter_report import ParameterReport
from rc_keras.zoo.measures import Measure, measures_of_kind


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """The metric of one task on the validation images.

    Attributes:
        name, kind: see `Task`.
        guess: the name of the predictor that looks at no image.
        baseline: its metric.
        trained: the metric of the task that the demo trained.
        shipped: the metric of the preset's task of this name; `None`: it has none.
    """

    name: str
    kind: str
    guess: str
    baseline: float
    trained: float
    shipped: float | None

    @property
    def measure(self) -> Measure:
        """The `Measure` that training watches."""
        return measures_of_kind(self.kind)[0]

    def show(self, value: float) -> str:
        """A value of the metric with its unit, and one decimal less than tables of whole trainings."""
        return self.measure.show_with_unit(value, self.measure.scale.decimals - 1)


@dataclasses.dataclass(frozen=True)
class DemoResults:
    """Everything the page tells.

    Attributes:
        tasks: a `TaskResult` for each task, the added one last.
        histories: `{log entry: [value of each epoch]}` over all tasks.
        comparison: see `add_task`.
        parameters: the `ParameterReport` of the model.
        separate_parameters: how many a plain network for each task would have.
        export: the `ExportReport`.
        seconds: `{stage: duration}`.
    """

    tasks: list[TaskResult]
    histories: dict[str, list[float]]
    comparison: dict[str, dict[str, int]]
    parameters: ParameterReport
    separate_parameters: int
    export: ExportReport
    seconds: dict[str, float]

    @property
    def compared(self) -> int:
        """How many predicted numbers were compared before and after a task was added."""
        return sum(task["compared"] for task in self.comparison.values())

    @property
    def differing(self) -> int:
        """How many of them are not equal to the last bit."""
        return sum(task["differing"] for task in self.comparison.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "tasks": [{**dataclasses.asdict(task), "metric": task.measure.name} for task in self.tasks],
            "comparison": self.comparison,
            "parameters": {"shared": self.parameters.total, "separate": self.separate_parameters},
            "histories": self.histories,
            "export": self.export.to_dict(),
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        lines = [f"{'':<10}{'metric':<14}{'no image':>12}{'trained here':>14}{'shipped':>12}"]
        for task in self.tasks:
            metric = f"{task.measure.name} {task.measure.arrow}"
            shipped = "" if task.shipped is None else task.show(task.shipped)
            lines.append(
                f"{task.name:<10}{metric:<14}{task.show(task.baseline):>12}{task.show(task.trained):>14}{shipped:>12}"
            )
        return "\n".join(lines)
