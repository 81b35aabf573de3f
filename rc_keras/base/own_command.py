"""What must be done before Keras and TensorFlow are imported, if this process runs one of the package's own commands.

`python -m rc_keras.…` imports the package first, and TensorFlow with it, which logs as it is imported. A program that
imports the package is left alone: its environment and its logs are its own.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

HELP = ("--help", "-help", "--h", "-h")

_LEVEL, _BACKEND = "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND"
# Of absl's lines, which begin with a letter and the date, those of level I and W.
_FILTER = r"""
import re, sys
told = re.compile(rb"[IW]\d{4} |WARNING: All log messages before absl::InitializeLog").match
for line in sys.stdin.buffer:
    if not told(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


def command_environment(started: Sequence[str], argv: Sequence[str]) -> Mapping[str, str]:
    """The environment variables that a command of the package sets; none for any other process.

    Args:
        started: `sys.orig_argv`, with which the interpreter was started.
        argv: `sys.argv`, which begins with `-m` while Python looks for the module to run.
    """
    if argv[:1] != ["-m"] or "-m" not in started or not started[started.index("-m") + 1].startswith("rc_keras."):
        return {}
    quiet = {_LEVEL: os.environ.get(_LEVEL, "2")}  # errors are told
    # Help computes nothing, and Keras is imported much sooner without TensorFlow.
    return quiet | {_BACKEND: "numpy"} if any(word in HELP for word in argv[1:]) else quiet


@contextlib.contextmanager
def filtered_standard_error() -> Iterator[None]:
    """Context in which another process leaves informations and warnings of absl's C++ out of standard error.

    As TensorFlow is imported it logs some whatever its level is. The other process tells errors even if this one is
    aborted.
    """
    reading, writing = os.pipe()
    before = os.dup(2)
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", _FILTER], stdin=reading):  # and waits for its end
        try:
            os.close(reading)
            os.dup2(writing, 2)
            os.close(writing)
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)


def prepare() -> None:
    """Sets the variables of this process if it runs a command, and imports Keras without TensorFlow's notes."""
    variables = command_environment(sys.orig_argv, getattr(sys, "argv", []))
    os.environ.update(variables)
    if variables and _BACKEND not in variables and variables[_LEVEL] >= "2" and sys.stderr is not None:
        with filtered_standard_error():
            import keras  # noqa: F401


prepare()
