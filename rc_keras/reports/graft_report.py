"""What a bank shares of a backbone, and what each task has of its own."""

import dataclasses
import math
import warnings
from collections.abc import Sequence

import keras
from absl import logging

from rc_keras import backbones
from rc_keras.backbones.output_stride import with_output_stride
from rc_keras.base.uncompiled import uncompiled
from rc_keras.layers import Adapter, BankConv2D, Frozen
from rc_keras.methods import Method
from rc_keras.network.adapters import adapter_size
from rc_keras.network.bank_network import (
    in_convolutions,
    method_with,
    opened_backbone,
    stage_layers,
    without_reserved_names,
)
from rc_keras.network.branch import count_parameters
from rc_keras.network.donor import HEAD
from rc_keras.network.features import check_functional, with_named_features
from rc_keras.network.opened import is_composite, opened
from rc_keras.network.template import make_template

_TOLD = 5  # copied layers that a warning names


@dataclasses.dataclass(frozen=True)
class LayerShare:
    """What becomes of the weights of a layer; moving statistics are not counted.

    Attributes:
        kernel: its shape, `(k_h, k_w, c_in / groups, c_out)` of a convolution; empty for a layer without.
        parameters: of the plain layer.
        bank: of it in the bank.
        added: of the adapter, gains and bias that each task has behind the bank.
        copied: that each task has a copy of.
        how: the adapter, or why the layer is copied.
    """

    name: str
    kernel: tuple[int, ...]
    parameters: int
    bank: int
    added: int
    copied: int
    how: str


