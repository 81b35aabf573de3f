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
    name, guess = _GUESSES[task.kind](task, training)
    metric = task.make_metrics()[0]
    for start in range(0, len(validation), _BATCH):
        labels = validation[start : start + _BATCH]
        metric.update_state(labels, np.broadcast_to(guess, (*labels.shape[:3], task.channels)).astype("float32"))
    return name, float(metric.result())


def _most_frequent_class(task: Task, labels: np.ndarray) -> tuple[str, np.ndarray]:
    counts = np.bincount(labels[labels != task.ignore].ravel(), minlength=task.channels)[: task.channels]
    names = task.class_names or range(task.channels)
    return f"always {names[counts.argmax()]}", np.eye(task.channels)[counts.argmax()]


def _foreground(task: Task, labels: np.ndarray) -> tuple[str, np.ndarray]:
    return "foreground everywhere", np.full(1, 20.0)  # a logit


def _mean_normal(task: Task, labels: np.ndarray) -> tuple[str, np.ndarray]:
    mean = labels.reshape(-1, 3).mean(axis=0, dtype="float64")
    return "mean normal", mean / np.linalg.norm(mean)


def _mean_depth(task: Task, labels: np.ndarray) -> tuple[str, np.ndarray]:
    mean = labels[labels > 0].mean(dtype="float64")
    return f"mean depth, {mean:.2f} m", np.full(1, mean)


_GUESSES = {
    "segmentation": _most_frequent_class,
    "edge": _foreground,
    "saliency": _foreground,
    "normals": _mean_normal,
    "depth": _mean_depth,
}
