"""What a task adds to a convolution of the bank."""

from collections.abc import Callable, Sequence

import keras

from rc_keras.layers import (
    Bias,
    ChannelModulation,
    LowRankModulator,
    Modulator,
    ParallelAdapter,
    SeriesAdapter,
    SqueezeExcite,
)
from rc_keras.methods import Method

# Parameters that each adapter adds to a convolution from c_in to c_out channels; biases and NFF gains are not counted.
SIZES: dict[str, Callable[[int, int, int], int]] = {
    "modulator": lambda c_in, c_out, rank: c_out * c_out,
    "series_adapter": lambda c_in, c_out, rank: c_out * c_out + 2 * c_out,
    "parallel_adapter": lambda c_in, c_out, rank: c_in * c_out,
    "channel_modulation": lambda c_in, c_out, rank: c_out,
    "low_rank": lambda c_in, c_out, rank: 2 * rank * c_out,
    "nothing": lambda c_in, c_out, rank: 0,
}

ADAPTERS = (Bias, ChannelModulation, LowRankModulator, Modulator, ParallelAdapter, SeriesAdapter, SqueezeExcite)


def adapter_size(method: Method, kernel_shape: Sequence[int], groups: int) -> int:
    """Number of parameters that a `Method` adds for each task to a kernel `(k_h, k_w, c_in / groups, c_out)`."""
    return SIZES[method.adapter](kernel_shape[2] * groups, kernel_shape[3], method.rank or 0)


def make_adapters(method: Method, convolution: keras.layers.Conv2D) -> list[keras.layers.Layer]:
    """The layers a task has behind a bank convolution, in their order; with them it computes what it computed.

    Args:
        method: the `Method`.
        convolution: the `keras.layers.Conv2D` the bank convolution stands for.

    Returns:
        A list of layers. A `ParallelAdapter` is called with the responses and the input of the convolution, the others
        with the responses.
    """
    name, dtype, filters = convolution.name, convolution.dtype_policy, convolution.filters
    layers = []
    if method.adapter == "modulator":
        modulator = Modulator(
            filters,
            normalize=method.normalize,
            use_bias=convolution.use_bias,
            direction_initializer="identity",
            dtype=dtype,
            name=f"{name}_modulator",
        )
        layers.append(modulator)
    elif method.adapter == "series_adapter":
        layers.append(SeriesAdapter(dtype=dtype, name=f"{name}_series_adapter"))
    elif method.adapter == "parallel_adapter":
        layers.append(
            ParallelAdapter(
                convolution.kernel_size,
                strides=convolution.strides,
                padding=convolution.padding,
                dilation_rate=convolution.dilation_rate,
                dtype=dtype,
                name=f"{name}_parallel_adapter",
            )
        )
    elif method.adapter == "channel_modulation":
        layers.append(ChannelModulation(dtype=dtype, name=f"{name}_channel_modulation"))
    elif method.rank is not None:  # of low_rank
        start = keras.initializers.GlorotUniform(seed=0)  # each task draws its own
        layers.append(LowRankModulator(method.rank, start, dtype=dtype, name=f"{name}_low_rank"))
    if convolution.use_bias and method.adapter != "modulator":
        layers.append(Bias(dtype=dtype, name=f"{name}_bias"))
    if convolution.activation is not keras.activations.linear:
        layers.append(keras.layers.Activation(convolution.activation, dtype=dtype, name=f"{name}_activation"))
    return layers
