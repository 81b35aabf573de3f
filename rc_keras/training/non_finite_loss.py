"""Stops training at the first loss that is no number."""

import math
from collections.abc import Callable

import keras


class NonFiniteLossError(FloatingPointError):
    """A task's loss became NaN or infinite."""


class StopAtNonFiniteLoss(keras.callbacks.Callback):
    """Raises `NonFiniteLossError`, which names the task and the step, before another checkpoint is written.

    `fit` brings one. It reads the logs that Keras has brought to the host, where and when Keras does that: at every
    step, beside the training. Where a callback has stopped the training, as `keras.callbacks.TerminateOnNaN` does, it
    is silent.

    Args:
        place: function from an epoch and a step of it, both from 0, to words that say where that is; `None`: both,
            from 1.
    """

    async_safe = True  # so that Keras need not wait for a step to be computed before it starts the next

    def __init__(self, place: Callable[[int, int], str] | None = None) -> None:
        super().__init__()
        self._place = place or (lambda epoch, step: f"step {step + 1} of epoch {epoch + 1}")
        self._epoch = 0

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self._trained = model  # on JAX, `self.model` would move the state of a step that runs

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self._trained.stop_training:
            return
        logs = logs or {}
        losses = {f"task {name!r}": logs.get(f"{name}_loss", 0.0) for name in self._trained.tasks}
        for whose, loss in [*losses.items(), ("all tasks, with regularization,", logs.get("loss", 0.0))]:
            if not math.isfinite(loss):
                raise NonFiniteLossError(
                    f"The loss of {whose} became {loss} at {self._place(self._epoch, batch)}. Look at the labels, or "
                    "lower the learning rate."
                )
