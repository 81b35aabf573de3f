"""The folder of a run: which recipe it holds, and what is trained and measured in it."""

import contextlib
import os
import pathlib

from rc_keras.files.writer_lock import writer_lock
from rc_keras.zoo.recipes.recipe import Recipe

_FOUND = ("results", "predictions", "representation", "gradients", "responses", "costs")  # as JSON, table and picture


def lock(folder: str | os.PathLike) -> contextlib.AbstractContextManager[None]:
    """Context of the one process that trains in a folder; `BlockingIOError` if there is another."""
    return writer_lock(os.path.join(folder, ".lock"), f"The run in `{os.fspath(folder)}`")


def is_begun(folder: str | os.PathLike) -> bool:
    """Whether the folder holds a checkpoint or a trained model."""
    folder = pathlib.Path(folder)
    return (folder / "model.keras").exists() or any((folder / "checkpoints").glob("step_*.keras"))


def holds(folder: str | os.PathLike, recipe: Recipe) -> bool:
    """Whether the folder holds a run of a recipe that is begun.

    Raises:
        ValueError: if it holds one of another recipe, or of none. A folder in which nothing is trained yet is free.
    """
    path = pathlib.Path(folder) / "recipe.json"
    if not is_begun(folder):
        return False
    if not path.exists():
        raise ValueError(f"`{folder}` must hold a run with its recipe.json, or be another folder. Received: none there")
    differences = recipe.differences(Recipe.load(path))
    if differences:
        listed = ", ".join(f"{name}={there!r} there, {here!r} here" for name, (here, there) in differences.items())
        raise ValueError(f"`{folder}` must hold a run of this recipe, or be another folder. Received: {listed}")
    return True


def begin(folder: str | os.PathLike, recipe: Recipe) -> None:
    """Makes a folder in which nothing is trained one of a recipe, and removes what was found of a model before."""
    folder = pathlib.Path(folder)
    for name in _FOUND:
        for suffix in ("json", "md", "png"):
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    recipe.save(folder / "recipe.json")
