"""Names of an optimizer's variables that are the same in every process."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras

_AUTOMATIC = re.compile(r"^(\w*variable)_\d+$")  # Keras counts the variables without a name through the whole process


def named_slots(slots: Sequence[keras.Variable], weights: Sequence[keras.Variable]) -> dict[str, keras.Variable]:
    """Names an optimizer's variables by role and index: `{"momentum:0": variable}`.

    The role is what the optimizer calls a slot, without the path of the weight it belongs to. The index counts the
    variables of one role; where every weight has one, it is the weight's.

    Args:
        slots: variables of the optimizer, in the order they were made.
        weights: the variables it was built for.
    """
    return dict(zip(_names([slot.name for slot in slots], weights), slots, strict=True))


def renamed(arrays: Mapping[str, Any], weights: Sequence[keras.Variable]) -> dict[str, Any]:
    """Arrays under the names of `named_slots`, where a file may hold `<position>:<variable name>` as first written.

    Args:
        arrays: under names of either kind.
        weights: the variables the optimizer is built for.
    """
    if not all(name.split(":")[0].isdigit() for name in arrays):
        return dict(arrays)
    old = sorted(arrays, key=lambda name: int(name.split(":")[0]))
    return dict(zip(_names([name.split(":")[1] for name in old], weights), (arrays[name] for name in old), strict=True))


def _names(variable_names: Sequence[str], weights: Sequence[keras.Variable]) -> list[str]:
    prefixes = sorted((f"{weight.path.replace('/', '_')}_" for weight in weights), key=len, reverse=True)
    names, count = [], dict[str, int]()
    for name in variable_names:
        role = name.removeprefix(next((prefix for prefix in prefixes if name.startswith(prefix)), ""))
        role = _AUTOMATIC.sub(r"\1", role)
        names.append(f"{role}:{count.setdefault(role, 0)}")
        count[role] += 1
    return names
