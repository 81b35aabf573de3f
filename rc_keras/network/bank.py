"""The filter bank: the frozen kernels all tasks share, and the pretrained network each task starts from."""

import json
import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from rc_keras.files import safetensors_file
from rc_keras.files.named_weights import assign_named, named_arrays, named_variables
from rc_keras.layers import Adapter, BankConv2D, BatchNormalization, Conv2D
from rc_keras.methods import Method, get_method
from rc_keras.network import response_init, truncation
from rc_keras.network.adapters import adapter_of, adapter_size, make_adapters
from rc_keras.network.residual_blocks import with_squeeze_excite

BANK_FORMAT = "rc_keras.bank.1"
SUFFIX = ".safetensors"


class FilterBank:
    """The part of a pretrained network that no task owns.

    Built from a plain functional network, it holds a `template`: the same network with every convolution to be shared
    replaced by a frozen `BankConv2D` followed by a `Modulator`, or another adapter, which together compute what the
    convolution computed. A convolution is shared exactly when its adapter is the smaller of the two, for a modulator
    `c_out < k_h k_w c_in / groups`. Each task starts as a copy of the template that shares the `BankConv2D` layers and
    owns all the rest.

    With the methods that train a shared encoder the bank holds no kernels, and the template is that encoder.

    With response initialization (RI; RCM section 3.3) the kernels are rotated into the eigenbasis U of their responses,
    strongest response first: `W_s = U^T W`, and modulators start as `W_t = U`.

    Args:
        backbone: a functional `keras.Model` with one image input, channels last, with its weights. It is copied.
        method: name of the method, a key of `rc_keras.methods.METHODS`.
        response_images: images for RI, see `response_init.response_statistics`. `None`: the data-free form, the
            eigenbasis of `W W^T`, as if the inputs of every kernel were white.
        response_energy: the share of the responses' variance to keep, above 0 and at most 1, for methods with RI.
            Each convolution then has its leading responses alone, and modulators are `rank x c_out`; what takes in
            more convolutions, see `truncation.leading_responses`. The pretrained function is kept up to the energy.
            `None` and 1: all responses.

    Attributes:
        method: the `Method`.
        template: the functional `keras.Model` described above.
        convolutions: `{name: BankConv2D}`.
        response_report: `response_init.ResponseReport` of a bank that was made here; `None` without RI, and for a
            bank that was loaded.
    """

    def __init__(
        self,
        backbone: keras.Model,
        method: str | Method = "rcm",
        response_images: Any = None,
        response_energy: float | None = None,
    ) -> None:
        self.method = get_method(method)
        if response_images is not None and not self.method.response_init:
            raise ValueError(
                f"`response_images` must be None for method {self.method.name!r}, which does not use response "
                "initialization."
            )
        truncation.check_energy(response_energy, self.method)
        self.response_report = None
        energy = 1 if response_energy is None else response_energy
        self.template = _make_template(backbone, self.method, _all_filters(backbone) if energy < 1 else None)
        if not self.method.response_init:
            return
        self.response_report, means = response_init.rotate(self.template, self.method, response_images)
        if energy < 1:
            wide, report = self.template, self.response_report
            kept = truncation.leading_responses(wide, self.method, report, energy)
            self.template = _make_template(backbone, self.method, {name: found.rank for name, found in kept.items()})
            truncation.keep_leading(wide, self.template, self.method, means)
            spectra = {name: report.spectra[name] for name in kept}
            self.response_report = response_init.ResponseReport(report.images, spectra, kept)

    @classmethod
    def from_template(cls, template: keras.Model, method: str | Method) -> "FilterBank":
        """A bank around an existing template, whose weights may still be loaded."""
        bank = cls.__new__(cls)
        bank.method, bank.template, bank.response_report = get_method(method), template, None
        return bank

    def for_backbone(self, backbone: keras.Model) -> "FilterBank":
        """The same bank in new layers, for a network of the same weights but another input size or output stride."""
        template = _make_template(backbone, self.method, self.ranks)
        assign_named(named_variables(template.layers), named_arrays(self.template.layers), "the bank")
        return self.from_template(template, self.method)

    @property
    def convolutions(self) -> dict[str, BankConv2D]:
        return {layer.name: layer for layer in self.template.layers if isinstance(layer, BankConv2D)}

    @property
    def ranks(self) -> dict[str, int] | None:
        """`{name: number of responses}` of a truncated bank; `None` where all are kept."""
        if not self.method.response_init:
            return None
        ranks = {name: layer.filters for name, layer in self.convolutions.items()}
        adapters = {name: adapter_of(self.template, name, self.method) for name in ranks}
        shapes = {name: a.compute_output_shape((None, None, None, ranks[name])) for name, a in adapters.items()}
        return None if all(ranks[name] == shape[-1] for name, shape in shapes.items()) else ranks

    @property
    def size(self) -> int:
        """Number of shared weights."""
        return sum(int(np.prod(layer.kernel.shape)) for layer in self.convolutions.values())

    @property
    def fingerprint(self) -> str:
        """sha256 over the sorted names, shapes, dtypes and bytes of the shared kernels, 64 hexadecimal digits."""
        kernels = {name: keras.ops.convert_to_numpy(layer.kernel) for name, layer in self.convolutions.items()}
        return safetensors_file.digest(kernels)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the bank, and what new tasks start from, to one `.safetensors` file.

        Raises:
            ValueError: if the suffix is another one.
            OSError: if the file cannot be written; what stood there before stays.
        """
        safetensors_file.write(path, SUFFIX, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content of the file that `save` writes."""
        metadata = {"fingerprint": self.fingerprint, "method": self.method.name}
        if self.ranks is not None:
            metadata["ranks"] = json.dumps(self.ranks)
        return safetensors_file.to_bytes(BANK_FORMAT, named_arrays(self.template.layers), metadata)

    @classmethod
    def load(cls, path: str | os.PathLike, backbone: keras.Model) -> "FilterBank":
        """Reads a bank written by `save`.

        Args:
            path: the file.
            backbone: the plain network the bank was made from; only its structure is used.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is no bank, is damaged, or was made from another network. Differences are listed by
                name.
        """
        tensors, metadata = safetensors_file.read(path, SUFFIX, BANK_FORMAT)
        method = get_method(metadata["method"])
        ranks = json.loads(metadata["ranks"]) if "ranks" in metadata else None
        template = _make_template(backbone, method, ranks)
        assign_named(named_variables(template.layers), tensors, os.fspath(path))
        return cls.from_template(template, method)


