"""Which files of a preset are read."""

from collections.abc import Iterable, Sequence

from rc_keras.base.names import unknown_name
from rc_keras.storage import preset


def needed_files(names: Iterable[str], tasks: Sequence[str] | None) -> list[str]:
    """Of the files that a manifest lists, those that `from_preset` reads, and nothing else that it may list.

    Args:
        names: the files.
        tasks: the tasks to load; `None`: all.

    Raises:
        ValueError: if a task is not among the files; says which are.
    """
    names = list(names)
    packs = {task: name for name in names if (task := _task_of(name))}
    for task in tasks or ():
        if task not in packs:
            raise unknown_name("tasks", task, packs)
    chosen = packs if tasks is None else tasks
    needed = {preset.CONFIG, preset.METADATA, preset.BANK, *(packs[task] for task in chosen)}
    return [name for name in names if name in needed]


def _task_of(name: str) -> str | None:
    """The task whose pack the file is."""
    folder, _, rest = name.partition("/")
    task = rest.partition("/")[0]
    return task if folder == "tasks" and name == preset.pack_name(task) else None
