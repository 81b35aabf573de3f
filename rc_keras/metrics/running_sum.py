"""A sum over an epoch that float32 can hold."""

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor

# Power of two, so that carrying is exact.
UNIT = 2.0**20


class RunningSum:
    """A non-negative sum kept in two float32 variables of a metric, value = high · 2²⁰ + low.

    A single float32 stops counting pixels at 2²⁴ (64 images of 512x512), and JAX has no 64-bit
    numbers by default. Here whole numbers are exact up to 2⁴⁴ (67 million such images) as long as
    one update adds at most 2²³ to an entry; above that, and for real numbers, each update is
    rounded relative to itself (6e-8), never relative to the total. The value is linear in the
    state, so states from several replicas are merged by adding them.

    Args:
        metric: the `keras.metrics.Metric` that owns the variables.
        shape: shape of the sum.
        name: prefix of the variables' names.
    """

    def __init__(self, metric: keras.metrics.Metric, shape: tuple[int, ...], name: str) -> None:
        self.high, self.low = (
            metric.add_variable(shape, "zeros", dtype="float32", name=f"{name}_{part}") for part in ("high", "low")
        )

    def add(self, amount: Tensor) -> None:
        """Adds a tensor of the sum's shape."""
        total = self.low + ops.cast(amount, "float32")
        carry = ops.floor(total / UNIT)
        self.high.assign(self.high + carry)
        self.low.assign(total - carry * UNIT)

    def value(self) -> Tensor:
        """The sum so far, rounded to float32."""
        return self.high * UNIT + self.low
