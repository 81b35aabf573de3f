"""From a model to what people read: tables, JSON files and diagrams."""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from rc_keras.base.names import unknown_name
from rc_keras.files.whole_files import write_json
from rc_keras.reports.diagrams import new_figure
from rc_keras.zoo.datasets.data import Data
from rc_keras.zoo.diagnostics.conflict_figure import draw_conflict
from rc_keras.zoo.diagnostics.gradient_conflict import gradient_conflict
from rc_keras.zoo.diagnostics.representation_similarity import representation_similarity
from rc_keras.zoo.diagnostics.response_spectra import response_spectra, spectra_to_dict
from rc_keras.zoo.diagnostics.similarity_figure import draw_similarity
from rc_keras.zoo.diagnostics.spectra_figure import draw_spectra
from rc_keras.zoo.recipes import Recipe
from rc_keras.zoo.recipes.batches import evaluation_stream

DIAGNOSTICS = ("representation", "gradients", "responses")


def check_names(only: Iterable[str]) -> None:
    """Raises ValueError for a name that is none of `DIAGNOSTICS`."""
    for name in only:
        if name not in DIAGNOSTICS:
            raise unknown_name("only", name, DIAGNOSTICS)


def diagnose(
    model: str | os.PathLike,
    recipe: Recipe,
    data: Data,
    out: str | os.PathLike,
    split: str = "validation",
    images: int = 64,
    only: Sequence[str] = DIAGNOSTICS,
    stages: Sequence[str] | None = None,
    pooled: bool = False,
) -> dict[str, Any]:
    """Runs diagnostics on a saved model, prints their tables, and writes `<diagnostic>.json` and `.png` of each.

    Args:
        model: path of the `.keras` file.
        recipe: the `Recipe` that says how images are prepared.
        data: the prepared `Data`.
        out: folder; made if it is missing.
        split: of the data.
        images: how many images to look at, the first of the split.
        only: names of diagnostics, of `DIAGNOSTICS`.
        stages, pooled: see `representation_similarity`.

    Returns:
        `{diagnostic: result}`.

    Raises:
        ImportError: without matplotlib; names what to install.
        ValueError: if an argument is wrong.
    """
    check_names(only)
    new_figure(1, 1)  # fails before the long work where nothing can be drawn
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    network = keras.saving.load_model(model)
    tasks = data.select([name for name in network.tasks if name in data.tasks])
    stream = evaluation_stream(recipe, data, tasks, split).unbatch().take(images).batch(recipe.batch_size)
    batches = [(pixels, labels) for pixels, labels, _ in stream.as_numpy_iterator()]
    pixels = np.concatenate([pixels for pixels, _ in batches])
    source = {
        "model": str(model),
        "method": network.bank.method.name,
        "dataset": data.builder.info.full_name,
        "split": split,
    }
    results: dict[str, Any] = {}
    for name in (name for name in DIAGNOSTICS if name in only):
        print(f"{name}: {len(pixels)} images", flush=True)
        picture = out / f"{name}.png"
        if name == "representation":
            results[name] = similarity = representation_similarity(network, pixels, stages, pooled)
            values = similarity.to_dict()
            draw_similarity(similarity, picture)
        elif name == "gradients":
            results[name] = conflict = gradient_conflict(network, batches)
            values = conflict.to_dict()
            draw_conflict(conflict, picture)
        else:
            results[name] = spectra = response_spectra(network, pixels)
            values = spectra_to_dict(spectra)
            draw_spectra(spectra, picture)
        write_json(out / f"{name}.json", {**source, **values})
        print(f"\n{results[name]}\n{out}/{name}.json, {name}.png\n", flush=True)
    return results
