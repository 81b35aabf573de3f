"""What the demo found out, as numbers and as a table."""

import dataclasses
from typing import Any

from rc_keras.export.report import ExportReport
from rc_keras.network.response_init import ResponseReport
from rc_keras.reports.parameter_report import ParameterReport
from rc_keras.zoo.measures import Measure, measures_of_kind


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """The metric of one task on the validation images.

    Attributes:
        name, kind: see `Task`.
        guess: the name of the predictor that looks at no image.
        baseline: its metric.
        single: the metric of a network of the task's own.
        multi: the metric of the multi-task model.
    """

    name: str
    kind: str
    guess: str
    baseline: float
    single: float
    multi: float

    @property
    def measure(self) -> Measure:
        """The `Measure` that training watches."""
        return measures_of_kind(self.kind)[0]

    @property
    def difference(self) -> float:
        """How much better the multi-task model is than the network of the task's own, %; negative: worse."""
        if self.single == 0.0:
            return 0.0
        sign = -1.0 if self.measure.lower_is_better else 1.0
        return sign * 100.0 * (self.multi - self.single) / self.single

    def show(self, value: float) -> str:
        """A value of the metric with its unit, and one decimal less than tables of whole trainings."""
        return self.measure.show_with_unit(value, self.measure.scale.decimals - 1)


@dataclasses.dataclass(frozen=True)
class DemoResults:
    """Everything the page tells.

    Attributes:
        tasks: a `TaskResult` for each task, the added one last.
        auc: of the pretraining, see `pretrain_backbone`.
        histories: `{"multi": …, "single": …}`, each `{log entry: [value of each epoch]}` over all tasks.
        comparison: see `add_task`.
        parameters, single_parameters: the `ParameterReport` of the multi-task model and of separate networks.
        responses: the `ResponseReport` of the bank.
        export: the `ExportReport`.
        seconds: `{stage: duration}`.
    """

    tasks: list[TaskResult]
    auc: float
    histories: dict[str, dict[str, list[float]]]
    comparison: dict[str, dict[str, int]]
    parameters: ParameterReport
    single_parameters: ParameterReport
    responses: ResponseReport
    export: ExportReport
    seconds: dict[str, float]

    @property
    def mean_difference(self) -> float:
        """Mean of the tasks' differences, %."""
        return sum(task.difference for task in self.tasks) / len(self.tasks)

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
            "tasks": [
                {**dataclasses.asdict(task), "metric": task.measure.name, "difference_percent": task.difference}
                for task in self.tasks
            ],
            "mean_difference_percent": self.mean_difference,
            "pretraining_auc": self.auc,
            "comparison": self.comparison,
            "parameters": {"multi_task": self.parameters.total, "single_task": self.single_parameters.total},
            "histories": self.histories,
            "export": self.export.to_dict(),
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        lines = [f"{'':<10}{'metric':<14}{'no image':>12}{'single-task':>14}{'multi-task':>14}{'difference':>13}"]
        for task in self.tasks:
            metric = f"{task.measure.name} {task.measure.arrow}"
            values = task.show(task.baseline), task.show(task.single), task.show(task.multi)
            lines.append(
                f"{task.name:<10}{metric:<14}{values[0]:>12}{values[1]:>14}{values[2]:>14}{task.difference:>+11.1f} %"
            )
        totals = self.single_parameters.total, self.parameters.total
        saved = 100.0 * (totals[1] - totals[0]) / totals[0]
        lines.append(f"{'mean':<10}{'+ is better':<54}{self.mean_difference:>+11.1f} %")
        lines.append(f"{'parameters':<36}{totals[0]:>14,}{totals[1]:>14,}{saved:>+11.1f} %")
        return "\n".join(lines)
