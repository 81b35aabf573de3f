"""Which files of a preset are read."""

from collections.abc import Iterable, Sequence

from rc_keras.storage import preset


def needed_files(names: Iterable[str], tasks: Sequence[str] | None) -> list[str]:
    """Of the files that a manifest lists, those that `from_preset` reads, and nothing else that it may list.

    Args:
        names: the files.
        tasks: the tasks to load; `None`: all.
    """
    chosen = tasks if isinstance(tasks, (list, tuple)) else None

    def is_needed(name: str) -> bool:
        folder, _, rest = name.partition("/")
        if folder != "tasks":
            return name in (preset.CONFIG, preset.METADATA, preset.BANK)
        task = rest.partition("/")[0]
        return name == preset.pack_name(task) and (chosen is None or task in chosen)

    return [name for name in names if is_needed(name)]
