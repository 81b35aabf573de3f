"""Copies of an optimizer that share its learning rate, and nothing else."""

from collections.abc import Callable
from typing import Any

import keras

from rc_keras.base import keras_internals
from rc_keras.base.keras_types import Tensor


def leaves(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """The optimizers that take the steps: what a loss scale or a choice of several is wrapped around."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return list(getattr(inner, "optimizers", [inner]))


def copier(optimizer: keras.optimizers.Optimizer) -> Callable[[], keras.optimizers.Optimizer]:
    """A function that makes copies of an optimizer; a graph that is being traced cannot read the configuration."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        copy_inner = copier(optimizer.inner_optimizer)
        scaling = {key: getattr(optimizer, key) for key in ("initial_scale", "dynamic_growth_steps")}
        return lambda: keras.optimizers.LossScaleOptimizer(copy_inner(), **scaling)
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        return _copier_of_several(optimizer)
    config = optimizer.get_config()
    config["learning_rate"] = CommonLearningRate(optimizer)

    def copy() -> keras.optimizers.Optimizer:
        new = type(optimizer).from_config(dict(config))
        rate = keras_internals.learning_rate(optimizer)
        if isinstance(rate, keras.Variable):
            new.common_learning_rate = rate  # JAX takes steps with what is listed in `variables`
        keras_internals.copy_weight_decay_exclusions(optimizer, new)
        return new

    return copy


def _copier_of_several(optimizer: keras.optimizers.MultiOptimizer) -> Callable[[], keras.optimizers.Optimizer]:
    choose = keras_internals.optimizer_choice(optimizer)
    copiers = {inner: copier(inner) for inner in optimizer.optimizers}

    def copy() -> keras.optimizers.Optimizer:
        copies: dict[Any, keras.optimizers.Optimizer] = {}

        def choose_copy(variable: keras.Variable) -> keras.optimizers.Optimizer:
            inner = choose(variable)
            if inner not in copies:
                copies[inner] = copiers[inner]() if inner in copiers else copier(inner)()
            return copies[inner]

        return keras.optimizers.MultiOptimizer(choose_copy, optimizer.loss_scale_factor, optimizer.name)

    return copy


class CommonLearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of an optimizer for its copies: always the present one; a schedule runs by a copy's own steps.

    Args:
        optimizer: the original.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        super().__init__()
        self.optimizer = optimizer

    def __call__(self, step: Tensor) -> Tensor:
        rate = keras_internals.learning_rate(self.optimizer)
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            return rate(step)
        return rate() if callable(rate) else rate
