"""What tasks added one by one leave: `incremental.json`, `incremental.md` and `incremental.png`."""

import dataclasses
import os
import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rc_keras.files.whole_files import write_json, write_whole
from rc_keras.methods import get_method
from rc_keras.tasks.task import Task
from rc_keras.zoo.compare.cells import Cell
from rc_keras.zoo.compare.incremental import Chain, Step, read_chain
from rc_keras.zoo.compare.markdown import signed, table_lines
from rc_keras.zoo.compare.origin import describe_origin
from rc_keras.zoo.compare.report import read_scores
from rc_keras.zoo.compare.runner import finished_cells
from rc_keras.zoo.compare.summary import BASELINE
from rc_keras.zoo.measures import Measure, measures_of
from rc_keras.zoo.recipes import Recipe


class IncrementalReport:
    """The files of the incremental protocol, written again whenever a step is finished.

    Args:
        out: folder; made if it is missing.
        recipe: the `Recipe` that all share.
        tasks: its `Task`s.
        baselines: `{name: Cell}` of the single-task runs.
        plans: `{(method, order): [Step, …]}`.

    Attributes:
        cells: `{name: Cell}`, the single-task runs and all steps.
    """

    def __init__(
        self,
        out: str | os.PathLike,
        recipe: Recipe,
        tasks: Iterable[Task],
        baselines: Mapping[str, Cell],
        plans: Mapping[tuple[str, str], Sequence[Step]],
    ) -> None:
        self.out = pathlib.Path(out)
        self.recipe, self.baselines, self.plans = recipe, baselines, plans
        self.measures = measures_of(tasks)
        self.cells = dict(baselines)
        for (method, order), steps in plans.items():
            self.cells |= {f"{method}, {order}, {step.folder.name}": step for step in steps}

    def write(self) -> str:
        """Writes the files from what is finished.

        Returns:
            The tables.
        """
        chains = [read_chain(method, order, steps, self.measures) for (method, order), steps in self.plans.items()]
        scores = read_scores(finished_cells(self.baselines).values(), self.measures)
        baseline = _mean(list(scores[BASELINE].values())) if scores else None
        origin = describe_origin(self.recipe, self.cells)
        tables = f"{format_chains(chains, self.measures, baseline)}\n{origin}"
        self.out.mkdir(parents=True, exist_ok=True)
        content = {
            "recipe": dataclasses.asdict(self.recipe),
            "baseline": baseline,
            "chains": [self._content(chain, baseline) for chain in chains],
        }
        write_json(self.out / "incremental.json", content)
        write_whole(self.out / "incremental.md", tables.encode())
        if any(chain.steps for chain in chains):
            from rc_keras.zoo.compare.figures import draw_steps

            draw_steps(self.out / "incremental.png", chains, self.measures, baseline)
        return tables

    def _content(self, chain: Chain, baseline: Mapping[str, float] | None) -> dict[str, Any]:
        return {
            **dataclasses.asdict(chain),
            "forgetting_percent": chain.forgetting(self.measures),
            "unchanged": chain.unchanged(),
            "delta_m_percent": chain.delta_m(self.measures, baseline) if baseline else None,
        }


def format_chains(
    chains: Sequence[Chain], measures: Mapping[str, Measure], baseline: Mapping[str, float] | None
) -> str:
    """Markdown: for each order what the methods forgot, and each task's metric after every step.

    Args:
        chains: the `Chain`s.
        measures: `{task: Measure}`.
        baseline: `{task: number}` of single-task networks, or `None`.
    """
    parts = []
    for order in dict.fromkeys(chain.order for chain in chains):
        ours = [chain for chain in chains if chain.order == order]
        parts += [f"## {' → '.join(ours[0].tasks)}", "", *_forgetting(ours, measures, baseline), ""]
        parts += [*_metrics(ours, measures), ""]
    notes = [
        "Forgetting: what a task lost between its own training and the last step, in percent of what it had; positive "
        "is worse. One seed: what lies within the spread between seeds says nothing, but bits are bits.",
        "Earlier answers: whether every earlier task answers the validation images after every later step with the "
        "same bits as after its own training (sha256 of raw predictions).",
        f"Δm: mean relative drop over the tasks so far against {BASELINE}, the mean of its seeds; positive is worse.",
    ]
    joint = [method for method in dict.fromkeys(chain.method for chain in chains) if get_method(method).joint_steps]
    if joint:
        notes.append(f"{', '.join(joint)}: every step trains all tasks so far, on the data of all.")
    return "\n".join([*parts, "  \n".join(notes)]) + "\n"


def _forgetting(
    chains: Sequence[Chain], measures: Mapping[str, Measure], baseline: Mapping[str, float] | None
) -> list[str]:
    tasks = chains[0].tasks
    heads = ["method", *(f"{task} forgets %" for task in tasks[:-1]), "earlier answers"]
    heads += [f"Δm % after +{task}" for task in tasks]
    rows = []
    for chain in chains:
        lost, unchanged = chain.forgetting(measures), chain.unchanged()
        cells = [chain.method, *(signed(lost.get(task)) for task in tasks[:-1])]
        moved = [task for task, same in unchanged.items() if not same]
        cells.append("—" if not unchanged else f"moved: {', '.join(moved)}" if moved else "same bits")
        drops = chain.delta_m(measures, baseline) if baseline else []
        cells += [signed(drop) for drop in [*drops, *[None] * (len(tasks) - len(drops))]]
        rows.append(cells)
    return table_lines(heads, rows)


def _metrics(chains: Sequence[Chain], measures: Mapping[str, Measure]) -> list[str]:
    tasks = chains[0].tasks
    rows = []
    for chain in chains:
        for step in chain.steps:
            numbers = [measures[task].show(step.numbers[task]) if task in step.numbers else "" for task in tasks]
            rows.append([chain.method, f"+{step.task}", *numbers])
    return table_lines(["method", "after", *(f"{task} {measures[task].heading}" for task in tasks)], rows)


def _mean(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {task: statistics.fmean(numbers[task] for numbers in scores) for task in scores[0]}
