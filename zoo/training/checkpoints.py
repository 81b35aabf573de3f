"""Checkpoints of a run: the whole model with its optimizer, under the number of steps taken."""

import contextlib
import errno
import os
import pathlib
import re
from collections.abc import Iterable, Mapping

import keras

from rc_keras.model import MultiTaskModel
from rc_keras.zoo.strategy import Strategy

_NAME = re.compile(r"step_(\d{8})\.keras")


class Checkpoints:
    """The newest checkpoints of a run in a folder, each written whole or not at all.

    What comes after a checkpoint follows from it and the seed alone: it holds weights, norms, momenta and step counts,
    the data stream is a function of (seed, step), and the network draws no random numbers.

    Args:
        folder: made if it is missing.
        strategy: see `rc_keras.zoo.strategy`. One worker writes, all read.
        keep: how many are kept.
    """

    def __init__(self, folder: str | os.PathLike, strategy: Strategy, keep: int = 2) -> None:
        self.folder = pathlib.Path(folder)
        self._strategy = strategy
        self._keep = keep
        self.folder.mkdir(parents=True, exist_ok=True)
        if strategy.is_chief:
            for leftover in self.folder.glob(".step_*.keras"):  # of a write that was killed
                leftover.unlink()

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, ascending."""
        matches = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def path(self, step: int) -> pathlib.Path:
        """The file of a step."""
        return self.folder / f"step_{step:08d}.keras"

    def save(self, model: MultiTaskModel, step: int) -> None:
        """Writes a checkpoint and removes old ones, on the chief alone.

        Raises:
            OSError: if it cannot be written; says which one is the last good one. That one stays.
        """
        if not self._strategy.is_chief:
            return
        self._remove(self.steps()[: -self._keep])
        try:
            model.save(self.path(step))
        except OSError as error:
            steps = self.steps()
            last = f"The last good one is `{self.path(steps[-1])}`" if steps else "There is no earlier one"
            reason = "the disk is full" if error.errno == errno.ENOSPC else error
            raise OSError(
                error.errno, f"The checkpoint of step {step} could not be written: {reason}. {last}"
            ) from error
        self._remove(self.steps()[: -self._keep])

    def load(self, step: int, tasks: Iterable[str], image_shape: Iterable[int | None]) -> MultiTaskModel:
        """Reads a checkpoint.

        Args:
            step: one of `steps()`.
            tasks: names of the tasks that the model must train.
            image_shape: the model must take.

        Raises:
            ValueError: if the file is damaged or holds another model.
        """
        path = self.path(step)
        try:
            model = keras.saving.load_model(path)
        except Exception as error:  # Keras raises a different error for each kind of damage.
            raise ValueError(
                f"`{path}` must be a checkpoint. Received: {error}. Remove it to resume at the one before."
            ) from error
        if not isinstance(model, MultiTaskModel):
            raise ValueError(f"`{path}` must hold a MultiTaskModel. Received: a {type(model).__name__}")
        found, expected = (sorted(model.trainable_tasks), model.image_shape), (sorted(tasks), tuple(image_shape))
        if found != expected:
            raise ValueError(
                f"`{path}` must hold a model that trains {expected[0]} on images {expected[1]}. Received: one that "
                f"trains {found[0]} on images {found[1]}"
            )
        return model

    def _remove(self, steps: Iterable[int]) -> None:
        for step in steps:
            with contextlib.suppress(FileNotFoundError):
                self.path(step).unlink()


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves a checkpoint after every `steps_per_epoch` steps of `fit`; the last of all callbacks.

    Args:
        checkpoints: the `Checkpoints`.
        steps_per_epoch: as `fit` has it.
    """

    def __init__(self, checkpoints: Checkpoints, steps_per_epoch: int) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.steps_per_epoch = steps_per_epoch

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.checkpoints.save(self.model, (epoch + 1) * self.steps_per_epoch)
