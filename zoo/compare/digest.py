"""Digests of what a run's model answers, bit for bit.

Usage:
    python -m rc_keras.zoo.compare.digest --workdir RUN --manual_dir DIR --data_dir DIR

Writes `RUN/predictions.json`: for each task of `RUN/model.keras` the sha256 of its raw predictions on the validation
images, in float32. Two models with the same digest answer the same bits, on machines with the same processor or
GPU and the same number of threads.
"""

import hashlib
import os
import pathlib

from absl import app

from rc_keras.base.command import run
from rc_keras.files.whole_files import write_json
from rc_keras.zoo.command_line import WORKDIR, prepared_data
from rc_keras.zoo.datasets.data import Data
from rc_keras.zoo.recipes import Recipe

FILE = "predictions.json"


def digest_predictions(path: str | os.PathLike, recipe: Recipe, data: Data) -> dict[str, str]:
    """The sha256 of the raw predictions of every task of a saved model, `{task: hexadecimal digits}`."""
    import keras
    import numpy as np

    from rc_keras.zoo.recipes.batches import evaluation_stream

    model = keras.saving.load_model(path)
    digests = {name: hashlib.sha256() for name in model.tasks}
    for images, *_ in evaluation_stream(recipe, data, data.select(model.tasks)).as_numpy_iterator():
        for name, digest in digests.items():
            digest.update(np.ascontiguousarray(model.branch(name).predict_on_batch(images), "float32").tobytes())
    return {name: digest.hexdigest() for name, digest in digests.items()}


def main(argv: list[str]) -> None:
    if len(argv) > 1 or WORKDIR.value is None:
        raise app.UsageError(f"`--workdir` must be given, and nothing but flags. Received: {argv[1:]}")
    from rc_keras.zoo.training.determinism import make_deterministic

    make_deterministic(on_gpus=True)
    folder = pathlib.Path(WORKDIR.value)
    recipe = Recipe.load(folder / "recipe.json")
    digests = digest_predictions(folder / "model.keras", recipe, prepared_data(recipe))
    write_json(folder / FILE, digests)


if __name__ == "__main__":
    run(main, {})
