"""Pointwise layers as 1x1 convolutions, the form in which a bank shares kernels."""

import dataclasses
import math
from collections.abc import Container, Iterable
from typing import Any

import keras
import numpy as np

from rc_keras.base.keras_types import Shape
from rc_keras.layers import Conv2D

_DEPTHWISE = "_depthwise"


def with_pointwise_convolutions(network: keras.Model, kept: Container[str] = ()) -> keras.Model:
    """A network in which layers with a pointwise kernel are 1x1 convolutions.

    | layer | becomes |
    | --- | --- |
    | `Dense` | a 1x1 convolution of its name; tokens `(batch, n, c)` are a map `(batch, n, 1, c)` meanwhile |
    | `EinsumDense` | the same, if its equation contracts the last axes of the input, as projections of attention do |
    | `SeparableConv2D` | a depthwise convolution `<name>_depthwise`, and a 1x1 convolution of its name |

    All other layers stay what they are, and so do subclasses of these, which may compute something else.

    Args:
        network: a functional `keras.Model`.
        kept: names of layers that stay what they are.

    Returns:
        A functional `keras.Model` that computes the same, on layers of `network` but for the new ones.
    """
    made: dict[str, keras.layers.Layer] = {}  # by name; a layer that is called twice has one of each

    def once(layer: keras.layers.Layer) -> keras.layers.Layer:
        return made.setdefault(layer.name, layer)

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        form = None if layer.name in kept else _form(layer)
        if form is None or not args or not form.fits(args[0].shape):
            return layer(*args, **kwargs)
        convolution, x = once(form.convolution(layer)), args[0]
        if isinstance(layer, keras.layers.SeparableConv2D):
            return convolution(once(_depthwise(layer))(x))
        before, behind = form.reshapes(layer, x.shape)
        for other in (*before, convolution, *behind):
            x = once(other)(x)
        return x

    return keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=call)


@dataclasses.dataclass(frozen=True)
class _Form:
    """How a layer's kernel is that of a 1x1 convolution.

    Attributes:
        kernel: `(c_in, c_out)`.
        bias: `(c_out,)`, or `None`.
        contracted: number of the last axes of the input that are its channels.
        units: sizes of the last axes of the output that are its channels.
    """

    kernel: np.ndarray
    bias: np.ndarray | None
    contracted: int
    units: Shape

    def fits(self, inputs_shape: Shape) -> bool:
        """Whether no more than one size that is not known has to be given back to the output."""
        return self._is_map(inputs_shape) or self._axes(inputs_shape).count(None) < 2

    def convolution(self, layer: keras.layers.Layer) -> Conv2D:
        """The convolution, with its weights; an activation across several axes is left out."""
        c_in, c_out = self.kernel.shape
        made = Conv2D(
            c_out,
            1,
            use_bias=self.bias is not None,
            data_format="channels_last",
            activation=layer.activation if len(self.units) == 1 else None,
            dtype=layer.dtype_policy,
            name=layer.name,
        )
        made.build((None, None, None, c_in))
        made.set_weights([self.kernel[None, None], *([] if self.bias is None else [self.bias])])
        return made

    def reshapes(
        self, layer: keras.layers.Layer, inputs_shape: Shape
    ) -> tuple[list[keras.layers.Layer], list[keras.layers.Layer]]:
        """The layers before and behind the convolution: from what the layer takes, and to what it answers."""
        if self._is_map(inputs_shape):
            return [], []
        axes = self._axes(inputs_shape)
        axes = (-1,) if len(axes) == 1 else tuple(-1 if size is None else size for size in axes)

        def reshape(shape: Shape, name: str) -> keras.layers.Layer:
            return keras.layers.Reshape(shape, dtype=layer.dtype_policy, name=f"{layer.name}_{name}")

        behind = [reshape((*axes, *self.units), "from_map")]
        if len(self.units) > 1 and layer.activation is not keras.activations.linear:
            name = f"{layer.name}_activation"
            behind.append(keras.layers.Activation(layer.activation, dtype=layer.dtype_policy, name=name))
        return [reshape((-1, 1, len(self.kernel)), "as_map")], behind

    def _is_map(self, inputs_shape: Shape) -> bool:
        return len(inputs_shape) == 4 and self.contracted == len(self.units) == 1

    def _axes(self, inputs_shape: Shape) -> Shape:
        return tuple(inputs_shape[1 : len(inputs_shape) - self.contracted])


def _form(layer: keras.Operation) -> _Form | None:
    """The form of a layer that has one."""
    if type(layer) is keras.layers.SeparableConv2D and layer.data_format == "channels_last":
        return _Form(_array(layer.pointwise_kernel)[0, 0], _array(layer.bias), 1, (layer.filters,))
    if type(layer) not in (keras.layers.Dense, keras.layers.EinsumDense) or layer.quantization_mode is not None:
        return None
    kernel, bias = _array(layer.kernel), _array(layer.bias)
    contracted = 1 if type(layer) is keras.layers.Dense else _contracted_axes(layer.equation, layer.bias_axes)
    if contracted is None:
        return None
    units = kernel.shape[contracted:]
    bias = None if bias is None else bias.reshape(-1)
    return _Form(kernel.reshape(-1, math.prod(units)), bias, contracted, units)


def _contracted_axes(equation: str, bias_axes: str | None) -> int | None:
    """How many of the last axes of the input a kernel contracts; `None` if the equation is another one.

    It must read `<batch><in>,<in><out>-><batch><out>`, and biases must lie along `<out>`.
    """
    inputs, kernel, outputs = equation.replace(" ", "").replace("->", ",").split(",")
    new = "".join(axis for axis in kernel if axis not in inputs)
    contracted = kernel.removesuffix(new)
    batch = inputs.removesuffix(contracted)
    fits = contracted and new and batch and inputs == batch + contracted and kernel == contracted + new
    if not fits or outputs != batch + new or bias_axes not in (None, new):
        return None
    return len(contracted)


def with_depthwise_parts(names: Iterable[str]) -> set[str]:
    """Names of layers, and those that the depthwise parts of the separable convolutions among them get."""
    return {part for name in names for part in (name, name + _DEPTHWISE)}


def _depthwise(layer: keras.layers.SeparableConv2D) -> keras.layers.DepthwiseConv2D:
    made = keras.layers.DepthwiseConv2D(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        depth_multiplier=layer.depth_multiplier,
        data_format="channels_last",
        dilation_rate=layer.dilation_rate,
        use_bias=False,
        dtype=layer.dtype_policy,
        name=layer.name + _DEPTHWISE,
    )
    kernel = _array(layer.depthwise_kernel)
    made.build((None, None, None, kernel.shape[2]))
    made.set_weights([kernel])
    return made


def _array(variable: Any) -> Any:
    return None if variable is None else keras.ops.convert_to_numpy(variable)
