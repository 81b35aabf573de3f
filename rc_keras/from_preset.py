"""`from_preset`: a model from the folder it was saved to, or from where it was published."""

import os
from collections.abc import Sequence
from typing import Any

from rc_keras.base.names import unknown_name
from rc_keras.files import folder_update, manifest
from rc_keras.files.folder_update import stored_path
from rc_keras.files.manifest import Entry
from rc_keras.files.named_weights import assign_named, named_variables
from rc_keras.model import MultiTaskModel
from rc_keras.network.bank import FilterBank
from rc_keras.published.hugging_face import SCHEME, hub_folder
from rc_keras.published.local_folder import local_folder
from rc_keras.published.registry import PRESETS
from rc_keras.storage import preset
from rc_keras.tasks.task_name import check_name


def from_preset(directory: str | os.PathLike, tasks: Sequence[str] | None = None) -> MultiTaskModel:
    """Loads a model, or some of its tasks, as `MultiTaskModel.save_to_preset` wrote it to a folder.

    The model answers, for the tasks that are loaded, what the saved one answered, to the last bit on the same backend.
    It is not compiled. Weights in half precision become float32. Layers are rebuilt in Keras's safe mode: nothing in
    the folder is executed or unpickled. Decoders of one's own, and layers of one's own in a backbone, must be
    registered with `keras.saving.register_keras_serializable`; any other backbone is rebuilt from the folder alone.

    Example:

    >>> model.save_to_preset("street")
    >>> model = rc_keras.from_preset("street")
    >>> model = rc_keras.from_preset("street", tasks=["edge"])  # reads the bank and the pack of this task
    >>> predictions = model.predict(images)  # RGB in 0..255
    >>> model = rc_keras.from_preset("hf://owner/name")  # the same folder, in a repository of the Hugging Face Hub

    Args:
        directory: the folder; or the name of a published preset, which `rc_keras.presets` lists; or
            `"hf://owner/name"`, or `"hf://owner/name@revision"`, for one on the Hugging Face Hub (needs
            `rc_keras[hub]`). A folder that holds a preset comes before a published one of the same name; with
            `"./name"`, or a `pathlib.Path`, it is a folder in any case. What has to be downloaded is downloaded once,
            to `~/.keras/rc_keras/presets` (or below `KERAS_HOME`), goes on where it was cut off, and is checked; of the
            Hub, to the cache of `huggingface_hub`. With `tasks`, other tasks are not downloaded.
        tasks: names of the tasks to load, in the order the model is to have. Any pack in the folder can be named, also
            one that was copied into it later as `tasks/<name>/task.rctask`. `None`: the tasks of the saved model.

    Returns:
        A `MultiTaskModel`.

    Raises:
        FileNotFoundError: if the folder, its `config.json`, the bank or a pack is missing.
        ImportError: if `huggingface_hub` is needed and not installed.
        OSError: if a file cannot be downloaded; says which, from where, and where to put it.
        ValueError: if a task is unknown, or if a file is damaged, is not the one that was saved, belongs to another
            bank, or holds another task than its folder says.
    """
    _check_tasks(tasks)
    directory = _folder(directory, tasks)
    while True:
        before = folder_update.state(directory)
        try:
            model = _load(directory, tasks)
        except (OSError, ValueError):
            if folder_update.state(directory) == before:
                raise
        else:
            if folder_update.state(directory)[0] == before[0]:
                return model


def _check_tasks(tasks: Sequence[str] | None) -> None:
    """Checks what can be checked before anything is downloaded."""
    if tasks is None:
        return
    if not isinstance(tasks, (list, tuple)) or not tasks or not all(isinstance(name, str) for name in tasks):
        raise ValueError(f"`tasks` must be a list of task names, at least one, or None. Received: tasks={tasks!r}")
    if len(set(tasks)) < len(tasks):
        raise ValueError(f"`tasks` must be different names. Received: tasks={tasks}")


def _folder(directory: str | os.PathLike, tasks: Sequence[str] | None) -> str:
    """The folder that is meant; what is published is there then."""
    path = os.fspath(directory)
    if not isinstance(directory, str):
        return path
    if path.startswith(SCHEME):
        return hub_folder(path, tasks)
    texts = [os.path.join(path, name) for name in (preset.CONFIG, manifest.NAME)]
    if os.path.basename(path) != path or any(map(os.path.isfile, texts)):
        return path
    if path in PRESETS:
        return local_folder(path, tasks)
    if PRESETS and not os.path.isdir(path):
        unknown = unknown_name("directory", path, PRESETS)
        raise FileNotFoundError(f"`directory` must be a preset. There is no file {texts[0]}. As a name, {unknown}")
    return path


