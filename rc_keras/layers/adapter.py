"""What all adapters have in common: the contract of a method."""

from typing import Any, ClassVar, Self

import keras
import numpy as np

from rc_keras.base.keras_types import Shape, Tensor


class Adapter(keras.layers.Layer):
    """A layer that makes a shared convolution a task's own.

    It stands behind a convolution z = W * x of the bank and is called with the responses z, `(batch, height, width,
    c_out)`, whose shape it keeps; of a truncated bank they are fewer. Each task has its own. Graft, reports and
    exporters know an adapter by what is listed here alone: a method is a subclass, registered with
    `keras.saving.register_keras_serializable`, and an entry in `rc_keras.methods.METHODS`.

    | member | what it says | overridden |
    | --- | --- | --- |
    | `build`, `call`, `get_config` | as of every Keras layer | always |
    | `suffix` | its layers are called `<convolution>_<suffix>` | always |
    | `size` | parameters it adds to a convolution, for the graft rule | always |
    | `takes_inputs` | whether it is called with `(z, x)` | if it needs x |
    | `use_bias` | whether it has the convolution's bias, as its weight `bias` | if it has; else a `Bias` follows |
    | `from_convolution` | how it is made | if a setting comes from the convolution, or is drawn |
    | `draw` | the start that a task draws from its seed | if the `Method` has `drawn=True` |
    | `set_matrix` | the start that response initialization gives it | if the `Method` has `response_init=True` |
    | `gains` | weights that the parameter report counts as gains | if it has some |
    | `macs` | multiply-accumulates | if it does not multiply each pixel by its matrices |
    | `linear_map` | what it amounts to after training, for export | if that is a linear map of z |
    | `factors` | two small matrices that its matrix is made of | if files should hold these instead |

    As it is made it must leave the responses as they are, for with it the branch computes what the pretrained network
    computes; `draw` and `set_matrix` may change that.
    """

    suffix: ClassVar[str]
    takes_inputs: ClassVar[bool] = False
    use_bias: bool = False

    @classmethod
    def from_convolution(cls, convolution: keras.layers.Conv2D, **settings: Any) -> Self:
        """The adapter for a convolution of the pretrained network, not built.

        Args:
            convolution: the `keras.layers.Conv2D` that the bank convolution stands for.
            settings: further arguments of the layer, those in `Method.settings` among them.
        """
        return cls(**settings, dtype=convolution.dtype_policy, name=f"{convolution.name}_{cls.suffix}")

    def compute_output_shape(self, input_shape: Shape, *other_shapes: Shape) -> Shape:
        return tuple(input_shape)

    def size(self, c_in: int, c_out: int) -> int:
        """Number of parameters for a convolution from c_in to c_out channels, without biases and gains.

        A convolution is shared exactly where this is below the size of its kernel.
        """
        raise NotImplementedError(f"{type(self).__name__} must have `size` to be the adapter of a method.")

    def draw(self, seed: int) -> None:
        """Assigns a task's random start; `seed` differs from task to task and from layer to layer."""

    def set_matrix(self, matrix: Tensor) -> None:
        """Assigns weights with which the responses are multiplied by `matrix`: `y = z @ matrix`.

        It is `(c_out, c_out)`, and `(rank, c_out)` behind a truncated bank, where the layer answers more channels than
        it is called with.
        """
        raise NotImplementedError(f"{type(self).__name__} must have `set_matrix` for response initialization.")

    @property
    def gains(self) -> list[keras.Variable]:
        """Weights that fold into the others after training, such as NFF's; counted apart."""
        return []

    def macs(self, positions: int) -> int:
        """Multiply-accumulates of one image of `positions` = height x width responses, as it trains."""
        return positions * sum(int(np.prod(weight.shape)) for weight in self.weights if len(weight.shape) == 2)

    def linear_map(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Matrix and offset in float64 with `y = z @ matrix + offset`, norms by their moving statistics.

        Where channels are not mixed the matrix is its diagonal, `(c_out,)`, and where they are only shifted it is the
        number 1. The paper's matrices stand transposed here, as everywhere in Keras. `None`: it is no linear map of
        the responses, and is exported as the layer it is.
        """
        return None

    def factors(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Matrices down `(c, r)` and up `(r, c)` in float64, where that of `linear_map` is `I + down @ up`.

        Files then hold these two, where they are smaller. `None`: files hold the matrix.
        """
        return None
