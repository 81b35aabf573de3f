"""Stops a run at the first loss that is no number."""

import math

import keras


class NonFiniteLossError(FloatingPointError):
    """A task's loss became NaN or infinite."""


class StopAtNonFiniteLoss(keras.callbacks.Callback):
    """Raises `NonFiniteLossError`, which names the step, the task and the images, before another checkpoint is written.

    Args:
        tasks: names of the tasks.
        steps_per_epoch: as `fit` has it.
        images_of_step: function from a step to the ids of the images it trained on.
    """

    def __init__(self, tasks, steps_per_epoch, images_of_step):
        super().__init__()
        self.tasks = list(tasks)
        self.steps_per_epoch = steps_per_epoch
        self.images_of_step = images_of_step

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        for name in self.tasks:
            loss = (logs or {}).get(f"{name}_loss", 0.0)
            if not math.isfinite(loss):
                step = self._epoch * self.steps_per_epoch + batch
                raise NonFiniteLossError(
                    f"The loss of task {name!r} became {loss} at step {step}, on the images "
                    f"{', '.join(self.images_of_step(step))}. Look at their labels, or lower the learning rate."
                )
