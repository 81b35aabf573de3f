"""The flags of commands that look at a trained model, and what they resolve to."""

import dataclasses
import pathlib

from absl import app, flags

from rc_keras.zoo.command_line import DATA_DIR, MANUAL_DIR, RECIPE, SCALE, WORKDIR, field_values, resolve_recipe
from rc_keras.zoo.recipes import Recipe

MODEL = flags.DEFINE_string("model", None, "A saved model; that of the run by default.")
OUT = flags.DEFINE_string("out", None, "Folder of the results; that of the run by default.")
SPLIT = flags.DEFINE_string("split", "validation", "Split of the data set, TFDS's slices included: train[:100].")
LOOKED_AT = (WORKDIR, MODEL, RECIPE, SCALE, SPLIT, MANUAL_DIR, DATA_DIR, OUT)


def resolve_trained_model(*others: str) -> tuple[str | pathlib.Path, Recipe, pathlib.Path]:
    """What `--workdir`, or `--model`, `--recipe` and `--out`, name: `(path of the model, Recipe, output folder)`.

    A run's folder keeps what is found of its own model, recipe and validation split: all else needs `--out`.

    Args:
        others: names of flags besides these that say what is looked at.

    Raises:
        absl.app.UsageError: if flags are missing or wrong, or the run has no recipe.
    """
    if WORKDIR.value is None and None in (MODEL.value, OUT.value, RECIPE.value):
        raise app.UsageError("`--workdir`, or `--model`, `--recipe` and `--out` must be given.")
    changed = [name for name in ("model", "recipe", "split", *others) if flags.FLAGS[name].present]
    changed += field_values()
    if OUT.value is None and changed:
        raise app.UsageError(
            "`--out` must be given, for the run's folder keeps what belongs to the run itself. Received: "
            f"{', '.join(f'--{name}' for name in changed)}"
        )
    try:
        if RECIPE.value is not None:
            recipe = resolve_recipe()
        else:
            recipe = dataclasses.replace(Recipe.load(pathlib.Path(WORKDIR.value) / "recipe.json"), **field_values())
    except (OSError, ValueError) as error:
        raise app.UsageError(str(error)) from error
    model = MODEL.value or pathlib.Path(WORKDIR.value) / "model.keras"
    return model, recipe, pathlib.Path(OUT.value or WORKDIR.value)
