"""The kinds of tasks: a file for each, and the registry that `Task.kind` is looked up in.

A kind of this package is a class in a file of its own and an entry below. One of yours is registered:

>>> rc_keras.tasks.kinds.register(Height())  # a subclass of `rc_keras.tasks.kinds.Kind`
>>> task = rc_keras.Task("height", 1, "height")

A saved model names its kinds and does not hold them, so register yours before you load one.
"""

from rc_keras.base.names import unknown_name
from rc_keras.tasks.kinds.classification import Classification
from rc_keras.tasks.kinds.depth import Depth
from rc_keras.tasks.kinds.edge import Edge
from rc_keras.tasks.kinds.kind import Kind
from rc_keras.tasks.kinds.normals import Normals
from rc_keras.tasks.kinds.regression import Regression
from rc_keras.tasks.kinds.saliency import Saliency
from rc_keras.tasks.kinds.segmentation import Segmentation

_OURS: tuple[Kind, ...] = (Segmentation(), Edge(), Saliency(), Normals(), Depth(), Regression(), Classification())

KINDS: dict[str, Kind] = {kind.name: kind for kind in _OURS}


def register(kind: Kind) -> None:
    """Makes a kind of your own known to `Task` under its `name`.

    Args:
        kind: an instance of a subclass of `Kind`. It replaces one of the same class name and module, as when a cell of
            a notebook runs again.

    Raises:
        ValueError: if it is no `Kind`, lacks an attribute, its attributes contradict each other, or its name is taken.
    """
    if not isinstance(kind, Kind):
        raise ValueError(f"`kind` must be an instance of a subclass of `Kind`. Received: kind={kind!r}")
    missing = [name for name in ("name", "values", "ignore") if not hasattr(kind, name)]
    if missing:
        raise ValueError(f"`kind` must have the attributes `name`, `values` and `ignore`. Received: none of {missing}")
    if kind.unit_length > kind.zero_is_unlabelled or (kind.zero_is_unlabelled and kind.ignore != 0):
        raise ValueError(
            "`kind` must have `zero_is_unlabelled` with `unit_length`, and `ignore = 0` with `zero_is_unlabelled`. "
            f"Received: unit_length={kind.unit_length}, zero_is_unlabelled={kind.zero_is_unlabelled}, "
            f"ignore={kind.ignore!r} of {kind.name!r}"
        )
    before = KINDS.get(kind.name, kind)
    if before in _OURS or _origin(before) != _origin(kind):
        raise ValueError(f"The `name` of a kind must not be taken. Received: {kind.name!r}, taken by {_origin(before)}")
    KINDS[kind.name] = kind


def get(name: str) -> Kind:
    """The kind of a name.

    Raises:
        ValueError: if there is none; lists the names and the nearest one.
    """
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(
            f"{unknown_name('kind', name, KINDS)} A kind of your own needs `rc_keras.tasks.kinds.register` first."
        )
    return KINDS[name]


def names_where(attribute: str) -> list[str]:
    """Names of the kinds that have a boolean attribute of `Kind`, such as `"dense"`."""
    return [name for name, kind in KINDS.items() if getattr(kind, attribute)]


def _origin(kind: Kind) -> str:
    return f"{type(kind).__module__}.{type(kind).__qualname__}"


__all__ = ["KINDS", "Kind", "get", "names_where", "register"]
