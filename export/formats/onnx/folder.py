"""The folder of an ONNX export: one file of shared weights, and a graph and its weights for each task."""

import json
import os
import shutil
from collections.abc import Collection, Iterable
from typing import Any

from rc_keras.export.folding.folded_network import ALL
from rc_keras.export.formats.description import FILE, to_json
from rc_keras.export.formats.file_digest import NAME as DIGEST
from rc_keras.export.formats.file_digest import is_whole, sha256
from rc_keras.export.formats.metadata import NAME
from rc_keras.export.formats.onnx.self_description import join, read_description, tasks_of
from rc_keras.export.formats.target import check_target
from rc_keras.export.report import REPORT
from rc_keras.files import manifest
from rc_keras.files.whole_files import write_whole
from rc_keras.files.whole_folder import switch

BANK = "bank.bin"
# What the tasks of a folder have in common, of their metadata.
COMMON = ("precision", "mode", "bank_fingerprint", "input")


def graph_file(task: str) -> str:
    """Name of the file with a task's graph."""
    return f"{task}.onnx"


def weights_file(task: str) -> str:
    """Name of the file with the weights that a task has for itself."""
    return f"{task}.bin"


def read_metadata(folder: str) -> dict[str, dict]:
    """What the graphs in a folder say about themselves.

    Args:
        folder: path of the folder.

    Returns:
        `{task: metadata}`, sorted, with `"files"`, `{name of a file with weights: sha256}`, besides what
        `rc_keras.export.formats.metadata` says.

    Raises:
        ValueError: if a graph is damaged, or not one of rc_keras.
    """
    found = {}
    for name in sorted(os.listdir(folder)):
        task, suffix = os.path.splitext(name)
        if suffix == ".onnx" and not name.startswith(".") and task != ALL:
            found[task] = _read_graph(os.path.join(folder, name), [task])
    return found


def read_joint(folder: str) -> dict[str, Any]:
    """What the graph of all tasks says about itself, as `read_metadata`; empty where there is none."""
    path = os.path.join(folder, graph_file(ALL))
    return _read_graph(path) if os.path.lexists(path) else {}


def keeps_joint(files: str, folder: str, tasks: Collection[str]) -> bool:
    """Whether the graph of all tasks in a folder stays, because its weights do.

    Args:
        files: the temporary folder with the new files.
        folder: path of the folder.
        tasks: names of the new tasks.
    """
    if _is_there(files, graph_file(ALL)):
        return False
    of_joint = read_joint(folder).get("tasks", {})
    return bool(of_joint) and not set(of_joint) & set(tasks)


def check(directory: str | os.PathLike, overwrite: bool = False, tasks: list[str] | None = None) -> str:
    """Checks where tasks are to be written, before there is a model.

    Args:
        directory: the folder; it may be there, with tasks exported before.
        overwrite: whether those that are there already are replaced.
        tasks: names of the tasks to write; `None`: not known yet.

    Returns:
        The absolute path of the folder.

    Raises:
        ValueError, OSError: see `check_target`.
        FileExistsError: if a task is there and may not be replaced.
    """
    folder = check_target(directory, overwrite=True)
    present = [n for task in tasks or () for n in (graph_file(task), weights_file(task)) if _is_there(folder, n)]
    if present and not overwrite:
        raise FileExistsError(
            f"`directory` must not hold {', '.join(present)} unless `overwrite=True`. Received: directory={folder!r}"
        )
    return folder


def check_folder(folder: str, tasks: list[str], description: dict) -> list[str]:
    """Checks that tasks fit those in a folder.

    Args:
        folder: its path; it may be there, with tasks exported before.
        tasks: names of the tasks to write.
        description: metadata of the new files.

    Returns:
        Names of the tasks in the folder that stay as they are.

    Raises:
        ValueError: if names differ by their case only, or the tasks that stay were exported with another bank or other
            settings.
    """
    names = [name.casefold() for name in tasks]
    if len(set(names)) < len(names):
        raise ValueError(f"Names of tasks must differ in more than their case in files. Received: tasks={list(tasks)}")
    if not os.path.isdir(folder):
        return []
    staying = {name: data for name, data in read_metadata(folder).items() if name not in tasks}
    for name, data in staying.items():
        if name.casefold() in names:
            raise ValueError(
                f"Names of tasks must differ in more than their case in files. Received: {name!r} is there"
            )
        for key in COMMON:
            if data[key] != description[key]:
                raise ValueError(
                    f"Tasks in one folder must have the same {key}: {name!r} in it has {data[key]!r}. Export to "
                    f"another folder, or all tasks together. Received: {description[key]!r}"
                )
    return list(staying)