def is_shared(layer: keras.Operation, method: Method) -> bool:
    """Whether `layer` is a convolution whose kernel goes into the bank (the graft rule).

    Raises:
        ValueError: if the layer is a convolution with channels first.
    """
    return method.shares_kernels and _is_convolution(layer) and adapter_size(method, layer) < _size(layer)


def _is_convolution(layer: keras.Operation) -> bool:
    if type(layer) not in (keras.layers.Conv2D, Conv2D):
        return False  # a subclass may compute something else with its kernel
    if layer.data_format != "channels_last":
        raise ValueError(
            f"Convolutions must have data_format='channels_last'. Received: layer {layer.name!r} with "
            f"data_format={layer.data_format!r}."
        )
    return True


def _size(convolution: keras.layers.Conv2D) -> int:
    return int(np.prod(convolution.kernel.shape))


def _all_filters(network: keras.Model) -> dict[str, int]:
    return {layer.name: layer.filters for layer in network.layers if _is_convolution(layer)}


def copy_layer(layer: keras.Operation, name: str | None = None) -> keras.Operation:
    """A fresh layer with the configuration of `layer`, in the class of this package where there is one.

    It computes the same; but see `rc_keras.layers.BatchNormalization` for the moving variance.
    """
    faster: dict[type[keras.Operation], type[keras.Operation]] = {
        keras.layers.Conv2D: Conv2D,
        keras.layers.BatchNormalization: BatchNormalization,
    }
    config = layer.get_config()
    if name is not None:
        config["name"] = name
    return faster.get(type(layer), type(layer)).from_config(config)


