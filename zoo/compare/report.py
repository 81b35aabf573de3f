"""What a comparison leaves: `compare.json`, `compare.md` and `compare.png`, and with costs `costs.png`."""

import dataclasses
import os
import pathlib
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rc_keras.files.whole_files import write_json, write_whole
from rc_keras.tasks.task import Task
from rc_keras.zoo.compare.cells import Cell
from rc_keras.zoo.compare.cost_table import format_costs
from rc_keras.zoo.compare.costed_cell import CostedCell, read_costs
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
        compared: `{name: Cell}` of what the table compares.
        donors: `{name: Cell}` of runs that others start from, which come first and are in no table.

    Attributes:
        cells: `{name: Cell}`, all of them.
    """

    def __init__(
        self,
        out: str | os.PathLike,
        recipe: Recipe,
        tasks: Sequence[Task],
        compared: Mapping[str, Cell],
        donors: Mapping[str, Cell] = types.MappingProxyType({}),
    ) -> None:
        self.out = pathlib.Path(out)
        self.recipe, self.tasks, self.compared = recipe, tasks, compared
        self.cells = {**donors, **compared}
        self.measures = measures_of(tasks)
        self._sizes: dict[str, dict[str, Any]] = {}

    def write(self) -> str:
        """Writes the files from the cells that are finished.

        Returns:
            The table.
        """
        finished = finished_cells(self.cells)
        compared = [cell for name, cell in finished.items() if name in self.compared]
        summary = summarize(read_scores(compared, self.measures), directions(self.measures))
        costs = read_costs(compared)
        for cell in compared:
            if cell.title in costs:
                self._sizes[cell.title] = costs[cell.title][0]["size"]  # of what was trained
            elif cell.title not in self._sizes:
                self._sizes[cell.title] = measure_size(cell.recipe, self.tasks)
        parts = [format_table(summary, self.measures, self._sizes)]
        parts += [format_costs(costs)] if costs else []
        table = "\n".join([*parts, describe_origin(self.recipe, self.cells)])
        self.out.mkdir(parents=True, exist_ok=True)
        content = self._content(finished, summary)
        write_json(self.out / "compare.json", content)
        write_whole(self.out / "compare.md", table.encode())
        if compared:
            from rc_keras.zoo.compare.figures import draw_comparison

            draw_comparison(self.out / "compare.png", summary, self.measures)
        if costs:
            from rc_keras.zoo.compare.cost_figure import draw_costs

            draw_costs(self.out / "costs.png", summary, costs)
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
                    "method": cell.title,
                    "seed": cell.recipe.seed,
                    "seconds": cell.seconds(),
                    "machine": cell.machine(),
                    "training_logs": cell.training_logs(),
                    "metrics": cell.metrics(),
                    **({"costs": cell.costs()} if isinstance(cell, CostedCell) else {}),
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
        scores.setdefault(cell.title, {})[cell.recipe.seed] = numbers
    return scores
