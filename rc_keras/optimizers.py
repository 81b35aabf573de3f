"""Stochastic gradient descent with the weight decay of the published protocol."""

from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_internals import slot_index
from rc_keras.base.keras_types import Tensor


@keras.saving.register_keras_serializable(package="rc_keras")
class SGD(keras.optimizers.SGD):
    """SGD with momentum and L2 regularization in the gradient ("coupled" weight decay), as in PyTorch.

    With gradient g, weights w, learning rate η, momentum μ, L2 factor λ and velocity v (0 at first), a step is

        g ← g + λ w,    v ← μ v + g,    w ← w − η v        (Nesterov: w ← w − η (g + μ v)).

    `keras.optimizers.SGD(weight_decay=…)` differs twice: its decay is decoupled, w ← w − η λ w beside the momentum, and
    its velocity holds η of the steps that made it, so that a schedule acts late. Every trainable variable is decayed,
    norms and biases too, as RCM does (Kanakis et al., ECCV 2020). λ acts after clipping.

    Args:
        learning_rate: η, a number or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: μ, in 0..1.
        l2: λ, at least 0.
        nesterov: whether to look ahead.
        name: name of the optimizer.
        kwargs: clipping, averaging and the rest of `keras.optimizers.Optimizer`, but for `weight_decay`.

    Raises:
        ValueError: if `l2` is negative, or `weight_decay` is given.

    Example:

    >>> schedule = keras.optimizers.schedules.PolynomialDecay(0.005, steps, end_learning_rate=0.0, power=0.9)
    >>> model.compile(optimizer=rc_keras.optimizers.SGD(schedule, momentum=0.9, l2=1e-4))
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.005,
        momentum: float = 0.9,
        l2: float = 1e-4,
        nesterov: bool = False,
        name: str = "sgd",
        **kwargs: Any,
    ) -> None:
        if kwargs.get("weight_decay") is not None:
            raise ValueError(
                f"`weight_decay` must be None: `l2` takes its place. Received: weight_decay={kwargs['weight_decay']}"
            )
        if not l2 >= 0:
            raise ValueError(f"`l2` must be at least 0. Received: l2={l2}")
        super().__init__(learning_rate, momentum=momentum, nesterov=nesterov, name=name, **kwargs)
        self.l2 = l2

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        learning_rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(gradient, variable.dtype)
        if self.l2:
            step = step + self.l2 * variable
        if self.momentum:
            velocity = self.momentums[slot_index(self, variable)]
            self.assign(velocity, self.momentum * velocity + step)
            step = step + self.momentum * velocity if self.nesterov else velocity
        self.assign_sub(variable, learning_rate * step)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "l2": self.l2}
        del config["weight_decay"]
        return config
