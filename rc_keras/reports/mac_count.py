"""How many multiply-accumulates a task needs for one image."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from rc_keras.base.convolution import tap_positions
from rc_keras.base.keras_types import Tensor
from rc_keras.layers import Adapter, BankConv2D, Frozen
from rc_keras.layers.concat_convolution import ConcatConvolution
from rc_keras.network.copies import SEPARATOR
from rc_keras.network.donor import PREFIX
from rc_keras.network.opened import traced, walked
from rc_keras.reports.einsum_sizes import einsum_sizes

_KERNELS = (
    BankConv2D,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Dense,
    keras.layers.DepthwiseConv2D,
)
_OTHERS = (Adapter, keras.layers.EinsumDense, keras.layers.SeparableConv2D)  # that are counted too
_ATTENTION = (keras.layers.GroupQueryAttention, keras.layers.MultiHeadAttention)
_NOT_COUNTED = (keras.layers.LayerNormalization, keras.layers.Normalization, keras.layers.PReLU)  # whatever they hold


@dataclasses.dataclass(frozen=True)
class TaskMacs:
    """Multiply-accumulates of one task, unfolded, as it trains.

    Attributes:
        convolutions: of the encoder, those of the bank too.
        modulators: of the adapters behind the bank, in a decoder too; most of them fold away for deployment.
        decoder: with the head.
    """

    convolutions: int
    modulators: int
    decoder: int

    @property
    def total(self) -> int:
        return sum(dataclasses.astuple(self))


@dataclasses.dataclass(frozen=True)
class MacReport:
    """Multiply-accumulates of a model for one image; `str(report)` is a table.

    Attributes:
        image_shape: `(height, width, channels)`.
        tasks: `{task: TaskMacs}`. What several tasks share is counted in each.
        total: of all tasks together, in one call. The encoder of `multi_task` and `fine_tune` runs once. Otherwise it
            runs once for each task, whatever weights it shares, for a task's own norms and modulators stand between;
            but what stands before the first of them runs once.
        common: of what stands there: the stem's bank convolution, and stages shared as a whole.
    """

    image_shape: tuple[int, ...]
    tasks: dict[str, TaskMacs]
    total: int
    common: int = 0

    def __str__(self) -> str:
        title = "GMAC, {}x{}".format(*self.image_shape)
        width = max(map(len, (*self.tasks, title, "once for all")))
        roles = [field.name for field in dataclasses.fields(TaskMacs)]
        lines = [f"{title:<{width}}" + "".join(f"{role:>14}" for role in (*roles, "total"))]
        for name, macs in self.tasks.items():
            counts = (*dataclasses.astuple(macs), macs.total)
            lines.append(f"{name:<{width}}" + "".join(f"{count / 1e9:>14.3f}" for count in counts))
        if self.common:
            lines.append(f"{'once for all':<{width + 14 * len(roles)}}{self.common / 1e9:>14.3f}")
        lines.append(f"{'all':<{width + 14 * len(roles)}}{self.total / 1e9:>14.3f}")
        return "\n".join(lines)


def mac_report(
    branches: Mapping[str, keras.Model],
    image_shape: Sequence[int | None],
    joint_branch: keras.Model | None = None,
    common_part: keras.Model | None = None,
) -> MacReport:
    """The `MacReport` of `{task: branch}` on images of `image_shape`.

    Args:
        branches: `{task: functional model}`.
        image_shape: `(height, width, channels)`.
        joint_branch: one functional model for all tasks, where they share what runs once; `None`: they do not.
        common_part: what all branches compute alike, see `FilterBank.common_part`; `None`: nothing.

    Counted are convolutions, dense layers (`EinsumDense` too) and adapters; additions, norms, activations, resizing and
    the products of maps with each other, as of queries and keys in attention, are not. Of a dilated kernel what is
    computed counts, see `rc_keras.base.convolution.tap_positions`. Of a model or layer that is made of layers, what it
    calls counts.

    Raises:
        ValueError: if height or width is `None`, or a layer has kernels that it is not known how to count, such as one
            that does not tell by its public `call`, on symbolic tensors, which layers it uses them with.
    """
    shape = tuple(size for size in image_shape if size is not None)
    if len(shape) < len(image_shape):
        raise ValueError(f"`image_shape` must hold no None to count in. Received: image_shape={tuple(image_shape)}")
    tasks = {name: _count(branch, shape) for name, branch in branches.items()}
    if joint_branch is not None:
        return MacReport(shape, tasks, _count(joint_branch, shape).total)
    total = sum(macs.total for macs in tasks.values())
    if common_part is None:
        return MacReport(shape, tasks, total)
    common = _count(common_part, shape).total
    # A task that is not dense does not compute what decoders have in common.
    in_tasks = sum(_count(branch, shape, within=common_part).total for branch in branches.values())
    return MacReport(shape, tasks, total - in_tasks + common, common)


def _count(branch: keras.Model, image_shape: tuple[int, ...], within: keras.Model | None = None) -> TaskMacs:
    """What a network computes; of the layers of another one alone, where that is given."""
    counts = dict.fromkeys((field.name for field in dataclasses.fields(TaskMacs)), 0)
    counted = {layer.name for layer in (branch if within is None else within).layers}

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        outputs = _called(layer, args, kwargs)
        if layer.name not in counted:
            return outputs
        name = layer.name.removeprefix(f"{branch.name}{SEPARATOR}")
        role = "decoder" if name.startswith(PREFIX) else "convolutions"
        _add(counts, role, layer, outputs, args, kwargs)
        return outputs

    # Windows and the like may become part of the first axis: of one image, all axes count.
    walked(branch, call, keras.Input(batch_shape=(1, *image_shape)))
    return TaskMacs(**counts)


def _called(layer: keras.Operation, args: Any, kwargs: Any) -> Any:
    """What a layer answers, for the sizes at hand."""
    outputs = layer(*args, **kwargs)
    inside = layer.layer if isinstance(layer, Frozen) else layer
    if isinstance(inside, keras.layers.EinsumDense):
        return keras.ops.reshape(outputs, einsum_sizes(inside, _shape(_input(args, kwargs)))[1])
    return outputs


def _input(args: Any, kwargs: Any) -> Tensor:
    return args[0] if args else kwargs["inputs"]


def _add(counts: dict[str, int], role: str, layer: keras.Operation, outputs: Any, args: Any, kwargs: Any) -> None:
    """Adds what one call of a layer computes."""
    if isinstance(layer, Frozen):
        layer = layer.layer
    if isinstance(layer, Adapter):
        counts["modulators"] += layer.macs(_positions(outputs))
    elif isinstance(layer, ConcatConvolution):
        counts[role] += layer.macs([tuple(x.shape) for x in args[0]])
    elif isinstance(layer, _KERNELS):
        counts[role] += _macs(layer, _input(args, kwargs), outputs)
    elif isinstance(layer, keras.layers.EinsumDense):
        counts[role] += math.prod(einsum_sizes(layer, _shape(_input(args, kwargs)))[0].values())
    elif isinstance(layer, keras.layers.SeparableConv2D):
        kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
        counts[role] += _positions(outputs) * sum(math.prod(kernel.shape) for kernel in kernels)
    elif _kernels(layer) and not isinstance(layer, _NOT_COUNTED):

        def call(part: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            outputs = _called(part, args, kwargs)
            _add(counts, role, part, outputs, args, kwargs)
            return outputs

        walked(_inside(layer, args, kwargs), call)


def _inside(layer: keras.Layer, args: Any, kwargs: Any) -> keras.Model:
    """What a layer calls, where that uses all its kernels."""

    def sized(x: Any) -> Any:
        return keras.KerasTensor(_shape(x), x.dtype) if isinstance(x, keras.KerasTensor) else x

    if isinstance(layer, _ATTENTION):
        kwargs = {**kwargs, "use_causal_mask": False}  # which counts nothing, and needs sizes that Keras loses
    try:
        inside = traced(layer, *keras.tree.map_structure(sized, (args, kwargs)))
    except Exception:  # whatever a layer of the user's own makes of symbolic tensors
        inside = None
    if inside is None or not _kernels(layer) <= _kernels(inside):
        known = sorted(kind.__name__ for kind in (*_KERNELS, *_OTHERS))
        raise ValueError(
            f"Layers with kernels must be of {', '.join(known)}, or call such layers in their public `call`, to be "
            f"counted. Received: {layer.name!r}, of {type(layer).__name__}"
        )
    return inside


def _kernels(layer: keras.Operation) -> set[int]:
    """The ids of the weights of more than one axis; operations have none."""
    return {id(weight) for weight in getattr(layer, "weights", ()) if len(weight.shape) > 1}


def _macs(layer: keras.layers.Layer, inputs: Tensor, outputs: Tensor) -> int:
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return _positions(inputs) * math.prod(layer.kernel.shape)
    if _leaves_padding_out(layer):
        positions = tap_positions(layer.kernel_size, inputs.shape[1:3], layer.dilation_rate)
        return _shape(inputs)[0] * positions * math.prod(layer.kernel.shape[2:])
    return _positions(outputs) * math.prod(layer.kernel.shape)


def _leaves_padding_out(layer: keras.layers.Layer) -> bool:
    """Whether it is a dilated convolution whose taps on padding need not be computed."""
    if not isinstance(layer, (BankConv2D, keras.layers.Conv2D)) or max(layer.dilation_rate) == 1:
        return False
    return layer.padding == "same" and max(layer.strides) == 1 and all(size % 2 for size in layer.kernel_size)


def _positions(tensor: Tensor) -> int:
    return math.prod(_shape(tensor)[:-1])


def _shape(tensor: Tensor) -> tuple[int, ...]:
    """Of one image also where a layer has left the number of them open."""
    return tuple(1 if at == 0 and size is None else size for at, size in enumerate(tensor.shape))
