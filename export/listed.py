"""Names in the sentences of errors and help."""

from collections.abc import Iterable


def listed(names: Iterable[str], last: str = " and ") -> str:
    """Names in a sentence, with `last` before the last of several."""
    *others, name = names
    return f"{', '.join(others)}{last}{name}" if others else name
