"""What must be set before Keras and TensorFlow are imported, if this process runs one of the package's own commands.

`python -m rc_keras.…` imports the package first, and TensorFlow with it, which logs as it is imported. A program that
imports the package is left alone: its environment and its logs are its own.
"""

import os
import sys
from collections.abc import Mapping, Sequence

HELP = ("--help", "-help", "--h", "-h")


def command_environment(started: Sequence[str], argv: Sequence[str]) -> Mapping[str, str]:
    """The environment variables that a command of the package sets; none for any other process.

    Args:
        started: `sys.orig_argv`, with which the interpreter was started.
        argv: `sys.argv`, which begins with `-m` while Python looks for the module to run.
    """
    if argv[:1] != ["-m"] or "-m" not in started or not started[started.index("-m") + 1].startswith("rc_keras."):
        return {}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")}  # errors are told
    # Help computes nothing, and Keras is imported much sooner without TensorFlow.
    return quiet | {"KERAS_BACKEND": "numpy"} if any(word in HELP for word in argv[1:]) else quiet


os.environ.update(command_environment(sys.orig_argv, getattr(sys, "argv", [])))
