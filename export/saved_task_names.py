"""The names of the tasks in a saved model, without loading it."""

import contextlib
import json
import os
import zipfile


def saved_task_names(path: str | os.PathLike) -> list[str] | None:
    """The tasks of the `MultiTaskModel` in a `.keras` file; `None` where that cannot be told."""
    with contextlib.suppress(KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile):
        with zipfile.ZipFile(path) as file:
            tasks = json.loads(file.read("config.json"))["config"]["tasks"]
        return [task["config"]["name"] for task in tasks]
    return None
