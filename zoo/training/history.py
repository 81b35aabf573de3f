"""What a run measured, one JSON object a line."""

import json
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import keras

from rc_keras.files.whole_files import write_whole


class History(keras.callbacks.Callback):
    """Appends the logs to a file after every `steps_per_epoch` steps, and says how long the rest will take.

    A line is `{"step": …, "since": …, "seconds": …, "<log>": …}`, seconds since the run was started or resumed, at the
    step `since`. Lines that a resumed run is going to write again are dropped.

    Args:
        path: the file.
        steps: of the whole run.
        steps_per_epoch: as `fit` has it.
        start: steps taken before.
        write: whether this worker writes.
    """

    def __init__(
        self, path: str | os.PathLike, steps: int, steps_per_epoch: int, start: int = 0, write: bool = True
    ) -> None:
        super().__init__()
        self.path = pathlib.Path(path)
        self.steps, self.steps_per_epoch, self.start = steps, steps_per_epoch, start
        self.write = write

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._begin = time.perf_counter()
        if self.write:
            lines = [line for line in read_history(self.path) if line["step"] <= self.start]
            write_whole(self.path, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if not self.write:
            return
        step = (epoch + 1) * self.steps_per_epoch
        seconds = time.perf_counter() - self._begin
        values = {name: float(value) for name, value in (logs or {}).items()}
        line = {"step": step, "since": self.start, "seconds": round(seconds, 1), **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        left = seconds / (step - self.start) * (self.steps - step)
        print(f"Step {step} of {self.steps}; {seconds / 60:.0f} min, about {left / 60:.0f} min left", flush=True)


def read_history(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The lines of a history, `[{"step": …, …}]`; a line that was cut off when the run was killed is left out."""
    path = pathlib.Path(path)
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines
