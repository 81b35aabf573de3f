"""Other processes, with their output in a file."""

import os
import pathlib
import shlex
import subprocess
from collections.abc import Sequence

_SECONDS_TO_END = 20


def run_logged(command: Sequence[str], log: str | os.PathLike) -> int:
    """Runs a command to its end; what ends this process, as Ctrl-C does, ends the other one first.

    Args:
        command: list of strings.
        log: file that its output is appended to, after the command itself; folders are made.

    Returns:
        The exit code.
    """
    log = pathlib.Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.write(f"$ {shlex.join(command)}\n".encode())
        file.flush()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise


def last_line(log: str | os.PathLike) -> str:
    """The last line of a log that says something."""
    lines = pathlib.Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
