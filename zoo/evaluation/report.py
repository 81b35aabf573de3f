"""From a model to what people read: a table, a JSON file and a picture."""

import os
import pathlib
from collections.abc import Sequence

from rc_keras.files.whole_files import write_whole
from rc_keras.zoo.datasets.data import Data
from rc_keras.zoo.evaluation.measure import measure
from rc_keras.zoo.evaluation.results import Results
from rc_keras.zoo.recipes import Recipe
from rc_keras.zoo.strategy import Strategy


def evaluate(
    model: str | os.PathLike,
    recipe: Recipe,
    data: Data,
    strategy: Strategy,
    out: str | os.PathLike,
    split: str = "validation",
    tasks: Sequence[str] | None = None,
    suppress: bool = True,
) -> Results:
    """Measures a saved model, prints the table, and writes `results.json`, `results.md` and `predictions.png`.

    Args:
        model: path of the `.keras` file.
        recipe, data, strategy, split, tasks, suppress: see `measure`.
        out: folder; made if it is missing.

    Returns:
        The `Results`.
    """
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    results = measure(
        model, recipe, data, strategy, split=split, tasks=tasks, suppress=suppress, pictures=out / "predictions.png"
    )
    if strategy.is_chief:
        results.save(out / "results.json")
        write_whole(out / "results.md", results.to_markdown().encode())
        print(f"\n{results.to_markdown()}\n{out}/results.json, results.md, predictions.png")
    return results
