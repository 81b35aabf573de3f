"""Tells where moving averages could not follow a training."""

import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from rc_keras.base.keras_internals import inner_layers

_FEWEST = 50  # batches; a training on fewer is a trial
_MOST = 0.1  # standard deviations


class LaggingNorms(keras.callbacks.Callback):
    """Tells, after `fit`, which tasks predict with means that are far from those they were trained with.

    Training normalizes with the statistics of a batch, `evaluate`, `predict` and exports with moving averages. Where
    batches have a mean of m, n of them take a moving mean with a momentum of p from a to b = m + (a - m) pⁿ: it is off
    by (b - a) pⁿ / (1 - pⁿ).

    Args:
        branches: `{task: its model}` of the tasks that are trained.
    """

    async_safe = True

    def __init__(self, branches: Mapping[str, keras.Model]) -> None:
        super().__init__()
        self._batches = self._first = 0
        self._before = {task: [(norm, _mean(norm)) for norm in _norms(branch)] for task, branch in branches.items()}

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._first = batch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._batches += batch - self._first + 1  # several in one execution

    def warn(self, told: set[str]) -> None:
        """Warns of each task with a mean that is off by more than a tenth of a standard deviation after 50 batches.

        Args:
            told: the warnings given so far; none is given twice for a task.

        Warns:
            UserWarning: with the norm that is furthest off, and what to do.
        """
        if self._batches < _FEWEST:
            return
        for task, before in self._before.items():
            norms = [(self._off(norm, mean), norm.path, norm.momentum) for norm, mean in before]
            off, path, momentum = max(norms, default=(0.0, "", 0.0))
            if off <= _MOST or warning_of(task) in told:
                continue
            told.add(warning_of(task))
            warnings.warn(
                f"Task {task!r} predicts with moving averages that have not followed its {self._batches} steps: the "
                f"mean of {path!r} is still off by about {off:.1f} standard deviations, with a momentum of "
                f"{momentum}. Train for more steps, or build with norms of a lower momentum, as "
                "rc_keras.backbones.with_norm_momentum(backbone) gives them to a backbone.",
                stacklevel=3,
            )

    def _off(self, norm: keras.layers.BatchNormalization, before: np.ndarray) -> float:
        kept = norm.momentum**self._batches
        if kept == 1:
            return 0.0
        deviation = np.sqrt(keras.ops.convert_to_numpy(norm.moving_variance) + norm.epsilon)
        return float(np.mean(np.abs(_mean(norm) - before) / deviation)) * kept / (1 - kept)


def warning_of(task: str) -> str:
    """The key of a task's warning among those given."""
    return f"norms of {task}"


def _norms(branch: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in inner_layers(branch) if isinstance(layer, keras.layers.BatchNormalization)]


def _mean(norm: keras.layers.BatchNormalization) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(norm.moving_mean))
