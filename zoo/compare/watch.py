"""What is told of a cell while it runs: where its process says it is, and how long it and all others take."""

import contextlib
import os
import pathlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TextIO

from rc_keras.zoo.progress import Line, Stand, show_seconds

SECONDS_BETWEEN_LINES = 60.0  # where output is no terminal
_SECONDS_BETWEEN_LOOKS = 0.5
_TAIL = 4096  # bytes of a log


class CellLine:
    """The line of a cell, which ends with what became of it.

    Args:
        head: that it begins with.
        stream: where; `None`: standard output.
        every: seconds between lines where the stream is no terminal.
    """

    def __init__(self, head: str, stream: TextIO | None = None, every: float = SECONDS_BETWEEN_LINES) -> None:
        self._head = head
        self._line = Line(stream, every)
        self._is_open = True
        self._write(head)

    def tell(self, text: str) -> None:
        """Shows where the cell is, if it is time to."""
        if not self._line.is_due():
            return
        if self._is_open and not self._line.on_terminal:
            self._write("\n")
        self._is_open = False
        self._line.tell(self._head + text)

    def end(self, text: str) -> None:
        """Says what became of the cell."""
        self._line.clear()
        self._write(f"{text}\n" if self._is_open else f"{self._head}{text}\n")

    def _write(self, text: str) -> None:
        self._line.stream.write(text)
        self._line.stream.flush()


@contextlib.contextmanager
def watched(line: CellLine, log: str | os.PathLike, cells_after: int, earlier: Sequence[float]) -> Iterator[None]:
    """Context in which a line tells what is written to the log of a running cell.

    Args:
        line: of the cell.
        log: of its process; what it holds already is of an earlier one.
        cells_after: how many cells are run after this one.
        earlier: seconds that cells before it took.
    """
    ended = threading.Event()
    path, begin = pathlib.Path(log), time.monotonic()
    start = path.stat().st_size if path.exists() else 0

    def look() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            stand = last_stand(path, start)
            if stand is not None:
                line.tell(f"{stand}{_of_all(stand, time.monotonic() - begin, cells_after, earlier)}")

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def last_stand(log: str | os.PathLike, start: int = 0) -> Stand | None:
    """The last `Stand` that a log tells, from a byte on; `None` if it tells none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(start, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    return next((stand for stand in map(Stand.parse, reversed(lines)) if stand is not None), None)


def _of_all(stand: Stand, seconds: float, cells_after: int, earlier: Sequence[float]) -> str:
    """How long all cells still take, if each takes as long as those before, or as this one."""
    if stand.seconds_left is None or not cells_after:
        return ""
    each = sum(earlier) / len(earlier) if earlier else seconds + stand.seconds_left
    return f", {show_seconds(stand.seconds_left + cells_after * each)} for all"