def check_bank(files: str, folder: str, staying: list[str]) -> bool:
    """Whether the bank in a folder is the one needed.

    Args:
        files: the temporary folder with the new files, without `bank.bin` where tasks share nothing.
        folder: path of the folder.
        staying: names of the tasks in the folder that stay as they are.

    Returns:
        Whether `bank.bin` is there and stays.

    Raises:
        ValueError: if it is there, tasks that stay need it, and it is another one.
    """
    new, path = os.path.join(files, BANK), os.path.join(folder, BANK)
    if not os.path.exists(new) or not os.path.exists(path):
        return False
    same = sha256(path) == sha256(new)
    if not same and staying:
        raise ValueError(
            f"The {BANK} in `directory` must be that of the model, bit for bit, to add tasks to {staying}. Received: "
            f"directory={folder!r}, with another one, or a damaged one"
        )
    return same


def publish(files: str, folder: str, tasks: list[str]) -> None:
    """Puts verified files where they belong: whatever else a folder holds is copied to them, and they replace it whole.

    Args:
        files: the temporary folder, see `new_folder`.
        folder: path of the folder, which may be there; its writer is this process, see `folder_lock`.
        tasks: names of the new tasks.
    """
    staying = [name for name in read_metadata(folder) if name not in tasks] if os.path.isdir(folder) else []
    keep_bank = check_bank(files, folder, staying)
    keep_joint = os.path.isdir(folder) and keeps_joint(files, folder, tasks)
    replaced = {
        REPORT,
        FILE,
        manifest.NAME,
        *(name for task in tasks for name in (graph_file(task), weights_file(task))),
    }
    if not keep_bank and (_is_there(files, BANK) or not staying):
        replaced.add(BANK)
    if not keep_joint or BANK in replaced:
        replaced.add(graph_file(ALL))
    for entry in os.scandir(folder) if os.path.isdir(folder) else ():
        target = os.path.join(files, entry.name)
        if entry.name in replaced:
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.copytree(entry.path, target, symlinks=True)
        else:
            shutil.copy2(entry.path, target, follow_symlinks=False)
    if described := describe_folder(files, [*staying, *tasks], tasks_of(folder)):
        write_whole(os.path.join(files, FILE), to_json(described))
    names = [
        BANK,
        FILE,
        graph_file(ALL),
        *(name for task in (*staying, *tasks) for name in (graph_file(task), weights_file(task))),
    ]
    entries = {n: manifest.entry_of_file(os.path.join(files, n)) for n in names if _is_there(files, n)}
    write_whole(os.path.join(files, manifest.NAME), manifest.to_json(entries))
    switch(files, folder)


def describe_folder(folder: str, tasks: Iterable[str], order: Iterable[str]) -> dict[str, Any] | None:
    """The description of the graphs in a folder, as they give it; `None` in folders of earlier versions.

    Args:
        folder: its path.
        tasks: names of the graphs.
        order: names of tasks that come first.
    """
    descriptions = [read_description(os.path.join(folder, graph_file(task))) for task in tasks]
    return join(descriptions, order, ALL if _is_there(folder, graph_file(ALL)) else None)


def _is_there(folder: str, name: str) -> bool:
    return os.path.lexists(os.path.join(folder, name))


def _read_graph(path: str, tasks: Collection[str] | None = None) -> dict:
    """The metadata of a graph of these tasks; without them, of one of all tasks, whose files are theirs."""
    import onnx

    try:
        with open(path, "rb") as file:
            content = file.read()
        model = onnx.load_model_from_string(content)
        entries = {entry.key: entry.value for entry in model.metadata_props}
        data = json.loads(entries[NAME])
        ours = set(data) >= {*COMMON, "tasks", "files"} and (tasks is None or set(data["tasks"]) == set(tasks))
        whole = is_whole(content, entries[DIGEST].encode())
    except Exception as error:  # whatever bytes there are
        raise ValueError(
            f"{path!r} must be a graph that rc_keras exported. Received: a damaged one, or another"
        ) from error
    if not whole:
        raise ValueError(f"{path!r} must be a graph as rc_keras exported it. Received: a damaged or changed one")
    used = {e.value for t in model.graph.initializer for e in t.external_data if e.key == "location"}
    known = {BANK, *map(weights_file, data["tasks"])} if ours else set()
    if tasks is None:
        known |= set(map(graph_file, data.get("tasks", ())))
    if not ours or not used <= set(data["files"]) <= known:
        named = " and ".join(map(repr, tasks or [ALL]))
        raise ValueError(f"{path!r} must be a graph that rc_keras exported for {named}. Received: another")
    return data