@dataclasses.dataclass(frozen=True)
class GraftReport:
    """What a bank shares of a backbone, and what each task has of its own; `str(report)` is a table.

    Attributes:
        backbone: its name.
        method: the name of the method.
        layers: those with weights; where nested models or composite layers were opened, the layers within.
    """

    backbone: str
    method: str
    layers: tuple[LayerShare, ...]

    @property
    def parameters(self) -> int:
        """Of the plain backbone."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def bank(self) -> int:
        """Of it in the bank."""
        return sum(layer.bank for layer in self.layers)

    @property
    def added(self) -> int:
        """Of the adapters that each task has."""
        return sum(layer.added for layer in self.layers)

    @property
    def copied(self) -> int:
        """That each task has copies of."""
        return sum(layer.copied for layer in self.layers)

    @property
    def per_task(self) -> float:
        """What a task adds, without a decoder, as a share of the plain backbone."""
        return (self.added + self.copied) / self.parameters

    @property
    def shared(self) -> float:
        """The share of the backbone in layers that are shared, whatever a bank drops of their responses."""
        return sum(layer.parameters for layer in self.layers if layer.bank) / self.parameters

    @property
    def summary(self) -> str:
        """One line."""
        bank = f"bank {_short(self.bank)} of {_short(self.parameters)} ({_percent(self.bank / self.parameters)})"
        return f"{bank}; per task {_short(self.added)} + {_short(self.copied)} copied"

    def __str__(self) -> str:
        rows = [layer for layer in self.layers if layer.kernel]
        small = [layer for layer in self.layers if not layer.kernel]
        rows += [_sum("norms and others", small)] if small else []
        rows.append(_sum("all", self.layers))
        width = max(len(row.name) for row in (*rows, LayerShare(self.method, (), 0, 0, 0, 0, "")))
        lines = [f"{self.method:<{width}}{'kernel':>18}{'parameters':>14}{'bank':>14}{'added':>12}{'copied':>12}"]
        for row in rows:
            kernel, counts = "x".join(map(str, row.kernel)), f"{row.parameters:>14,}{row.bank:>14,}"
            line = f"{row.name:<{width}}{kernel:>18}{counts}{row.added:>12,}{row.copied:>12,}  {row.how}"
            lines.append(line.rstrip())
        return "\n".join([*lines, f"{self.backbone}: {self.summary}"])


def graft_report(
    backbone: str | keras.Model,
    method: str | Method = "rcm",
    pointwise_rank: int | None = None,
    shared_stages: int | str = 0,
    output_stride: int | None = None,
) -> GraftReport:
    """What `rc_keras.build` would share of a backbone, and what each task would have of its own.

    Example:

    >>> network = keras.applications.MobileNetV2(include_top=False, weights=None)
    >>> print(rc_keras.graft_report(network, pointwise_rank=8).summary)
    bank 2.1 M of 2.2 M (95 %); per task 156.7 k + 100.7 k copied

    Args:
        backbone: a key of `rc_keras.backbones.BACKBONES`, or a functional `keras.Model`, which stays as it is.
        method, pointwise_rank, shared_stages, output_stride: see `rc_keras.build`. What `response_energy` keeps depends
            on responses, and is not told here.

    Returns:
        A `GraftReport`.

    Raises:
        ValueError: as `rc_keras.build`, and for a method without a frozen bank.
    """
    method = method_with(method, pointwise_rank)
    if not method.shares_kernels:
        raise ValueError(f"`method` must be one with a frozen bank. Received: method={method.name!r}")
    if not isinstance(backbone, keras.Model):
        backbone = backbones.get(backbone)(output_stride=16 if output_stride is None else output_stride)
    else:
        check_functional(backbone)
        backbone = uncompiled(backbone)
        if output_stride is not None:
            encoder = with_named_features(opened(backbone, composite_layers=True), dense=False)
            backbone = with_output_stride(encoder, output_stride)
    network = opened_backbone(without_reserved_names(backbone), method)
    stages = stage_layers(network, method, shared_stages)
    return graft_report_of(make_template(in_convolutions(network, method), method, frozen=stages), method)


def graft_report_of(template: keras.Model, method: Method) -> GraftReport:
    """The `GraftReport` of a `FilterBank.template`."""
    behind: dict[str, list[Adapter]] = {}  # by the name of a bank convolution
    for layer in template.layers:
        if isinstance(layer, Adapter):
            behind.setdefault(layer.name.removesuffix(f"_{layer.suffix}"), []).append(layer)
    shares = []
    for layer in template.layers:
        own = count_parameters(getattr(layer, "weights", ()))
        if isinstance(layer, BankConv2D):
            adapters = behind.get(layer.name, [])
            added = count_parameters(w for adapter in adapters for w in adapter.weights)
            channels = adapters[0].output.shape[-1] if adapters else layer.filters
            kernel = (*map(int, layer.kernel.shape[:-1]), channels)
            biases = sum(channels for adapter in adapters if adapter.use_bias)
            how = type(adapters[0]).__name__ if adapters else "the kernel"
            shares.append(LayerShare(layer.name, kernel, math.prod(kernel) + biases, own, added, 0, how))
        elif isinstance(layer, Frozen):
            shares.append(LayerShare(layer.name, _kernel(layer), own, own, 0, 0, "in shared stages"))
        elif own and not isinstance(layer, Adapter) and layer.name != HEAD:
            shares.append(LayerShare(layer.name, _kernel(layer), own, 0, 0, own, _why_copied(layer, method)))
    return GraftReport(template.name, method.name, tuple(shares))


def tell(report: GraftReport) -> None:
    """Says what is shared, in one line where Keras shows its progress, and warns where it is less than half."""
    line = f"{report.backbone}: {report.summary}"
    if keras.config.is_interactive_logging_enabled():
        print(line)
    else:
        logging.info("%s", line)
    if report.shared >= 0.5:
        return
    copied = sorted((layer for layer in report.layers if layer.copied), key=lambda layer: -layer.copied)
    named = [f"{layer.name} ({_short(layer.copied)}, {layer.how})" for layer in copied[:_TOLD]]
    more = f" and {len(copied) - _TOLD} more layers" if len(copied) > _TOLD else ""
    warnings.warn(
        f"{_percent(report.shared)} of {report.backbone!r} is in layers that tasks share: {report.summary}. "
        f"Not shared: {', '.join(named)}{more}. `rc_keras.graft_report(backbone, ...)` lists all layers.",
        stacklevel=3,
    )


def _why_copied(layer: keras.Layer, method: Method) -> str:
    kind = type(layer).__name__
    if not _kernel(layer):
        return kind
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return "depthwise"
    if isinstance(layer, keras.Model) or is_composite(layer):
        return f"{kind} is not looked into"
    if isinstance(layer, (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.SeparableConv2D)):
        return f"{kind}, without pointwise_rank" if method.pointwise is None else f"{kind} of another form"
    if isinstance(layer, keras.layers.Conv2D):
        return f"a task would add {adapter_size(method, layer):,}"
    return kind


def _kernel(layer: keras.Layer) -> tuple[int, ...]:
    """The shape of the largest weight, if it is no vector."""
    shapes = [tuple(map(int, weight.shape)) for weight in layer.weights]
    return max((shape for shape in shapes if len(shape) > 1), key=math.prod, default=())


def _sum(name: str, layers: Sequence[LayerShare]) -> LayerShare:
    counts = zip(*((row.parameters, row.bank, row.added, row.copied) for row in layers), strict=True)
    parameters, bank, added, copied = map(sum, counts)
    return LayerShare(name, (), parameters, bank, added, copied, "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _short(count: int) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)
