"""Where tests find the checkout and each other, and the environment in which another process finds both."""

import os
from pathlib import Path

SUPPORT = Path(__file__).parent
TESTS = SUPPORT.parent
ROOT = TESTS.parent


def environment(**variables: str) -> dict[str, str]:
    """That of this process, with the checkout and the tests on the path of Python, and `variables`."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]), **variables}
