"""Cells of a table: one run of one method with one seed, a run folder of `rc_keras.zoo.train`."""

import dataclasses
import json
import math
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rc_keras.zoo.compare.logged_process import last_line, run_logged
from rc_keras.zoo.recipes import Recipe
from rc_keras.zoo.recipes.recipe import format_field
from rc_keras.zoo.training import run_folder
from rc_keras.zoo.training.history import read_history


class CellError(Exception):
    """A cell did not come to its end; says why."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A run in a folder of its own.

    Attributes:
        folder: of the run; its log is `<folder>.log` beside it.
        recipe: the `Recipe`, with the cell's method and seed.
        called: what tables call it, the same for all seeds; `None`: by its method.
    """

    folder: pathlib.Path
    recipe: Recipe
    called: str | None = None

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.called or self.recipe.method

    @property
    def log(self) -> pathlib.Path:
        return self.folder.with_name(f"{self.folder.name}.log")

    def is_finished(self) -> bool:
        """Whether the folder holds a trained model, measured on all its tasks, as `zoo.train` does it.

        Raises:
            CellError: if it holds a run of another recipe.
        """
        try:
            if not run_folder.holds(self.folder, self.recipe):
                return False
        except ValueError as error:
            raise CellError(str(error)) from error
        if not all((self.folder / name).exists() for name in ("model.keras", "results.json")):
            return False
        results = self._results()
        as_trained = results["split"] == "validation" and results["details"].get("edge_suppression", True)
        return as_trained and set(self.recipe.tasks) <= set(results["tasks"])

    def run(self, flags: Sequence[str]) -> None:
        """Trains and measures in a process of its own, from the last checkpoint on if there is one.

        Args:
            flags: what `rc_keras.zoo.train` needs besides the recipe's fields.

        Raises:
            CellError: if the process fails, or the run that it adds to is not finished.
        """
        for start in (self.recipe.add_to, self.recipe.decoder_bank):
            if start is not None and not pathlib.Path(start).exists():
                raise CellError(f"`{start}`, which it starts from, is not there")
        fields = [f"--{name}={format_field(value)}" for name, value in vars(self.recipe).items()]
        self.start("rc_keras.zoo.train", [*flags, *fields])

    def start(self, module: str, flags: Sequence[str]) -> None:
        """Runs a module on the folder, its output in the log.

        Raises:
            CellError: if it fails.
        """
        code = run_logged([sys.executable, "-m", module, f"--workdir={self.folder}", *flags], self.log)
        if code:
            raise CellError(f"exit code {code}, see `{self.log}`: {last_line(self.log)}")

    def metrics(self) -> dict[str, dict[str, float]]:
        """Every metric of a finished cell, `{task: {metric: number}}`; NaN what was not finite."""
        tasks = self._results()["tasks"]
        return {
            task: {name: math.nan if value is None else value for name, value in metrics.items()}
            for task, metrics in tasks.items()
        }

    def seconds(self) -> dict[str, float]:
        """How long a finished cell took, `{"training": …, "evaluation": …}`; stretches that were lost are not in it."""
        # Seconds count from the last start of the run.
        ends = {line.get("since", 0): line["seconds"] for line in read_history(self.folder / "history.jsonl")}
        return {"training": round(sum(ends.values()), 1), "evaluation": self._results()["details"]["seconds"]}

    def training_logs(self) -> dict[str, float]:
        """The last logs of the training of a finished cell: losses and metrics of the epoch, `{name: number}`."""
        line = read_history(self.folder / "history.jsonl")[-1]
        return {name: value for name, value in line.items() if name not in ("step", "since", "seconds")}

    def machine(self) -> dict[str, Any] | None:
        """What it was trained and measured with, see `describe_machine`; `None` if it does not say."""
        return self._results()["details"].get("machine")

    def images(self) -> tuple[int, str, str]:
        """On what it was measured: `(how many images, split, data set)`."""
        results = self._results()
        return results["images"], results["split"], results["details"]["dataset"]

    def _results(self) -> dict[str, Any]:
        return json.loads((self.folder / "results.json").read_text(encoding="utf-8"))


def grid(
    folder: str | os.PathLike, recipe: Recipe, seeds: Mapping[str, Sequence[int]], kind: type[Cell] = Cell
) -> list[Cell]:
    """The cells of a table, every method once before the second seeds.

    Args:
        folder: of the cells; each gets `<method>/seed<seed>`.
        recipe: the `Recipe` that all share.
        seeds: `{method: (seed, …)}`.
        kind: class of the cells.
    """
    count = max(map(len, seeds.values()))
    return [
        kind(
            pathlib.Path(folder) / method / f"seed{numbers[turn]}",
            dataclasses.replace(recipe, method=method, seed=numbers[turn]),
        )
        for turn in range(count)
        for method, numbers in seeds.items()
        if turn < len(numbers)
    ]
