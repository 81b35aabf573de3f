"""Warns where a task predicts with averages of activations that its training has left behind."""

import warnings

import keras

from rc_keras.base.keras_internals import inner_layers

_STEPS = 50  # a training of fewer is a trial
_SHARE = 0.1


def warn_of_lagging_norms(task: str, branch: keras.Model, steps: int, told: set[str]) -> None:
    """Warns if over a tenth of a moving average is still what it was before the training.

    Training normalizes with the statistics of a batch, `evaluate`, `predict` and exports with moving averages: they
    differ where the averages could not follow, and what was learned seems lost.

    Args:
        task: name of the task.
        branch: its model.
        steps: that it was trained for.
        told: the warnings given so far; none is given twice for a task.

    Warns:
        UserWarning: with the share, and what to do.
    """
    moved = [layer for layer in inner_layers(branch) if isinstance(layer, keras.layers.BatchNormalization)]
    momentum = max((norm.momentum for norm in moved if norm.trainable), default=0.0)
    share = momentum**steps
    key = f"norms of {task}"
    if steps < _STEPS or share <= _SHARE or key in told:
        return
    told.add(key)
    warnings.warn(
        f"After {steps} steps, {share:.0%} of the moving means and variances with which task {task!r} predicts are "
        f"still those from before: its norms have a momentum of {momentum}. Train for more steps, or build with "
        "rc_keras.backbones.with_norm_momentum(backbone), whose norms follow within tens of steps.",
        stacklevel=3,
    )
