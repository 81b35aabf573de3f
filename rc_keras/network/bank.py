"""The filter bank: the frozen kernels all tasks share, and the pretrained network each task starts from."""

import functools
import json
import os
from typing import Any

import keras
import numpy as np

from rc_keras.files import safetensors_file
from rc_keras.files.named_weights import assign_named, named_arrays, named_variables
from rc_keras.layers import Adapter, BankConv2D, BatchNormalization, Conv2D, Frozen
from rc_keras.methods import Method, get_method
from rc_keras.network import response_init
from rc_keras.network.adapters import adapter_size, make_adapters
from rc_keras.network.common_part import common_part
from rc_keras.network.residual_blocks import with_squeeze_excite
from rc_keras.network.shared_stages import shared_layers

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

    The stem and the first stages can be shared as a whole: there the template has the plain layers, each as a `Frozen`
    one, without anything of a task's own.

    With response initialization (RI; RCM section 3.3) the kernels are rotated into the eigenbasis U of their responses,
    strongest response first: `W_s = U^T W`, and modulators start as `W_t = U`.

    Args:
        backbone: a functional `keras.Model` with one image input, channels last, with its weights. It is copied.
        method: name of the method, a key of `rc_keras.methods.METHODS`.
        response_images: images for RI, see `response_init.response_statistics`. `None`: the data-free form, the
            eigenbasis of `W W^T`, as if the inputs of every kernel were white.
        shared_stages: how many stages are shared as a whole, or the name of their last layer, see
            `shared_stages.shared_layers`; 0: none.

    Attributes:
        method: the `Method`.
        shared_stages: as given.
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
        shared_stages: int | str = 0,
    ) -> None:
        self.method, self.shared_stages = get_method(method), shared_stages
        if response_images is not None and not self.method.response_init:
            raise ValueError(
                f"`response_images` must be None for method {self.method.name!r}, which does not use response "
                "initialization."
            )
        self.template = _make_template(backbone, self.method, shared_stages)
        self.response_report = None
        if self.method.response_init:
            self.response_report = response_init.rotate(self.template, self.method, response_images)

    @classmethod
    def from_template(cls, template: keras.Model, method: str | Method, shared_stages: int | str = 0) -> "FilterBank":
        """A bank around an existing template, whose weights may still be loaded."""
        bank = cls.__new__(cls)
        bank.method, bank.template, bank.response_report = get_method(method), template, None
        bank.shared_stages = shared_stages
        return bank

    def for_backbone(self, backbone: keras.Model) -> "FilterBank":
        """The same bank in new layers, for a network of the same weights but another input size or output stride."""
        template = _make_template(backbone, self.method, self.shared_stages)
        assign_named(named_variables(template.layers), named_arrays(self.template.layers), "the bank")
        return self.from_template(template, self.method, self.shared_stages)

    @property
    def convolutions(self) -> dict[str, BankConv2D]:
        return {layer.name: layer for layer in self.template.layers if isinstance(layer, BankConv2D)}

    @property
    def frozen_layers(self) -> list[Frozen]:
        """The layers of the stages that are shared as a whole."""
        return [layer for layer in self.template.layers if isinstance(layer, Frozen)]

    @functools.cached_property
    def common_part(self) -> keras.Model | None:
        """See `common_part.common_part`; `None` also where tasks train an encoder in common."""
        return None if self.method.shared_encoder is not None else common_part(self.template)

    @property
    def size(self) -> int:
        """Number of shared weights; moving statistics are not counted."""
        shared = [layer.kernel for layer in self.convolutions.values()]
        shared += [w for layer in self.frozen_layers for w in layer.weights if not w.name.startswith("moving_")]
        return sum(int(np.prod(w.shape)) for w in shared)

    @property
    def fingerprint(self) -> str:
        """sha256 over the sorted names, shapes, dtypes and bytes of what tasks share, 64 hexadecimal digits.

        That is the kernels, and all weights of the stages that are shared as a whole.
        """
        kernels = {name: keras.ops.convert_to_numpy(layer.kernel) for name, layer in self.convolutions.items()}
        return safetensors_file.digest(kernels | named_arrays(self.frozen_layers))

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
        if self.shared_stages:
            metadata["shared_stages"] = json.dumps(self.shared_stages)
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
        shared_stages = json.loads(metadata.get("shared_stages") or "0")
        template = _make_template(backbone, method, shared_stages)
        assign_named(named_variables(template.layers), tensors, os.fspath(path))
        return cls.from_template(template, method, shared_stages)


def is_shared(layer: keras.Operation, method: Method) -> bool:
    """Whether `layer` is a convolution whose kernel goes into the bank (the graft rule).

    Raises:
        ValueError: if the layer is a convolution with channels first.
    """
    if not method.shares_kernels or type(layer) not in (keras.layers.Conv2D, Conv2D):
        return False  # a subclass may compute something else with its kernel
    if layer.data_format != "channels_last":
        raise ValueError(
            f"Convolutions must have data_format='channels_last'. Received: layer {layer.name!r} with "
            f"data_format={layer.data_format!r}."
        )
    return adapter_size(method, layer) < int(np.prod(layer.kernel.shape))


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


def _make_template(backbone: keras.Model, method: Method, shared_stages: int | str = 0) -> keras.Model:
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
    if shared_stages != 0 and not method.shares_kernels:
        raise ValueError(
            f"`shared_stages` must be 0 with method {method.name!r}, which has no frozen bank. "
            f"Received: shared_stages={shared_stages!r}"
        )
    frozen = shared_layers(backbone, shared_stages)
    originals = {}  # name of a bank convolution: the layer it stands for

    def clone(layer: keras.Operation) -> keras.Operation:
        if layer.name in frozen and layer.variables:
            return Frozen(copy_layer(layer))
        if layer.name in frozen or not is_shared(layer, method):
            return copy_layer(layer)
        originals[layer.name] = layer
        return BankConv2D(
            layer.filters,
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
    if method.shares_kernels and not originals and not frozen:
        raise ValueError(
            f"`backbone` must hold convolutions larger than what a task adds to them for method {method.name!r}. "
            f"Received: {backbone.name!r} without any (models nested in it are not looked into)"
        )
    for layer in backbone.layers:
        if layer.name in originals:
            copy_variable(layer.kernel, template.get_layer(layer.name).kernel)
            if layer.use_bias:
                biased = (a for a in adapters[layer.name] if isinstance(a, Adapter) and a.use_bias)
                copy_variable(layer.bias, next(biased).bias)
        elif layer.weights:
            copy_weights(layer, template.get_layer(layer.name))
    return with_squeeze_excite(template) if method.squeeze_excite else template


def copy_weights(source: keras.Layer, target: keras.Layer) -> None:
    """Assigns the weights of a layer to another layer of the same configuration."""
    for old, new in zip(source.weights, target.weights, strict=True):
        copy_variable(old, new)


def copy_variable(source: keras.Variable, target: keras.Variable) -> None:
    """Assigns the value of a variable; by way of NumPy, since JAX would let both share one buffer."""
    target.assign(keras.ops.convert_to_numpy(source))
