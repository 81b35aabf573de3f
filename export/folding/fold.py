"""Folding: one task's branch without norms and without the reparameterization of its modulators."""

from collections.abc import Container, Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from rc_keras.base.float64 import as_float64
from rc_keras.base.keras_types import Tensor
from rc_keras.export.folding.concat_parts import call_parts
from rc_keras.export.folding.direct_conv2d import DirectConv2D
from rc_keras.export.folding.factor_parts import FactorParts, smaller_factors
from rc_keras.layers import Adapter, BankConcatConv2D, BankConv2D, BatchNormalization, ConcatConv2D, Conv2D, Frozen
from rc_keras.layers.batch_normalization import scale_and_offset
from rc_keras.network.chains import chained_calls, chains
from rc_keras.network.copies import copy_weights, geometry
from rc_keras.network.shared_stages import without_frozen

_CONVOLUTIONS = (keras.layers.Conv2D, Conv2D)
_LINEAR = (*_CONVOLUTIONS, ConcatConv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
_FACTORS = ("Multiply", "Divide", "TrueDivide")  # operations of Keras, as `x / 255` leaves them in a model
_NORMS = (keras.layers.BatchNormalization, BatchNormalization)

LinearMaps: TypeAlias = Mapping[str, tuple[np.ndarray, np.ndarray]]  # see `Adapter.linear_map`


def fold(branch: keras.Model, bank: MutableMapping[str, keras.Operation], merged: bool = False) -> keras.Model:
    """Makes the network that a trained branch amounts to.

    The weights of a modulator with NFF become its matrix, `w_r = g_r v_r / ||v_r||` (RCM, equation 5). A batch norm
    with scale γ, offset β and moving statistics μ, σ² behind a linear layer of the same task becomes part of it::

        s = γ / √(σ² + ε)        W ← s W        b ← s (b − μ) + β

    in float64, rounded to float32 at the end. A bank kernel is never touched, so tasks go on sharing it; unless
    `merged`, where bank convolution and modulator become one plain convolution of the task, `W = W_t W_s`, if that is
    not dearer than the two, as it is with few responses of a truncated bank. Norms that do not stand alone behind one
    linear layer, and bank convolutions in groups, stay as they are.

    Other adapters become their `linear_map` too, and stay where they have none; where that is larger than the `factors`
    it is made of, they become these (see `FactorParts`). What scales the channels of a bank convolution alone, channel
    modulation or a norm, becomes a depthwise 1x1 convolution: converters multiply a plain factor into the kernel in
    front of it, of which each task would then have its own.

    Args:
        branch: a task's functional `keras.Model`, in any precision.
        bank: `{name: layer}`, what folded branches share; what it lacks is added. Bank convolutions are `DirectConv2D`;
            `Frozen` layers are folded among themselves like any others.
        merged: whether to merge bank and modulators.

    Returns:
        A functional `keras.Model` in float32 with the input and output of `branch`. Matrices are 1x1 `DirectConv2D`.
    """
    frozen = {layer.name for layer in branch.layers if isinstance(layer, Frozen)}
    branch = without_frozen(branch)
    maps = _linear_maps(branch)
    norms = _foldable_norms(branch, maps, frozen)
    diagonals = _diagonals(branch, maps, norms, frozen)
    kernels = _mergeable_kernels(branch, maps) if merged else {}
    absorbed = {norm.name for norm in norms.values()} | {layer.name for layer in kernels.values()}
    lists: dict[str, Any] = {}  # name of a convolution of several maps: these
    weights: dict[str, list[Any]] = {}  # name of a layer of the copy: how it gets its weights
    factored = {
        layer.name: FactorParts(layer.name, factors, maps[layer.name][1], norms.get(layer.name), weights)
        for layer in branch.layers
        if layer.name not in kernels and (factors := smaller_factors(layer)) is not None
    }

    def clone(layer: keras.Operation) -> keras.Operation:
        if layer.name in absorbed or layer.name in factored or isinstance(layer, BankConcatConv2D):
            return layer  # never called, or as its parts
        if layer.name in bank:
            return bank[layer.name]
        made = make(layer)
        if isinstance(layer, BankConv2D) or layer.name in frozen:
            bank[layer.name] = made
        return made

    def make(layer: keras.Operation) -> keras.Operation:
        if layer.name in kernels:
            matrix, offset = maps.get(layer.name) or scale_and_offset(layer)
            kernel = as_float64(kernels[layer.name].kernel)
            kernel = kernel @ matrix if matrix.ndim == 2 else kernel * matrix
            weights[layer.name] = _folded_weights(kernel, offset, norms.get(layer.name))
            return _merged(kernels[layer.name], kernel.shape[-1], layer.name)
        if isinstance(layer, BankConv2D):
            weights[layer.name] = [layer.kernel]
            return _direct(layer, use_bias=False)
        if isinstance(layer, keras.layers.Rescaling):
            return copy_in_float32(layer, scale=_per_channel(layer.scale, layer.output.shape[-1]).tolist())
        if layer.name in diagonals:
            diagonal, offset = maps.get(layer.name) or scale_and_offset(layer)
            kernel = np.broadcast_to(diagonal, layer.output.shape[-1])[None, None, :, None]
            weights[layer.name] = _folded_weights(kernel, offset, norms.get(layer.name), depthwise=True)
            return keras.layers.DepthwiseConv2D(1, dtype="float32", name=layer.name)
        if layer.name in maps and maps[layer.name][0].ndim == 2:
            matrix, offset = maps[layer.name]
            weights[layer.name] = _folded_weights(matrix[None, None], offset, norms.get(layer.name))
            return DirectConv2D(layer.output.shape[-1], 1, dtype="float32", name=layer.name)
        if not _takes_in_norms(layer):
            weights[layer.name] = getattr(layer, "weights", [])
            return copy_in_float32(layer)
        bias = np.zeros(()) if layer.bias is None else as_float64(layer.bias)
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        weights[layer.name] = _folded_weights(as_float64(layer.kernel), bias, norms.get(layer.name), depthwise)
        if type(layer) in _CONVOLUTIONS:
            return _direct(layer, use_bias=True, activation=layer.activation)
        return copy_in_float32(layer, use_bias=True)

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Tensor:
        if layer.name in absorbed and isinstance(layer, BankConcatConv2D):
            lists[layer.name] = args[0]  # for what it is merged with; a call answers one tensor
            return args[0][layer.reference]
        if layer.name in absorbed:
            return args[0]
        if layer.name in kernels and kernels[layer.name].name in lists:
            return layer(lists[kernels[layer.name].name])
        if isinstance(layer, BankConcatConv2D):
            return call_parts(layer, args[0], bank, weights)
        if layer.name in factored:
            return factored[layer.name](args[0])
        if layer.name in diagonals:
            return layer(args[0])  # without the mask that a norm takes
        if type(layer).__name__ in _FACTORS and not isinstance(layer, keras.Layer):
            channels = max(arg.shape[-1] for arg in args if isinstance(arg, keras.KerasTensor))
            args = tuple(_per_channel(arg, channels) if isinstance(arg, (int, float)) else arg for arg in args)
        return layer(*args, **kwargs)

    folded = keras.models.clone_model(branch, clone_function=clone, call_function=call)
    for layer in folded.layers:
        if layer.name in weights:
            for variable, value in zip(layer.weights, weights[layer.name], strict=True):
                variable.assign(keras.ops.convert_to_numpy(value))
    return folded


def in_float32(branch: keras.Model) -> keras.Model:
    """The branch itself if it computes in float32, else a copy that does."""
    layers = [layer for layer in branch.layers if hasattr(layer, "compute_dtype")]
    if all(layer.compute_dtype == "float32" for layer in layers):
        return branch
    branch = without_frozen(branch)
    copy = keras.models.clone_model(branch, clone_function=copy_in_float32)
    for layer in layers:
        copy_weights(layer, copy.get_layer(layer.name))
    return copy


def copy_in_float32(layer: keras.Operation, **changes: Any) -> keras.Operation:
    """A fresh layer with the configuration of `layer` but for `changes`; its weights are left to the caller."""
    config = {**layer.get_config(), **changes}
    if "dtype" in config:
        config["dtype"] = "float32"
    return type(layer).from_config(config)


def _per_channel(factor: float | Sequence[float], channels: int) -> np.ndarray:
    """One factor for each channel: converters multiply a scalar into the kernel behind it, even that of the bank."""
    return np.broadcast_to(np.asarray(factor, "float32"), (channels,))


def resized(branch: keras.Model, image_shape: Sequence[int | None]) -> keras.Model:
    """The branch, on the same layers, for images of another size; itself if the size is its own.

    Args:
        branch: a task's functional `keras.Model`.
        image_shape: `(height, width, channels)`, `None` where free.
    """
    if tuple(branch.inputs[0].shape[1:]) == tuple(image_shape):
        return branch
    image = keras.Input(image_shape, name=branch.inputs[0].name)
    copy = keras.models.clone_model(branch, input_tensors=image, clone_function=lambda layer: layer)
    return keras.Model(image, copy.output, name=branch.name)


def _direct(
    layer: keras.layers.Conv2D,
    use_bias: bool,
    activation: Any = None,
    filters: int | None = None,
    name: str | None = None,
) -> DirectConv2D:
    return DirectConv2D(
        filters or layer.filters,
        **geometry(layer),
        activation=activation,
        use_bias=use_bias,
        dtype="float32",
        name=name or layer.name,
    )


def _merged(convolution: BankConv2D, filters: int, name: str) -> keras.layers.Conv2D:
    if isinstance(convolution, BankConcatConv2D):
        reference = convolution.reference
        return ConcatConv2D(filters, convolution.kernel_size, reference=reference, dtype="float32", name=name)
    return _direct(convolution, use_bias=True, filters=filters, name=name)


def _is_norm(layer: keras.Operation) -> bool:
    return type(layer) in _NORMS and layer.axis in (-1, len(layer.output.shape) - 1)


def _takes_in_norms(layer: keras.Operation) -> bool:
    """Whether `layer` is, before its activation, a linear layer of Keras whose weights can take in scale and offset."""
    return type(layer) in _LINEAR and getattr(layer, "data_format", "channels_last") == "channels_last"


def _is_linear(layer: keras.Operation) -> bool:
    """Whether a norm behind `layer` can become part of its weights."""
    activation = getattr(layer, "activation", keras.activations.linear)
    return _takes_in_norms(layer) and activation is keras.activations.linear


def _folded_weights(
    kernel: np.ndarray, bias: np.ndarray, norm: keras.layers.BatchNormalization | None, depthwise: bool = False
) -> list[np.ndarray]:
    """Kernel and bias in float32, with the norm behind them if there is one.

    A depthwise kernel is (k_h, k_w, c_in, multiplier), with c_in times multiplier output channels.
    """
    outputs = kernel.shape[2:] if depthwise else kernel.shape[-1:]
    bias = np.broadcast_to(bias, int(np.prod(outputs)))
    if norm is not None:
        scale, offset = scale_and_offset(norm)
        kernel, bias = kernel * scale.reshape(outputs), scale * bias + offset
    return [kernel.astype("float32"), bias.astype("float32")]


def _linear_maps(branch: keras.Model) -> LinearMaps:
    """`{name of an adapter: its matrix and offset}` of those that have a `linear_map`."""
    maps = {layer.name: layer.linear_map() for layer in branch.layers if isinstance(layer, Adapter)}
    return {name: found for name, found in maps.items() if found is not None}


def _foldable_norms(
    branch: keras.Model, maps: LinearMaps, frozen: Container[str]
) -> dict[str, keras.layers.BatchNormalization]:
    """`{name of a linear layer: the norm that alone uses its output}`, without norms of a task behind frozen layers."""
    norms = {}
    for linear, norm in chains(branch):
        if not _is_norm(norm) or not (_is_linear(linear) or getattr(linear, "name", None) in maps):
            continue
        if linear.name in frozen and norm.name not in frozen:
            continue
        norms[linear.name] = norm
    return norms


def _diagonals(
    branch: keras.Model,
    maps: LinearMaps,
    norms: Mapping[str, keras.layers.BatchNormalization],
    frozen: Container[str],
) -> set[str]:
    """Names of the layers that become a factor and an offset for each channel; one that only shifts needs a norm.

    Norms that are not folded become one behind a shared layer, even if they follow only one of its calls.
    """
    ranks = {name: matrix.ndim for name, (matrix, _) in maps.items()}
    names = {name for name, rank in ranks.items() if rank == 1 or (rank == 0 and name in norms)}
    folded = {norm.name for norm in norms.values()}

    def is_shared(layer: keras.Operation, norm: keras.Operation) -> bool:
        if layer.name in frozen:
            return norm.name not in frozen or _is_linear(layer)
        return isinstance(layer, BankConv2D) or ranks.get(layer.name) == 0  # which shifts its responses

    return names | {
        norm.name
        for layer, norm in chained_calls(branch)
        if _is_norm(norm) and norm.name not in folded and is_shared(layer, norm)
    }


def _mergeable_kernels(branch: keras.Model, maps: LinearMaps) -> dict[str, BankConv2D]:
    """`{name of an adapter or norm: the bank convolution, without groups, that it alone uses}`.

    One with so few responses that it is cheaper with its matrix apart, as in a truncated bank, stays as it is.
    """
    return {
        adapter.name: convolution
        for convolution, adapter in chains(branch)
        if isinstance(convolution, BankConv2D)
        and convolution.groups == 1
        and (getattr(adapter, "name", None) in maps or _is_norm(adapter))
        and not _is_cheaper_apart(convolution, adapter.output.shape[-1])
    }


def _is_cheaper_apart(convolution: BankConv2D, channels: int) -> bool:
    """Whether kernel and matrix one after the other need fewer products than the kernel they amount to."""
    inputs, rank = int(np.prod(convolution.kernel.shape[:3])), convolution.filters
    return rank * (inputs + channels) < inputs * channels
