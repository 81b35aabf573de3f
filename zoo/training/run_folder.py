"""The folder of a run: which recipe it holds, and whether anything is trained in it."""

import pathlib

from rc_keras.zoo.recipes.recipe import Recipe


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
