"""Python with Keras on another backend."""

import subprocess
import sys

from support.folders import environment


def run(arguments, backend, **kwargs):
    """What Python says to `arguments` with Keras on `backend`, a `subprocess.CompletedProcess`."""
    variables = environment(KERAS_BACKEND=backend)
    return subprocess.run([sys.executable, *arguments], env=variables, capture_output=True, text=True, **kwargs)
