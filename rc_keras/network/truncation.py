"""Truncation: a bank of leading responses alone, those that keep a share of the energy."""

import numbers
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from rc_keras.base.float64 import as_float64
from rc_keras.layers import Adapter
from rc_keras.methods import Method
from rc_keras.network.adapters import adapter_of, adapter_size, method_of, own_convolutions
from rc_keras.network.chains import chains
from rc_keras.network.response_init import KeptResponses, ResponseReport

_MULTIPLE = 8  # of channels, as the kernels of most machines are made for


def check_energy(energy: float | None, method: Method) -> None:
    """Raises `ValueError` unless `energy` is `None`, or a number in (0, 1] and the method has ordered responses."""
    if energy is None:
        return
    if not method.response_init:
        raise ValueError(
            f"`response_energy` must be None for method {method.name!r}, which does not use response initialization. "
            f"Received: response_energy={energy!r}"
        )
    if isinstance(energy, bool) or not isinstance(energy, numbers.Real) or not 0 < energy <= 1:
        raise ValueError(
            "`response_energy` must be a share of the energy, above 0 and at most 1. "
            f"Received: response_energy={energy!r}"
        )


def leading_responses(
    template: keras.Model, method: Method, report: ResponseReport, energy: float
) -> dict[str, KeptResponses]:
    """What a truncated bank keeps of each convolution, and which convolutions it takes in.

    Kept is the smallest multiple of 8 that holds `energy`. Nothing is dropped of a convolution in groups, for each
    group would have a rank of its own, nor of one that has neither a bias nor a batch norm behind it, since the mean
    of what is dropped needs a place. A convolution is taken in where `rank · c_out < k_h k_w c_in c_out / groups`.

    Args:
        template: with every convolution as a `BankConv2D`, rotated.
        method: its `Method`.
        report: the spectra.
        energy: the share to keep, in (0, 1].

    Returns:
        `{name of a convolution that is shared: KeptResponses}`.
    """
    norms = _norms_behind(template)
    kept = {}
    for layer in own_convolutions(template, method):
        adapter = adapter_of(template, layer.name, method)
        rank = layer.filters
        if layer.groups == 1 and (adapter.name in norms or adapter.use_bias):
            rank = min(rank, -(-report.rank(layer.name, energy) // _MULTIPLE) * _MULTIPLE)
        if rank * layer.filters < int(np.prod(layer.kernel.shape)):
            kept[layer.name] = KeptResponses(rank, layer.filters, int(np.prod(layer.kernel.shape[:3])))
    return kept


def split_pointwise(
    network: keras.Model, names: Iterable[str], method: Method, kept: Mapping[str, KeptResponses]
) -> tuple[dict[str, KeptResponses], dict[str, int]]:
    """What is cut, and which pointwise kernels are shared whole instead, with the adapter of pointwise kernels.

    A pointwise kernel is cut where a modulator of the responses that are kept, `rank · c_out`, is smaller than that
    adapter, `2 · pointwise_rank · c_out`.

    Args:
        network: that the bank is made of, pointwise layers as convolutions.
        names: of the convolutions that could be shared.
        method: the `Method`.
        kept: see `leading_responses`.

    Returns:
        The `kept` that remain, and `{name: number of filters}`.
    """
    cut, whole = dict(kept), {}
    for name in names:
        layer, found = network.get_layer(name), kept.get(name)
        if method_of(method, layer) is method:
            continue
        size = adapter_size(method, layer)
        if found is not None and found.rank < found.channels and found.rank * found.channels < size:
            continue
        cut.pop(name, None)
        if size < int(np.prod(layer.kernel.shape)):
            whole[name] = layer.filters
    return cut, whole


def keep_leading(wide: keras.Model, template: keras.Model, method: Method, means: Mapping[str, np.ndarray]) -> None:
    """Fills the bank of a template, and the adapters behind it, with the leading responses of a wider one.

    With the rotated responses s = U^T W x a convolution is `y = Σ_i u_i s_i`. What is dropped, `Σ_(i≥r) u_i s_i`, has
    the mean `m = Σ_(i≥r) u_i E[s_i]`. Left out, it lowers the mean of y by m. A batch norm behind subtracts its moving
    mean, so that lowering this by m too leaves what it answers in the mean; a bias is raised by m instead.

    Args:
        wide: the rotated template.
        template: one of the same network, whose bank convolutions may have fewer filters.
        method: their `Method`.
        means: `{name of a bank convolution: E[s], (c_out,)}`; where it is missing, as without images, the moving mean
            of the norm behind says what E[y] is, and without norm it is taken to be zero.
    """
    norms = _norms_behind(template)
    for layer in own_convolutions(template, method):
        rank, source = layer.filters, wide.get_layer(layer.name)
        full, adapter = adapter_of(wide, layer.name, method), adapter_of(template, layer.name, method)
        found = full.linear_map()
        if found is None:
            raise ValueError(f"`method` must have an adapter with a `linear_map`. Received: {method.name!r}")
        matrix, offset = found  # rows are those of U^T
        layer.kernel.assign(as_float64(source.kernel)[..., :rank].astype("float32"))
        adapter.set_matrix(matrix[:rank].astype("float32"))
        norm = norms.get(adapter.name)
        if layer.name in means:
            mean = means[layer.name]
        else:
            mean = np.zeros(len(matrix)) if norm is None else matrix @ (as_float64(norm.moving_mean) - offset)
        dropped = mean[rank:] @ matrix[rank:]
        if norm is not None:
            norm.moving_mean.assign((as_float64(norm.moving_mean) - dropped).astype("float32"))
        elif adapter.use_bias:
            adapter.bias.assign((as_float64(adapter.bias) + dropped).astype("float32"))


def _norms_behind(template: keras.Model) -> dict[str, keras.layers.BatchNormalization]:
    """`{name of an adapter: the batch norm of its channels that alone uses its output}`."""
    return {
        adapter.name: norm
        for adapter, norm in chains(template)
        if isinstance(adapter, Adapter)
        and isinstance(norm, keras.layers.BatchNormalization)
        and norm.axis in (-1, len(norm.output.shape) - 1)
    }
