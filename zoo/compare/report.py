"""What a comparison leaves: `compare.json`, `compare.md` and `compare.png`."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rc_keras.files.whole_files import write_json, write_whole
from rc_keras.tasks.task import Task
from rc_keras.zoo.compare.cells import Cell
from rc_keras.zoo.compare.origin import describe_origin
from rc_keras.zoo.compare.runner import finished_cells
from rc_keras.zoo.compare.sizes import measure_size
from rc_keras.zoo.compare.summary import Statistic, Summary, summarize
from rc_keras.zoo.compare.table import format_table
from rc_keras.zoo.delta_m import select_measures
from rc_keras.zoo.measures import Measure, directions, measures_of
from rc_keras.zoo.recipes import Recipe


class Report:
    """The files of a comparison, written again whenever a cell is finished.

    Args:
        out: folder; made if it is missing.
        recipe: the `Recipe` that all cells share.
        tasks: its `Task`s.
        cells: `{name: Cell}`.
    """

    def __init__(
        self, out: str | os.PathLike, recipe: Recipe, tasks: Sequence[Task], cells: Mapping[str, Cell]
    ) -> None:
        self.out = pathlib.Path(out)
        self.recipe, self.tasks, self.cells = recipe, tasks, cells
        self.measures = measures_of(tasks)
        self._sizes: dict[str, dict[str, Any]] = {}

    def write(self) -> str:
        """Writes the files from the cells that are finished.

        Returns:
            The table.
        """
        finished = finished_cells(self.cells)
        summary = summarize(read_scores(finished.values(), self.measures), directions(self.measures))
        for method in dict.fromkeys(cell.recipe.method for cell in finished.values()):
            if method not in self._sizes:
                self._sizes[method] = measure_size(dataclasses.replace(self.recipe, method=method), self.tasks)
        table = f"{format_table(summary, self.measures, self._sizes)}\n{describe_origin(self.recipe, self.cells)}"
        self.out.mkdir(parents=True, exist_ok=True)
        content = self._content(finished, summary)
        write_json(self.out / "compare.json", content)
        write_whole(self.out / "compare.md", table.encode())
        if finished:
            from rc_keras.zoo.compare.figures import draw_comparison

            draw_comparison(self.out / "compare.png", summary, self.measures)
        return table

    def _content(self, finished: Mapping[str, Cell], summary: Summary) -> dict[str, Any]:
        """Everything, as plain data."""

        def numbers(statistics: Mapping[str, Statistic]) -> dict[str, dict[str, Any]]:
            return {name: {"mean": s.mean, "std": s.std, "seeds": s.values} for name, s in statistics.items()}

        return {
            "recipe": dataclasses.asdict(self.recipe),
            "baseline": summary.baseline,
            "tasks": {task: numbers(statistics) for task, statistics in summary.tasks.items()},
            "delta_m_percent": numbers(summary.delta_m),
            "spread_percent": {method: summary.spread(summary.delta_m, method)[0] for method in summary.delta_m},
            "best": summary.best,
            "within_spread_of_best": [m for m in summary.delta_m if summary.within_spread(m, summary.best)]
            if summary.best
            else [],
            "without_delta_m": summary.without_delta_m,
            "sizes": self._sizes,
            "cells": {
                name: {
                    "method": cell.recipe.method,
                    "seed": cell.recipe.seed,
                    "seconds": cell.seconds(),
                    "machine": cell.machine(),
                    "training_logs": cell.training_logs(),
                    "metrics": cell.metrics(),
                }
                for name, cell in finished.items()
            },
            "not_finished": [name for name in self.cells if name not in finished],
        }


def read_scores(cells: Iterable[Cell], measures: Mapping[str, Measure]) -> dict[str, dict[int, dict[str, float]]]:
    """The numbers that methods are compared by, `{method: {seed: {task: number}}}`."""
    keys = {task: measure.key for task, measure in measures.items()}
    scores: dict[str, dict[int, dict[str, float]]] = {}
    for cell in cells:
        metrics = cell.metrics()
        numbers = select_measures({task: metrics[task] for task in measures}, keys)
        scores.setdefault(cell.recipe.method, {})[cell.recipe.seed] = numbers
    return scores
