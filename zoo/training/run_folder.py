"""The folder of a run: which recipe it holds, and what is trained and measured in it."""

import pathlib

from rc_keras.zoo.recipes.recipe import Recipe

_MEASUREMENTS = ("results.json", "results.md", "predictions.png", "predictions.json")


def is_begun(folder):
    """Whether the folder holds a checkpoint or a trained model."""
    folder = pathlib.Path(folder)
    return (folder / "model.keras").exists() or any((folder / "checkpoints").glob("step_*.keras"))


def holds(folder, recipe):
    """Whether the folder holds a run of a recipe that is begun.

    Raises:
        ValueError: if it holds one of another recipe. A folder in which nothing is trained yet is free.
    """
    path = pathlib.Path(folder) / "recipe.json"
    if not is_begun(folder) or not path.exists():
        return False
    differences = recipe.differences(Recipe.load(path))
    if differences:
        listed = ", ".join(f"{name}={there!r} there, {here!r} here" for name, (here, there) in differences.items())
        raise ValueError(f"`{folder}` must hold a run of this recipe, or be another folder. Received: {listed}")
    return True


def begin(folder, recipe):
    """Makes the folder one of a recipe, and removes what was measured of another run in it."""
    folder = pathlib.Path(folder)
    for name in _MEASUREMENTS:
        (folder / name).unlink(missing_ok=True)
    recipe.save(folder / "recipe.json")
