"""A network whose last stages dilate their kernels instead of striding, as DeepLab has it."""

import math
from typing import Any

import keras

from rc_keras.backbones.probe import Call, Probe, probe

OUTPUT_STRIDES = (8, 16, 32)
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
_POOLINGS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
_OF_ONE_PIXEL = (*_CONVOLUTIONS, keras.layers.Dense, keras.layers.EinsumDense)


def with_output_stride(network: keras.Model, output_stride: int) -> keras.Model:
    """The network with the strides behind `output_stride` left out and the kernels behind them dilated.

    A layer that would stride on does not, and all kernels behind it are dilated by what was left out (Chen et al.,
    2017), so that the network answers what it answered, at more pixels: where it pads as "same" does, every `n`-th row
    and column is that of the network as it was (global averages, as in squeeze-and-excite blocks, are taken over more
    pixels). `rc_keras.backbones.resnet` dilates the striding kernels too, as the paper's code does. A convolution
    behind explicit padding gets "same" padding. Weights are the same.

    Args:
        network: a functional `keras.Model` that answers the features, see `rc_keras.network.features`. It stays as
            it is.
        output_stride: image size over size of the high-level map: 8, 16 or 32.

    Returns:
        A functional `keras.Model`, whose layers are those of `network` but for the changed ones; `network` itself where
        it has this stride.

    Raises:
        ValueError: if that cannot be; says at which layer.
    """
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(
            f"`output_stride` must be one of {list(OUTPUT_STRIDES)}, or None. Received: output_stride={output_stride!r}"
        )
    seen = probe(network)
    plan = _Plan(seen, output_stride)
    high_level = keras.tree.pack_sequence_as(network.output, seen.outputs)["high_level"]
    stride, _ = plan.state(high_level)
    if stride != output_stride:
        raise ValueError(
            f"`output_stride` must be at most that of `backbone`, {stride}. Received: output_stride={output_stride}"
        )
    if not plan.changes:
        return network

    def clone(layer: keras.Operation) -> keras.Operation:
        if not plan.changes.get(layer.name):
            return layer
        return type(layer).from_config({**layer.get_config(), **plan.changes[layer.name]})

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in plan.paddings else layer(*args, **kwargs)

    image = keras.Input(network.inputs[0].shape[1:], name=network.inputs[0].name)
    dilated = keras.models.clone_model(network, input_tensors=image, clone_function=clone, call_function=call)
    for layer in network.layers:
        if plan.changes.get(layer.name) and layer.weights:
            dilated.get_layer(layer.name).set_weights(layer.get_weights())
    return dilated


