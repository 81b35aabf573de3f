"""Cases of a parametrized test that take longer than the default suite can afford."""

from typing import Any

import pytest


def slow(*values: Any) -> Any:
    """The case of these values, marked `slow`."""
    return pytest.param(*values, marks=pytest.mark.slow)
