"""The tasks of a folder data set: from the catalogue, or from its `tasks.json`."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import rc_keras
from rc_keras.base.names import unknown_name
from rc_keras.tasks import kinds

_KEYS = ("name", "channels", "kind", "ignore", "loss_weight", "class_names", "unit", "loss")
# Features and folders that are there already.
_RESERVED = ("id", "image", "images", "splits")


def read_tasks(root: pathlib.Path, folders: Sequence[str]) -> list[rc_keras.Task]:
    """The tasks that a data set's folders hold labels of.

    Args:
        root: path of the data set; `tasks.json` in it is optional and wins over the catalogue.
        folders: names of the folders of labels.

    Returns:
        List of `Task`, in the order of `folders`.

    Raises:
        ValueError: if an entry is wrong, has no folder, or a folder is neither an entry nor in the catalogue.
    """
    path = root / "tasks.json"
    entries = _read_entries(path)
    for name in entries:
        if name not in folders:
            raise ValueError(
                f"The task {name!r} of `{path}` must have a folder of labels, `{root / name}`. "
                f"Received: folders {list(folders)}"
            )
    return [entries[name] if name in entries else _find(path, name) for name in folders]


def _find(path: pathlib.Path, name: str) -> rc_keras.Task:
    catalogue = {task.name for task in (*rc_keras.pascal_context(), *rc_keras.nyud())}
    if name not in catalogue:
        entry = {"name": name, "channels": 2, "kind": "segmentation", "class_names": ["other", name]}
        raise ValueError(
            f"{unknown_name('folder of labels', name, catalogue)} Another name needs an entry in `{path}`, like "
            f"{json.dumps([entry])}, with `kind` one of {kinds.names_where('dense')}."
        )
    return rc_keras.Task.get(name)


def _read_entries(path: pathlib.Path) -> dict[str, rc_keras.Task]:
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"`{path}` must be JSON. Received: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"`{path}` must be a list of objects with keys {list(_KEYS)}. Received: {entries!r}")
    tasks = {}
    for entry in entries:
        task = _make_task(path, entry)
        if task.name in tasks:
            raise ValueError(f"`{path}` must name a task once. Received: {task.name!r} twice")
        tasks[task.name] = task
    return tasks


def _make_task(path: pathlib.Path, entry: dict[str, Any]) -> rc_keras.Task:
    unknown = sorted(set(entry) - set(_KEYS))
    missing = sorted({"name", "channels", "kind"} - set(entry))
    if unknown or missing:
        raise ValueError(
            f"An entry of `{path}` must have `name`, `channels` and `kind`, and may have {list(_KEYS[3:])}. "
            f"Received: {entry!r}"
        )
    if entry["name"] in _RESERVED:
        raise ValueError(f"An entry of `{path}` must not be named {', '.join(_RESERVED)}. Received: {entry!r}")
    try:
        task = rc_keras.Task(**entry)
    except ValueError as error:
        raise ValueError(f"`{path}`: {error}") from None
    if not task.definition.dense:
        raise ValueError(
            f"An entry of `{path}` must be of a kind that labels pixels, one of {kinds.names_where('dense')}; "
            f"{task.kind} is not read from folders. Received: {entry!r}"
        )
    if not -(2**31) <= task.ignore < 2**31 or task.channels > 2**31:
        raise ValueError(f"The labels of an entry of `{path}` must fit 32 bits. Received: {entry!r}")
    return task
