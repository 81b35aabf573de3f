"""Configurations from files hold data, and no code."""

from typing import Any

_CODE = "__lambda__"  # the form in which Keras stores a Python function as bytes


def check_holds_no_code(config: Any, path: str) -> None:
    """Raises `ValueError` if a configuration, as JSON has it, holds a Python function, wherever that stands.

    Args:
        config: the configuration.
        path: of the file it is from, for the message.
    """
    left = [config]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if value.get("class_name") == _CODE or _CODE in value:
                raise ValueError(f"{path} must hold data, not arbitrary code. Received: an object of class {_CODE!r}")
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
