"""Names users type: the error for one that is not known."""

import difflib


def unknown_name(argument, name, valid):
    """A `ValueError` that lists the valid names and the nearest one.

    Args:
        argument: what was being named, e.g. `"backbone"`.
        name: what came.
        valid: the names that would have been accepted.
    """
    valid = sorted(valid)
    near = difflib.get_close_matches(str(name), valid, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ValueError(f"`{argument}` must be one of {valid}. Received: {argument}={name!r}.{hint}")
