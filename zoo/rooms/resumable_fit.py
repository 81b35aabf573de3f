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
    found = {int(path.stem.removeprefix("step-")): path for path in folder.glob("step-*.keras")}
    done = max(found, default=0)
    model = keras.saving.load_model(found[done]) if found else make()
    saved = time.monotonic()

    def save(epoch: int, logs: object) -> None:
        nonlocal saved
        step = (epoch + 1) * steps_per_epoch
        if step < steps and time.monotonic() - saved < _SECONDS:
            return
        with whole_file(folder / f"step-{step}.keras") as temporary:
            model.save(temporary)
        for older in folder.glob("step-*.keras"):
            if older.stem != f"step-{step}":
                older.unlink()
        saved = time.monotonic()

    if done < steps:
        model.fit(
            batches(range(done, steps)),
            steps_per_epoch=steps_per_epoch,
            epochs=steps // steps_per_epoch,
            initial_epoch=done // steps_per_epoch,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=save)],
            shuffle=False,
            verbose=2,
        )
    return model