class _Plan:
    """What is to be changed.

    Attributes:
        changes: `{name of a layer: its new settings}`.
        paddings: names of the padding layers to leave out.
    """

    def __init__(self, seen: Probe, output_stride: int) -> None:
        self.output_stride = output_stride
        self.changes: dict[str, dict[str, Any]] = {}
        self.paddings: set[str] = set()
        self._planned: dict[str, dict[str, Any]] = {}
        self._states: dict[int, tuple[int, int]] = {}  # of tensors, by id: stride, and what was left out of it
        self._makers = {id(tensor): call.layer for call in seen.calls for tensor in call.outputs}
        self._uses: dict[int, int] = {}
        for call in seen.calls:
            for tensor in call.inputs:
                self._uses[id(tensor)] = self._uses.get(id(tensor), 0) + 1
        for call in seen.calls:
            self._follow(call)

    def state(self, tensor: keras.KerasTensor) -> tuple[int, int]:
        return self._states.get(id(tensor), (1, 1))

    def _follow(self, call: Call) -> None:
        states = {self.state(tensor) for tensor in call.inputs} or {(1, 1)}
        if len({left_out for _, left_out in states}) > 1:
            raise self._refusal(call.layer, "it joins maps of which only some are dilated")
        stride, left_out = max(states)
        factor = _stride_of(call)
        if factor == 1 or stride * factor <= self.output_stride:
            after = (round(stride * factor), left_out)
        elif stride != self.output_stride or not isinstance(call.layer, (*_CONVOLUTIONS, *_POOLINGS)):
            raise self._refusal(call.layer, f"it goes from stride {stride} to {round(stride * factor)} on its own")
        else:
            after = (stride, left_out * round(factor))
        self._states.update((id(tensor), after) for tensor in call.outputs)
        change = self._change(call, left_out, after[1]) if after[1] > 1 else {}
        if self._planned.setdefault(call.layer.name, change) != change:
            raise self._refusal(call.layer, "it is called at several strides")
        if change:
            self.changes[call.layer.name] = change

    def _change(self, call: Call, before: int, after: int) -> dict[str, Any]:
        """New settings of a layer, with the strides that were left out before it and with its own."""
        layer = call.layer
        if isinstance(layer, _POOLINGS):
            if max(layer.pool_size) == 1:
                return {"strides": (1, 1)} if after > before else {}
            if before > 1 or (layer.padding == "valid" and layer.pool_size != layer.strides):
                raise self._refusal(layer, "windows of pooling cannot be dilated")
            return {"strides": (1, 1), "padding": "same"}
        if not isinstance(layer, _CONVOLUTIONS):
            kernels = [weight for weight in getattr(layer, "weights", ()) if len(weight.shape) > 1]
            if kernels and not isinstance(layer, _OF_ONE_PIXEL):
                raise self._refusal(layer, f"it is not known how to dilate a {type(layer).__name__}")
            return {}
        change: dict[str, Any] = {"strides": (1, 1)} if after > before else {}
        if max(layer.kernel_size) == 1:
            return change
        if any(size % 2 == 0 for size in layer.kernel_size):
            if before > 1:
                raise self._refusal(layer, "its kernel is even and would have to be dilated")
            if layer.padding != "same" and layer.kernel_size != layer.strides:
                raise self._refusal(layer, "it must pad its map to answer every pixel")
            return {**change, "padding": "same"}
        if layer.padding != "same":
            padding = self._makers.get(id(call.inputs[0]))
            if padding is None or not _pads_for(padding, layer) or self._uses[id(call.inputs[0])] > 1:
                raise self._refusal(layer, "it must pad its map to be dilated")
            self.paddings.add(padding.name)
            change["padding"] = "same"
        return {**change, "dilation_rate": tuple(rate * before for rate in layer.dilation_rate)}

    def _refusal(self, layer: keras.Operation, reason: str) -> ValueError:
        return ValueError(
            "`output_stride` must be one that `backbone` can be dilated to, or None: as it is. Received: "
            f"output_stride={self.output_stride} for a backbone with layer {layer.name!r}: {reason}"
        )


def _stride_of(call: Call) -> float:
    """By what a layer strides, to the smallest of several maps; below 1 where it enlarges its map."""
    if isinstance(call.layer, (*_CONVOLUTIONS, *_POOLINGS)):
        return max(call.layer.strides)
    maps = [tensor.shape[1] for tensor in call.inputs if len(tensor.shape) == 4 and tensor.shape[1]]
    shapes = [tensor.shape for tensor in call.outputs]
    if isinstance(call.layer, (keras.layers.ZeroPadding2D, keras.layers.Cropping2D)) or not maps:
        return 1
    sizes = [shape[1] for shape in shapes if len(shape) == 4 and shape[1] and shape[1:3] != (1, 1)]
    return 2.0 ** round(math.log2(max(maps) / min(sizes))) if sizes else 1


def _pads_for(padding: Any, layer: Any) -> bool:
    """Whether a layer pads so that a convolution without padding divides the size of its map by its stride."""
    if not isinstance(padding, keras.layers.ZeroPadding2D):
        return False
    sizes = zip(padding.padding, layer.kernel_size, layer.dilation_rate, layer.strides, strict=True)
    return all((size - 1) * rate - stride + 1 <= sum(pads) <= (size - 1) * rate for pads, size, rate, stride in sizes)
