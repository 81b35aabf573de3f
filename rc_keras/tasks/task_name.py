"""Names a task may have."""

import re

# `loss` and `val` collide with Keras's own log keys, `image` with the graph's input.
_RESERVED = ("serve", "serving_default", "all", "loss", "val", "image", "bank")


def check_name(name: str) -> None:
    """Raises `ValueError` for a name no task may have."""
    if (
        not isinstance(name, str)
        or not re.fullmatch(r"[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?", name)
        or "__" in name
        or name.lower() in _RESERVED
        # `val_` + task "depth" and task "val_depth" would share their log entries.
        or name.lower().startswith("val_")
    ):
        raise ValueError(
            "A task's `name` must be letters, digits, `_` and `-`, start with a letter, end with "
            "a letter or digit, hold no `__`, not start with `val_`, and be none of the reserved "
            f"{', '.join(_RESERVED)}. Received: name={name!r}"
        )
