"""`fit` that goes on where it was stopped."""

import os
import pathlib
import time
from collections.abc import Callable
from typing import TypeVar

import keras

from rc_keras.files.whole_files import whole_file

_Model = TypeVar("_Model", bound=keras.Model)
_SECONDS = 60  # between two checkpoints, at least


def fit_resumably(
    make: Callable[[], _Model],
    batches: Callable[[range], keras.utils.PyDataset],
    steps: int,
    steps_per_epoch: int,
    folder: str | os.PathLike,
) -> _Model:
    """Trains a compiled model, and leaves a checkpoint now and then: the whole model, with its optimizer.

    Args:
        make: makes the compiled model.
        batches: from numbers of steps to the batches of these steps.
        steps: of the whole training.
        steps_per_epoch: steps between two lines of the log; a checkpoint is made behind some of them. Divides `steps`.
        folder: of the newest checkpoint, `step-<number>.keras`.

    Returns:
        The trained model.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = {_step(path): path for path in folder.glob("step-*.keras")}
    done = max(found, default=0)
    model = keras.saving.load_model(found[done]) if found else make()
    saved = time.monotonic()
    for start in range(done, steps, steps_per_epoch):  # a `fit` each: Keras begins its data again with every epoch
        epoch, stop = start // steps_per_epoch, start + steps_per_epoch
        model.fit(batches(range(start, stop)), epochs=epoch + 1, initial_epoch=epoch, shuffle=False, verbose=2)
        if stop == steps or time.monotonic() - saved > _SECONDS:
            _save(model, folder, stop)
            saved = time.monotonic()
    return model


def _save(model: keras.Model, folder: pathlib.Path, step: int) -> None:
    """Writes the checkpoint of a step, and removes those before it."""
    path = folder / f"step-{step}.keras"
    with whole_file(path) as temporary:
        model.save(temporary)
    for other in folder.glob("step-*.keras"):
        if _step(other) < step:
            other.unlink(missing_ok=True)


def _step(path: pathlib.Path) -> int:
    return int(path.stem.removeprefix("step-"))
