"""Measures a trained model with every metric of its tasks.

Usage:
    python -m rc_keras.zoo.evaluate --workdir RUN --manual_dir DIR [--split validation] [--edge_suppression=false]
    python -m rc_keras.zoo.evaluate --model m.keras --recipe nyud --scale small --manual_dir DIR --out DIR

The first form measures `RUN/model.keras` with the recipe of the run; fields given as flags replace the recipe's. Prints
a table and writes `results.json`, `results.md` and `predictions.png` to RUN or `--out`.
"""

import dataclasses
import pathlib

from absl import app, flags, logging

from rc_keras.zoo.command_line import RECIPE, STRATEGY, WORKDIR, field_values, prepared_data, resolve_recipe

_MODEL = flags.DEFINE_string("model", None, "A saved model; that of the run by default.")
_OUT = flags.DEFINE_string("out", None, "Folder of the results; that of the run by default.")
_SPLIT = flags.DEFINE_string("split", "validation", "Split of the data set, TFDS's slices included: train[:100].")
_SUPPRESSION = flags.DEFINE_bool(
    "edge_suppression", True, "Thin edges by non-maximum suppression before they are matched, as seism does."
)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Arguments must be flags. Received: {argv[1:]}")
    if WORKDIR.value is None and None in (_MODEL.value, _OUT.value, RECIPE.value):
        raise app.UsageError("`--workdir`, or `--model`, `--recipe` and `--out` must be given.")
    out = pathlib.Path(_OUT.value or WORKDIR.value)

    from rc_keras.zoo.evaluation.report import evaluate
    from rc_keras.zoo.recipes import Recipe
    from rc_keras.zoo.strategy import make_strategy

    try:
        if RECIPE.value is not None:
            recipe = resolve_recipe()
        else:
            recipe = dataclasses.replace(Recipe.load(pathlib.Path(WORKDIR.value) / "recipe.json"), **field_values())
    except (OSError, ValueError) as error:
        raise app.UsageError(str(error)) from error
    logging.set_verbosity(logging.WARNING)  # TensorFlow and TFDS tell much about themselves
    strategy = make_strategy(STRATEGY.value)
    model = _MODEL.value or pathlib.Path(WORKDIR.value) / "model.keras"
    options = {"split": _SPLIT.value, "tasks": field_values().get("tasks"), "suppress": _SUPPRESSION.value}
    evaluate(model, recipe, prepared_data(recipe), strategy, out, **options)


if __name__ == "__main__":
    app.run(main)
