"""The folder of an ONNX export: one file of shared weights, and a graph and its weights for each task."""

import contextlib
import json
import os
import shutil
import tempfile

from rc_keras.export.file_digest import NAME as DIGEST
from rc_keras.export.file_digest import is_whole, sha256
from rc_keras.export.metadata import NAME

BANK = "bank.bin"
REPORT = "report.json"
# What the tasks of a folder have in common, of their metadata.
COMMON = ("precision", "mode", "bank_fingerprint", "input")


def graph_file(task):
    """Name of the file with a task's graph."""
    return f"{task}.onnx"


def weights_file(task):
    """Name of the file with the weights that a task has for itself."""
    return f"{task}.bin"


def read_metadata(folder):
    """What the graphs in a folder say about themselves.

    Args:
        folder: path of the folder.

    Returns:
        `{task: metadata}`, sorted, with `"files"`, `{name of a file with weights: sha256}`, besides what
        `rc_keras.export.metadata` says.

    Raises:
        ValueError: if a graph is damaged, or not one of rc_keras.
    """
    found = {}
    for name in sorted(os.listdir(folder)):
        task, suffix = os.path.splitext(name)
        if suffix == ".onnx" and not name.startswith("."):
            found[task] = _read_graph(os.path.join(folder, name), task)
    return found


def check_folder(folder, tasks, overwrite, description):
    """Checks that tasks may be written to a folder.

    Args:
        folder: its path; it may be there, with tasks exported before.
        tasks: names of the tasks to write.
        overwrite: whether those that are there already are replaced.
        description: metadata of the new files.

    Returns:
        Names of the tasks in the folder that stay as they are.

    Raises:
        FileExistsError: if a task is there and may not be replaced.
        PermissionError: if the folder is not writable.
        ValueError: if the tasks that stay were exported with another bank or other settings.
    """
    names = [name.casefold() for name in tasks]
    if len(set(names)) < len(names):
        raise ValueError(f"Names of tasks must differ in more than their case in files. Received: tasks={list(tasks)}")
    if not os.path.isdir(folder):
        return []
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"`directory` must be writable. Received: directory={folder!r}")
    present = [n for task in tasks for n in (graph_file(task), weights_file(task)) if _is_there(folder, n)]
    if present and not overwrite:
        raise FileExistsError(
            f"`directory` must not hold {', '.join(present)} unless `overwrite=True`. Received: directory={folder!r}"
        )
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


def check_bank(folder, digest, staying):
    """Whether the bank in a folder is the one needed.

    Args:
        folder: its path.
        digest: sha256 of the new `bank.bin`, `None` where tasks share nothing.
        staying: names of the tasks in the folder that stay as they are.

    Returns:
        Whether `bank.bin` is there and stays.

    Raises:
        ValueError: if it is there, tasks that stay need it, and it is another one.
    """
    path = os.path.join(folder, BANK)
    if digest is None or not os.path.exists(path):
        return False
    same = sha256(path) == digest
    if not same and staying:
        raise ValueError(
            f"The {BANK} in `directory` must be that of the model, bit for bit, to add tasks to {staying}. Received: "
            f"directory={folder!r}, with another one, or a damaged one"
        )
    return same


@contextlib.contextmanager
def new_files(folder):
    """Context with a temporary folder on the disk of `folder`, removed at the end whatever happens."""
    there = os.path.isdir(folder)
    parent, name = (folder, "export") if there else os.path.split(folder)
    temporary = tempfile.mkdtemp(prefix=f".{name}.", dir=parent)
    try:
        # Of its own, since that of a temporary folder is for its owner alone.
        files = os.path.join(temporary, "files")
        os.mkdir(files)
        yield files
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish(files, folder, tasks, keep_bank, staying):
    """Moves verified files to where they belong; a new folder appears in one step.

    In a folder that is there, a graph goes first when its task is replaced and comes last: whenever that is
    interrupted, every graph in the folder is complete and fits its weights.

    Args:
        files: the temporary folder.
        folder: path of the folder, which may be there.
        tasks: names of the new tasks.
        keep_bank: whether the bank in the folder stays.
        staying: names of the tasks in the folder that stay as they are.
    """
    if not os.path.isdir(folder):
        os.rename(files, folder)
        return
    for task in tasks:
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, graph_file(task)))
    order = [] if keep_bank or not _is_there(files, BANK) else [BANK]
    order += [name for task in tasks for name in (weights_file(task), graph_file(task))]
    for name in (*order, REPORT):
        os.replace(os.path.join(files, name), os.path.join(folder, name))
    if not staying and not keep_bank and BANK not in order:
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, BANK))  # nothing needs it any more


def _is_there(folder, name):
    return os.path.lexists(os.path.join(folder, name))


def _read_graph(path, task):
    import onnx

    try:
        with open(path, "rb") as file:
            content = file.read()
        model = onnx.load_model_from_string(content)
        entries = {entry.key: entry.value for entry in model.metadata_props}
        data = json.loads(entries[NAME])
        ours = set(data) >= {*COMMON, "tasks", "files"} and set(data["tasks"]) == {task}
        whole = is_whole(content, entries[DIGEST].encode())
    except Exception as error:  # whatever bytes there are
        raise ValueError(
            f"{path!r} must be a graph that rc_keras exported. Received: a damaged one, or another"
        ) from error
    if not whole:
        raise ValueError(f"{path!r} must be a graph as rc_keras exported it. Received: a damaged or changed one")
    used = {e.value for t in model.graph.initializer for e in t.external_data if e.key == "location"}
    if not ours or not used <= set(data["files"]) <= {BANK, weights_file(task)}:
        raise ValueError(f"{path!r} must be a graph that rc_keras exported for {task!r}. Received: another")
    return data
