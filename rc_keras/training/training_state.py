"""What a model keeps for its training besides the optimizer."""

from collections.abc import Iterable
from typing import Any

from rc_keras.tasks.task import Task
from rc_keras.training.lagging_norms import warning_of
from rc_keras.training.task_measures import TaskMeasures


class TrainingState:
    """What `compile` was given besides the optimizer, and what `fit` and `evaluate` measure."""

    def __init__(self) -> None:
        self.overrides: dict[str, dict[str, Any]] = {}
        self.options: dict[str, Any] = {}
        self.class_weights: dict[str, tuple[float, ...]] = {}  # what the compiled step knows, see `class_weight.py`
        self.measures: dict[str, TaskMeasures] = {}
        self.running = False  # whether `fit` runs
        # Names of the tasks that the data of `fit` and `evaluate` has labels of.
        self.trained: list[str] = []
        self.measured: list[str] = []
        # The tasks to measure, and those of them whose losses are summed; `None`: all. The step of each, compiled.
        self.selection: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        self.test_functions: dict[Any, Any] = {}
        # The tasks that `predict` answers; `None`: all. The step of each choice, compiled.
        self.predicted: tuple[str, ...] | None = None
        self.predict_functions: dict[Any, Any] = {}
        self.told: set[str] = set()  # the warnings given

    def make_measures(self, tasks: Iterable[Task]) -> None:
        """Makes the measures that tasks do not have yet."""
        for task in tasks:
            if task.name not in self.measures:
                own = {argument: mapping.get(task.name) for argument, mapping in self.overrides.items()}
                weighted = own.get("weighted_metrics")
                self.measures[task.name] = TaskMeasures(
                    task, own["loss"], own["loss_weights"], own["metrics"], weighted
                )

    def forget(self, task: str) -> None:
        """Drops the measures of a task, and what `compile` was given for it."""
        for mapping in (self.measures, *self.overrides.values()):
            mapping.pop(task, None)
        self.told.discard(warning_of(task))