def _make_template(backbone: keras.Model, method: Method, ranks: Mapping[str, int] | None = None) -> keras.Model:
    """The template of a network; with `ranks` they say which convolutions are shared, and with how many responses."""
    if not isinstance(backbone, keras.Model) or isinstance(backbone, keras.Sequential) or not backbone.inputs:
        raise ValueError(f"`backbone` must be a functional keras.Model. Received: backbone={backbone!r}")
    if len(backbone.inputs) != 1 or len(backbone.inputs[0].shape) != 4:
        shapes = [tensor.shape for tensor in backbone.inputs]
        raise ValueError(
            f"`backbone` must have one image input (batch, height, width, channels). Received: input shapes {shapes}"
        )
    for layer in backbone.layers:
        if layer.name == "output" or layer.name.startswith("decoder_"):
            raise ValueError(
                "`backbone` must not have a layer named 'output' or 'decoder_…', names that each task's branch uses. "
                f"Received: layer {layer.name!r}"
            )
    if ranks is None:
        ranks = {layer.name: layer.filters for layer in backbone.layers if is_shared(layer, method)}
    else:
        _check_ranks(ranks, backbone)
    originals = {}  # name of a bank convolution: the layer it stands for

    def clone(layer: keras.Operation) -> keras.Operation:
        if layer.name not in ranks:
            return copy_layer(layer)
        originals[layer.name] = layer
        return BankConv2D(
            ranks[layer.name],
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
            groups=layer.groups,
            dtype=layer.dtype_policy,
            name=layer.name,
        )

    adapters = {}  # a convolution that is called twice has one of each

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        if not isinstance(layer, BankConv2D):
            return outputs
        if layer.name not in adapters:
            adapters[layer.name] = make_adapters(method, originals[layer.name])
        for adapter in adapters[layer.name]:
            takes_inputs = isinstance(adapter, Adapter) and adapter.takes_inputs
            outputs = adapter(outputs, args[0]) if takes_inputs else adapter(outputs)
        return outputs

    template = keras.models.clone_model(backbone, clone_function=clone, call_function=call)
    if method.shares_kernels and not originals:
        raise ValueError(
            f"`backbone` must hold convolutions larger than what a task adds to them for method {method.name!r}. "
            f"Received: {backbone.name!r} without any (models nested in it are not looked into)"
        )
    for layer in backbone.layers:
        if layer.name in originals:
            kernel = keras.ops.convert_to_numpy(layer.kernel)[..., : ranks[layer.name]]
            template.get_layer(layer.name).kernel.assign(kernel)
            if layer.use_bias:
                biased = (a for a in adapters[layer.name] if isinstance(a, Adapter) and a.use_bias)
                copy_variable(layer.bias, next(biased).bias)
        elif layer.weights:
            copy_weights(layer, template.get_layer(layer.name))
    return with_squeeze_excite(template) if method.squeeze_excite else template


def _check_ranks(ranks: Any, network: keras.Model) -> None:
    filters = _all_filters(network)
    for name, rank in ranks.items():
        if not isinstance(rank, int) or not 1 <= rank <= filters.get(name, 0):
            raise ValueError(
                "`backbone` must hold the convolutions of the bank, with at least as many filters as it has responses. "
                f"Received: {network.name!r} with {filters.get(name, 0)} filters of {name!r} for rank={rank!r}"
            )


def copy_weights(source: keras.Layer, target: keras.Layer) -> None:
    """Assigns the weights of a layer to another layer of the same configuration."""
    for old, new in zip(source.weights, target.weights, strict=True):
        copy_variable(old, new)


def copy_variable(source: keras.Variable, target: keras.Variable) -> None:
    """Assigns the value of a variable; by way of NumPy, since JAX would let both share one buffer."""
    target.assign(keras.ops.convert_to_numpy(source))
