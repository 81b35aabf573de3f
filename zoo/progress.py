"""How far something is and how long it still takes: one line, rewritten on a terminal, elsewhere told now and then."""

import re
import shutil
import sys
import time
from typing import NamedTuple, TextIO

import keras

SECONDS_BETWEEN_LINES = 10.0  # where output is no terminal
_SECONDS_BETWEEN_DRAWINGS = 0.2
_BAR = 20  # characters


class Stand(NamedTuple):
    """How far something is.

    Attributes:
        what: that is counted, such as `"step"`.
        done: how many are.
        total: how many there are.
        seconds_left: about; `None`: not known yet.
    """

    what: str
    done: int
    total: int
    seconds_left: float | None = None

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f"; about {show_seconds(self.seconds_left)} left"
        return f"{self.what} {self.done:,} of {self.total:,}{left}"

    @classmethod
    def parse(cls, line: str) -> "Stand | None":
        """What a line says that this module wrote; `None` of any other."""
        match = _LINE.fullmatch(line.strip())
        if match is None:
            return None
        what, done, total, number, unit = match.groups()
        left = None if number is None else float(number) * _SECONDS[unit]
        return cls(what, int(done.replace(",", "")), int(total.replace(",", "")), left)


_SECONDS = {"s": 1, "min": 60, "h": 3600}
_LINE = re.compile(r"(\S.*) ([\d,]+) of ([\d,]+)(?:; about ([\d.]+) (s|min|h) left)?")


def show_seconds(seconds: float) -> str:
    """A duration, in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


class Line:
    """A line that is rewritten on a terminal, and elsewhere printed anew when it has not been for some seconds.

    Args:
        stream: where; `None`: standard output.
        every: seconds between lines where the stream is no terminal.
    """

    def __init__(self, stream: TextIO | None = None, every: float = SECONDS_BETWEEN_LINES) -> None:
        self.stream = sys.stdout if stream is None else stream
        self.on_terminal = self.stream.isatty()
        self._seconds = _SECONDS_BETWEEN_DRAWINGS if self.on_terminal else every
        self._told = time.monotonic() - (self._seconds if self.on_terminal else 0.0)
        self._is_open = False

    def is_due(self) -> bool:
        """Whether it is time to tell something."""
        return time.monotonic() - self._told >= self._seconds

    def tell(self, text: str) -> None:
        """Shows a text if it is time to."""
        if self.is_due():
            self._write(text)
            self._told = time.monotonic()

    def end(self, text: str) -> None:
        """Shows a text, whatever the time, and ends the line."""
        self._write(text)
        if self.on_terminal:
            self.stream.write("\n")
            self.stream.flush()
        self._is_open = False

    def clear(self) -> None:
        """Takes what is shown off the terminal again."""
        if self._is_open:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
        self._is_open = False

    def _write(self, text: str) -> None:
        if self.on_terminal:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f"\r{text[:width]}\x1b[K")
            self._is_open = True
        else:
            self.stream.write(f"{text}\n")
        self.stream.flush()


class Progress:
    """Tells how far a count is: with a bar on a terminal, elsewhere a line now and then that `Stand.parse` reads.

    Args:
        what: that is counted, such as `"step"`.
        total: how many there are.
        done: how many are done before.
        shown: whether anything is told.
        stream: where; `None`: standard output.
    """

    def __init__(self, what: str, total: int, done: int = 0, shown: bool = True, stream: TextIO | None = None) -> None:
        self.what, self.total = what, total
        self._line = Line(stream) if shown else None
        self._first, self._begin = done, time.monotonic()

    def update(self, done: int) -> None:
        """Tells that so many are done; the line ends with the last."""
        if self._line is None:
            return
        new, seconds = done - self._first, time.monotonic() - self._begin
        stand = Stand(self.what, done, self.total, seconds / new * (self.total - done) if new > 0 else None)
        if done < self.total:
            self._line.tell(self._text(stand))
        else:
            self._line.end(self._text(stand._replace(seconds_left=None)))

    def _text(self, stand: Stand) -> str:
        if self._line is None or not self._line.on_terminal:
            return str(stand)
        filled = round(_BAR * stand.done / max(stand.total, 1))
        return f"{'━' * filled}{'─' * (_BAR - filled)} {stand}"


class StepProgress(keras.callbacks.Callback):
    """Tells the steps of `fit`, where output is no terminal: there Keras has its bar.

    Args:
        steps: of the whole run.
        steps_per_epoch: as `fit` has it.
        start: steps taken before.
    """

    def __init__(self, steps: int, steps_per_epoch: int, start: int = 0) -> None:
        super().__init__()
        self.steps_per_epoch = steps_per_epoch
        self._progress = Progress("step", steps, start)
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self._progress.update(self._epoch * self.steps_per_epoch + batch + 1)


class BatchProgress(keras.callbacks.Callback):
    """Tells the batches of `evaluate`.

    Args:
        progress: the `Progress`, which counts batches.
    """

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def on_test_batch_end(self, batch: int, logs: object = None) -> None:
        self._progress.update(batch + 1)
