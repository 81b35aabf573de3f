"""The keys of `{task: labels}`: which tasks have labels, and which keys are no task."""

import warnings
from collections.abc import Iterable, Sequence

from rc_keras.base.names import nearest_name


def labelled(labels: object, candidates: Sequence[str]) -> list[str]:
    """The candidates that have labels, in their order.

    Raises:
        ValueError: if the labels are no dict, or hold none of the candidates.
    """
    if not isinstance(labels, dict):
        raise ValueError(f"Labels must be a dict {{task: labels}}. Received: {type(labels).__name__}")
    names = [name for name in candidates if name in labels]
    if not names:
        raise ValueError(f"Labels must hold one of the tasks {list(candidates)}. Received: keys {_listed(labels)}")
    return names


def warn_of_unknown(keys: Iterable[object], tasks: Sequence[str], told: set[str], where: str = "Labels") -> None:
    """Warns of keys that are no task.

    Args:
        keys: of the labels.
        tasks: names of all tasks.
        told: the warnings given so far; none is given twice.
        where: what the keys are of, to begin the warning with.

    Warns:
        UserWarning: with the nearest names of tasks.
    """
    unknown = [key for key in keys if key not in tasks]
    if unknown:
        near = [f"{nearest_name(key, tasks)!r} for {key!r}" for key in unknown if nearest_name(key, tasks)]
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        _warn(f"{where} must have tasks as keys, {list(tasks)}. Not used: {_listed(unknown)}.{hint}", told)


def warn_of_missing(
    keys: Iterable[object], wanted: Sequence[str], told: set[str], where: str, consequence: str
) -> None:
    """Warns of tasks without a key; arguments as of `warn_of_unknown`.

    Args:
        wanted: names of the tasks that should have labels.
        consequence: what happens to those that have none.

    Warns:
        UserWarning: with their names.
    """
    missing = [name for name in wanted if name not in set(keys)]
    if missing:
        _warn(f"{where} hold nothing for the tasks {missing}, {consequence}.", told)


def _warn(message: str, told: set[str]) -> None:
    if message not in told:
        told.add(message)
        warnings.warn(message, stacklevel=2)


def _listed(keys: Iterable[object]) -> list[object]:
    return sorted(keys, key=str)
