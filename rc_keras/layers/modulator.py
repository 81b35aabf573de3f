"""The per-task 1x1 convolution behind a filter bank."""

from typing import Any, Self

import keras
import numpy as np
from keras import constraints, initializers, ops, regularizers

from rc_keras.base.convolution import pointwise
from rc_keras.base.float64 import as_float64
from rc_keras.base.keras_types import Constraint, Initializer, Regularizer, Shape, Tensor
from rc_keras.layers.adapter import Adapter

TINY = 1e-30  # least squared length of a row: a row of zeros answers zeros, not NaN


@keras.saving.register_keras_serializable(package="rc_keras")
class Modulator(Adapter):
    """Recombines the responses of a filter bank for one task: `y = W_t s + b` (RCM, equations 2 and 5).

    With `normalize=True` the rows of `W_t`, one for each output channel r, are reparameterized as direction and gain
    (normalized feature fusion, NFF)::

        w_r = g_r v_r / ||v_r||

    so that the length of a row is learned apart from its direction. Without it `W_t` itself is learned.

    `direction` holds v (or W_t) as `(c_in, c_out)`, the Keras layout: row r of the paper's matrix is column r here.
    When a direction is assigned, `gain` must be assigned the column norms to keep the function; `set_matrix` does both.

    Args:
        filters: number of output channels, c_out.
        normalize: whether rows are normalized (NFF).
        use_bias: whether a bias is added.
        direction_initializer, gain_initializer, bias_initializer: how the weights start. With the defaults the layer
            is a random rotation with gain 1.
        direction_regularizer, gain_regularizer, bias_regularizer: added to the losses of the layer.
        direction_constraint, gain_constraint, bias_constraint: applied after each update, besides the row norm, which
            holds by construction.

    Call arguments:
        inputs: responses, `(batch, height, width, c_in)`.

    Returns:
        `(batch, height, width, c_out)`.
    """

    suffix = "modulator"

    def __init__(
        self,
        filters: int,
        normalize: bool = True,
        use_bias: bool = False,
        direction_initializer: Initializer = "orthogonal",
        gain_initializer: Initializer = "ones",
        bias_initializer: Initializer = "zeros",
        direction_regularizer: Regularizer = None,
        gain_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        direction_constraint: Constraint = None,
        gain_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.normalize = normalize
        self.use_bias = use_bias
        self.direction_initializer = initializers.get(direction_initializer)
        self.gain_initializer = initializers.get(gain_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.direction_regularizer = regularizers.get(direction_regularizer)
        self.gain_regularizer = regularizers.get(gain_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.direction_constraint = constraints.get(direction_constraint)
        self.gain_constraint = constraints.get(gain_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    @classmethod
    def from_convolution(cls, convolution: keras.layers.Conv2D, **settings: Any) -> Self:
        return super().from_convolution(
            convolution,
            filters=convolution.filters,
            use_bias=convolution.use_bias,
            direction_initializer="identity",
            **settings,
        )

    def size(self, c_in: int, c_out: int) -> int:
        return c_out * c_out

    def build(self, input_shape: Shape) -> None:
        self.direction = self.add_weight(
            name="direction",
            shape=(input_shape[-1], self.filters),
            initializer=self.direction_initializer,
            regularizer=self.direction_regularizer,
            constraint=self.direction_constraint,
            autocast=False,
        )
        self.gain = self.bias = None
        if self.normalize:
            self.gain = self.add_weight(
                name="gain",
                shape=(self.filters,),
                initializer=self.gain_initializer,
                regularizer=self.gain_regularizer,
                constraint=self.gain_constraint,
                autocast=False,
            )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                autocast=False,
            )

    def matrix(self) -> Tensor:
        """The effective 1x1 kernel, `W_t` transposed: `(c_in, c_out)`."""
        if self.gain is None:
            return ops.convert_to_tensor(self.direction)
        squares = ops.maximum(ops.sum(ops.square(self.direction), axis=0), TINY)
        return ops.multiply(self.direction, ops.multiply(self.gain, ops.rsqrt(squares)))

    def set_matrix(self, matrix: Tensor) -> None:
        """Assigns direction and gain so that the effective kernel is `matrix`, `(c_in, c_out)`."""
        self.direction.assign(matrix)
        if self.gain is not None:
            self.gain.assign(ops.sqrt(ops.sum(ops.square(self.direction), axis=0)))

    def draw(self, seed: int) -> None:
        """Assigns a random rotation, which does not keep the pretrained function."""
        self.set_matrix(initializers.Orthogonal(seed=seed)(self.direction.shape))

    @property
    def gains(self) -> list[keras.Variable]:
        return [] if self.gain is None else [self.gain]

    def linear_map(self) -> tuple[np.ndarray, np.ndarray]:
        matrix = as_float64(self.direction)
        if self.gain is not None:
            lengths = np.sqrt(np.maximum(np.sum(np.square(matrix), axis=0), TINY))
            matrix = matrix / lengths * as_float64(self.gain)
        return matrix, np.zeros(()) if self.bias is None else as_float64(self.bias)

    def call(self, inputs: Tensor) -> Tensor:
        outputs = pointwise(inputs, ops.cast(self.matrix(), inputs.dtype))
        return outputs if self.bias is None else ops.add(outputs, ops.cast(self.bias, inputs.dtype))

    def compute_output_shape(self, input_shape: Shape, *other_shapes: Shape) -> Shape:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "normalize": self.normalize,
            "use_bias": self.use_bias,
            "direction_initializer": initializers.serialize(self.direction_initializer),
            "gain_initializer": initializers.serialize(self.gain_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "direction_regularizer": regularizers.serialize(self.direction_regularizer),
            "gain_regularizer": regularizers.serialize(self.gain_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "direction_constraint": constraints.serialize(self.direction_constraint),
            "gain_constraint": constraints.serialize(self.gain_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
        }