def _load(directory: str, tasks: Sequence[str] | None) -> MultiTaskModel:
    """The model of a folder that nobody writes to meanwhile."""
    files = manifest.read(directory)
    path = _stored(directory, files, preset.CONFIG)
    content = _read_config(path, directory, files)
    listed = _listed_tasks(content, path)
    names = listed if tasks is None else _chosen_tasks(tasks, listed, directory)
    model = _without_tasks(content, path)
    _load_bank(model.bank, _stored(directory, files, preset.BANK), content.get("bank"))
    for name in names:
        pack = _stored(directory, files, preset.pack_name(name))
        loaded = model.load_task(pack, overwrite=True)
        if loaded != name:
            raise ValueError(f"{pack} must hold the task {name!r}. Received: {loaded!r}")
    _restore_training(model, content["model"], path)
    return model


def listed_tasks(directory: str | os.PathLike) -> list[str]:
    """Names of the tasks that `from_preset` loads without being asked for others; raises what it raises."""
    directory = _folder(directory, [])
    files = manifest.read(directory)
    path = _stored(directory, files, preset.CONFIG)
    return _listed_tasks(_read_config(path, directory, files), path)


def _read_config(path: str, directory: str, files: dict[str, Entry] | None) -> dict[str, Any]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"`directory` must be a preset. There is no file {path}")
    content = preset.read_json(path)
    if "manifest" in content and preset.CONFIG not in (files or ()):
        raise FileNotFoundError(f"{os.path.join(directory, manifest.NAME)} is missing, or not that of {path}")
    return content


def _stored(directory: str, files: dict[str, Entry] | None, name: str) -> str:
    """The path of a file, which is the one that the manifest lists, if it lists it."""
    if files is not None and name in files:
        return stored_path(directory, files, name)
    return os.path.join(directory, *name.split("/"))


def _listed_tasks(content: dict[str, Any], path: str) -> list[str]:
    names: Any = content.get("tasks")
    try:
        for name in names:
            check_name(name)
        unique = isinstance(names, list) and 0 < len(names) == len(set(names))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} must list the names of tasks. {error}") from error
    if not unique:
        raise ValueError(f"{path} must list different tasks, at least one. Received: {names}")
    return names


def _chosen_tasks(tasks: Sequence[str], listed: list[str], directory: str) -> Sequence[str]:
    """Checks names against those of the config and of the folders, so that no path comes from outside."""
    folder = os.path.join(directory, "tasks")
    there = os.listdir(folder) if os.path.isdir(folder) else []
    known = {*listed, *(name for name in there if os.path.isfile(os.path.join(directory, preset.pack_name(name))))}
    for name in tasks:
        if name not in known:
            raise unknown_name("tasks", name, known)
    return tasks


def _without_tasks(content: dict[str, Any], path: str) -> MultiTaskModel:
    """The model of a config, before weights and tasks."""
    try:
        no_tasks: dict[str, Any] = {"tasks": [], "decoders": [], "trainable_tasks": [], "frozen_layers": {}}
        return MultiTaskModel.from_config({**content["model"], **no_tasks})
    except Exception as error:  # a config can go wrong anywhere in Keras
        raise ValueError(f"{path} must hold the config of a model. It cannot be rebuilt: {error!r}") from error


def _load_bank(bank: FilterBank, path: str, expected: Any) -> None:
    tensors, identity = preset.read_bank(path)
    preset.check_same_bank(path, identity, expected)
    assign_named(named_variables(bank.template.layers), tensors, path)


def _restore_training(model: MultiTaskModel, config: dict[str, Any], path: str) -> None:
    """Freezes what was frozen, as far as the tasks are there."""
    try:
        for name, layers in config["frozen_layers"].items():
            for layer in layers if name in model.tasks else ():
                model.branch(name).get_layer(layer).trainable = False
        model.trainable_tasks = [name for name in config["trainable_tasks"] if name in model.tasks]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} must say what is trainable. It cannot be read: {error!r}") from error
