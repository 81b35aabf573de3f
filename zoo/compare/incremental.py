"""Tasks added one after the other: what becomes of the earlier ones.

A step trains the new task alone. Methods that are trained jointly, `multi_task` and `squeeze_excite`, train all tasks
so far with it: they need the data of all tasks again at each step.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from rc_keras.methods import get_method
from rc_keras.tasks.task import Task
from rc_keras.zoo.compare import digest
from rc_keras.zoo.compare.cells import Cell, CellError
from rc_keras.zoo.compare.runner import finished_cells
from rc_keras.zoo.delta_m import delta_m, select_measures
from rc_keras.zoo.measures import Measure, directions
from rc_keras.zoo.recipes import Recipe

ORDERS = ("low_to_high", "high_to_low")


@dataclasses.dataclass(frozen=True)
class Step(Cell):
    """A cell that adds one task to the model of the step before, and then measures all tasks of the model."""

    @property
    def added(self) -> str:
        """Name of the task."""
        return self.recipe.tasks[-1]

    def is_finished(self) -> bool:
        if not super().is_finished() or not (self.folder / digest.FILE).exists():
            return False
        return set(self.digests()) <= set(self.metrics())

    def run(self, flags: Sequence[str]) -> None:
        if self.recipe.add_to is not None and not pathlib.Path(self.recipe.add_to).exists():
            raise CellError("the step before is not finished")
        if not super().is_finished():
            super().run(flags)
        locations = [flag for flag in flags if flag.startswith(("--manual_dir=", "--data_dir="))]
        self.start("rc_keras.zoo.compare.digest", locations)

    def digests(self) -> dict[str, str]:
        """`{task: sha256 of its raw predictions}` of a finished step."""
        return json.loads((self.folder / digest.FILE).read_text(encoding="utf-8"))


@dataclasses.dataclass(frozen=True)
class MeasuredStep:
    """What a step left.

    Attributes:
        task: that was added.
        numbers: `{task: number}` of all tasks so far.
        digests: `{task: sha256}` of the same.
    """

    task: str
    numbers: dict[str, float]
    digests: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Chain:
    """The finished steps of one method in one order.

    Attributes:
        method, order: see `ORDERS`.
        tasks: names of all tasks in this order.
        steps: the `MeasuredStep`s.
    """

    method: str
    order: str
    tasks: tuple[str, ...]
    steps: tuple[MeasuredStep, ...]

    def forgetting(self, measures: Mapping[str, Measure]) -> dict[str, float | None]:
        """What each task but the last lost since its own training, in percent of what it had then.

        Positive is worse. The last task of the chain so far had no time to forget.

        Args:
            measures: `{task: Measure}`.

        Returns:
            `{task: percent}`; `None` where it was 0, or a number is not finite.
        """
        return {
            step.task: _drop(self.steps[-1].numbers, step.numbers, measures, [step.task]) for step in self.steps[:-1]
        }

    def unchanged(self) -> dict[str, bool]:
        """Whether each task but the last still answers the bits it answered after its own training, `{task: bool}`."""
        return {
            step.task: all(later.digests[step.task] == step.digests[step.task] for later in self.steps[k:])
            for k, step in enumerate(self.steps[:-1], 1)
        }

    def delta_m(self, measures: Mapping[str, Measure], baseline: Mapping[str, float]) -> list[float | None]:
        """Δm over the tasks so far, after each step, in percent.

        Args:
            measures: `{task: Measure}`.
            baseline: `{task: number}` of single-task networks.

        Returns:
            A list; `None` where the baseline of a task is 0, or a number is not finite.
        """
        return [_drop(step.numbers, baseline, measures, step.numbers) for step in self.steps]


def _drop(
    numbers: Mapping[str, float], reference: Mapping[str, float], measures: Mapping[str, Measure], tasks: Iterable[str]
) -> float | None:
    """Δm over some tasks; `None` where the reference of one is 0, or a number is not finite."""
    try:
        return delta_m({t: numbers[t] for t in tasks}, {t: reference[t] for t in tasks}, directions(measures))
    except ValueError:
        return None


def order_tasks(tasks: Iterable[Task], order: str) -> tuple[str, ...]:
    """Names of `Task`s from low to high level, such as edges to semantics, or exactly the reverse."""
    levels = {task.name: task.definition.level for task in tasks}
    names = sorted(levels, key=levels.__getitem__)
    return tuple(names if order == "low_to_high" else reversed(names))


def plan_chain(folder: str | os.PathLike, recipe: Recipe, tasks: Sequence[str]) -> list[Step]:
    """The `Step`s that add tasks one after the other.

    Args:
        folder: of the chain; each step gets `step<number>-<task>`.
        recipe: the `Recipe` that all share, with the method.
        tasks: names, in order.
    """
    joint = get_method(recipe.method).joint_steps
    steps, before = [], None
    for number, task in enumerate(tasks, 1):
        own = pathlib.Path(folder) / f"step{number}-{task}"
        trained = tuple(tasks[:number]) if joint else (task,)
        steps.append(Step(own, dataclasses.replace(recipe, tasks=trained, add_to=before)))
        before = str((own / "model.keras").resolve())
    return steps


def read_chain(method: str, order: str, steps: Sequence[Step], measures: Mapping[str, Measure]) -> Chain:
    """The `Chain` of the steps that are finished."""
    measured = []
    finished = finished_cells({step.folder: step for step in steps})
    for step in steps:
        if step.folder not in finished:
            break
        numbers = select_measures(step.metrics(), {task: measure.key for task, measure in measures.items()})
        measured.append(MeasuredStep(step.added, numbers, step.digests()))
    return Chain(method, order, tuple(step.added for step in steps), tuple(measured))
