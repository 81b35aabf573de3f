"""Predictors that look at no image: what a task's metric is worth before anything is learnt."""

import numpy as np

from rc_keras.tasks.task import Task

_BATCH = 50  # images


def measure_baseline(task: Task, training: np.ndarray, validation: np.ndarray) -> tuple[str, float]:
    """The task's metric for one constant answer at every pixel, the best guess from the training labels.

    Args:
        task: the `Task`.
        training, validation: labels, `(images, height, width, channels)`.

    Returns:
        `(name of the guess, metric)`.
    """
    name, guess = task.definition.constant_guess(task, training)
    metric = task.make_metrics()[0]
    for start in range(0, len(validation), _BATCH):
        labels = validation[start : start + _BATCH]
        metric.update_state(labels, np.broadcast_to(guess, (*labels.shape[:3], task.channels)).astype("float32"))
    return name, float(metric.result())
