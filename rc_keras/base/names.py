"""Names users type: the error for one that is not known."""

import difflib
from collections.abc import Iterable


def nearest_name(name: object, valid: Iterable[str]) -> str | None:
    """The valid name that was probably meant, or `None`; one with the same letters in another order comes first."""
    valid = sorted(valid)
    near = difflib.get_close_matches(str(name), valid, n=max(len(valid), 1))
    near.sort(key=lambda candidate: sorted(candidate) != sorted(str(name)))
    return near[0] if near else None


def unknown_name(argument: str, name: object, valid: Iterable[str]) -> ValueError:
    """A `ValueError` that lists the valid names and the nearest one.

    Args:
        argument: what was being named, e.g. `"backbone"`.
        name: what came.
        valid: the names that would have been accepted.
    """
    valid = sorted(valid)
    near = nearest_name(name, valid)
    hint = f" Did you mean {near!r}?" if near else ""
    return ValueError(f"`{argument}` must be one of {valid}. Received: {argument}={name!r}.{hint}")
