"""Loads pretrained weights into a plain backbone, by name: all of them or none."""

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Container, Iterator, Mapping
from typing import Any

import h5py
import keras
import numpy as np

from rc_keras.backbones import BACKBONES, KerasWeights, PublishedWeights
from rc_keras.backbones.keras_networks import own_names
from rc_keras.files.named_weights import array_for, assign_named, named_variables
from rc_keras.files.tensor_files import keras_datasets, read_tensors

# What is published for the backbones that have a name.
IMAGENET_WEIGHTS: dict[str, dict[str, Any]] = {
    name: dataclasses.asdict(backbone.weights) for name, backbone in BACKBONES.items() if backbone.weights is not None
}

# A Keras variable's name in torch, after the dot.
_TORCH_VARIABLES = {
    "weight": ("kernel", "gamma"),
    "bias": ("bias", "beta"),
    "running_mean": ("moving_mean",),
    "running_var": ("moving_variance",),
}
# The same of a separable convolution, which is two modules in torch.
_TORCH_PARTS = {
    "depthwise.weight": "depthwise_kernel",
    "pointwise.weight": "pointwise_kernel",
    "pointwise.bias": "bias",
}
_DEPTHWISE = (
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_CLASSIFIER = "fc"


def load_weights(backbone: keras.Model, source: str | os.PathLike[str]) -> None:
    """Loads pretrained weights into a backbone.

    Every weight of the backbone must be in the file with its shape, and every tensor of the file
    must belong to the backbone, except torch's `num_batches_tracked`, and a classifier `fc` where
    the backbone has none. Otherwise nothing is loaded, and one error lists all that does not fit.

    Args:
        backbone: a functional `keras.Model`: one of `rc_keras.backbones`, or any other.
        source: `"imagenet"` for published ImageNet weights, which are downloaded once (backbones
            with the name of one in `rc_keras.backbones.BACKBONES`; `keras.applications` downloads its own), or the path
            of a file: `.pth`, `.pt`,
            `.safetensors` or `.npz` with tensors named as in torchvision (`layer1.0.conv1.weight`)
            or in Keras (`layer1_0_conv1/kernel`, the name of the layer and of its variable), or
            what `save_weights` of a model with layers of the same names wrote (`.weights.h5`), in models
            within it too. Floats of any precision and byte order are brought to that of the backbone's
            variables.

            Torch's kernels are transposed: of `Conv` and `ConvTranspose` in 1 to 3 dimensions, with
            groups (torch's depthwise ones for a `DepthwiseConv2D`), and of `Linear`. A
            `SeparableConv2D` named `sep` takes `sep.depthwise.weight`, `sep.pointwise.weight` and
            `sep.pointwise.bias`. The rows of a `Dense` behind a `Flatten` are not reordered, and torch
            flattens channels first.

    Raises:
        OSError: if there is no such file, it may not be read, or the download fails.
        ValueError: if the file cannot be read or does not fit the backbone, or if there are no
            ImageNet weights for it.

    Example:

    >>> encoder = rc_keras.backbones.resnet18()
    >>> load_weights(encoder, "resnet18.pth")
    """
    if not isinstance(backbone, keras.Model) or not backbone.built:
        raise ValueError(f"`backbone` must be a functional keras.Model. Received: backbone={backbone}")
    published = _published(backbone.name) if source == "imagenet" else None
    if isinstance(published, KerasWeights):
        _load_from_keras(backbone, published, BACKBONES[backbone.name].image_size)
        return
    path = os.fspath(source) if published is None else _download(backbone.name, published)
    tensors = read_tensors(path)
    if path.endswith(".weights.h5"):
        _load_keras_weights(backbone, tensors, path)
    else:
        _load_named_weights(backbone, tensors, path)


def _load_named_weights(backbone: keras.Model, tensors: dict[str, np.ndarray], path: str) -> None:
    named = _named_variables(backbone)
    expected = {name: (tuple(v.shape), keras.backend.standardize_dtype(v.dtype)) for name, (v, _) in named.items()}
    depthwise = {name for name, (_, layer) in named.items() if isinstance(layer, _DEPTHWISE)}
    values: dict[str, np.ndarray] = {}
    names_in_file: dict[str, str] = {}
    for name_in_file, value in tensors.items():
        name, value = _keras_style(name_in_file, value, expected, depthwise)
        _put(name, value, name_in_file, values, names_in_file, path)
    fitting = _fitting_values(expected, values, names_in_file, path)
    for name, (variable, _) in named.items():
        variable.assign(fitting[name])


def _put(
    name: str,
    value: np.ndarray,
    name_in_file: str,
    values: dict[str, np.ndarray],
    names_in_file: dict[str, str],
    path: str,
) -> None:
    """Adds a tensor of a file to those that were found."""
    if name in values:
        raise ValueError(f"{path} has two tensors for '{name}': '{names_in_file[name]}' and '{name_in_file}'.")
    values[name] = value
    names_in_file[name] = name_in_file


def _opened_name(name: str, expected: Container[str]) -> str:
    """The name of a tensor of a model within a model, where the backbone has that model's layers as its own."""
    opened = name
    while opened not in expected and "/" in opened:
        opened = opened.partition("/")[2]
    return opened if opened in expected else name


def _load_keras_weights(backbone: keras.Model, tensors: dict[str, np.ndarray], path: str) -> None:
    """Loads a `.weights.h5` file by way of one of the backbone's own, whose layout Keras knows."""
    with tempfile.TemporaryDirectory() as folder:
        own_path = os.path.join(folder, "own.weights.h5")
        backbone.save_weights(own_path)
        with h5py.File(own_path, "r+") as file:
            datasets = keras_datasets(file)
            expected = {name: (d.shape, d.dtype.name) for name, d in datasets.items()}
            values: dict[str, np.ndarray] = {}
            names_in_file: dict[str, str] = {}
            for name_in_file, value in tensors.items():
                _put(_opened_name(name_in_file, expected), value, name_in_file, values, names_in_file, path)
            fitting = _fitting_values(expected, values, names_in_file, path)
            for name, dataset in datasets.items():
                dataset[...] = fitting[name]
        backbone.load_weights(own_path)


def _named_variables(model: keras.Model, prefix: str = "") -> dict[str, tuple[keras.Variable, keras.layers.Layer]]:
    """The weights of a model and the layers they belong to, by name."""
    named: dict[str, tuple[keras.Variable, keras.layers.Layer]] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            named.update(_named_variables(layer, f"{prefix}{layer.name}/"))
            continue
        for variable in layer.weights:
            # A layer made of layers has several kernels; their paths tell them apart.
            _, _, inner_path = f"/{variable.path}".rpartition(f"/{layer.name}/")
            name = f"{prefix}{layer.name}/{inner_path or variable.name}"
            if name in named:
                raise ValueError(f"Two weights of `backbone` are named '{name}'; they cannot be told apart.")
            named[name] = variable, layer
    return named


def _keras_style(
    name: str, value: np.ndarray, expected: Mapping[str, tuple[tuple[int, ...], str]], depthwise: Container[str]
) -> tuple[str, np.ndarray]:
    """Answers the Keras name of a tensor, if it has one here, and its value in Keras's layout.

    `expected` holds the names of all weights, `depthwise` those of layers with depthwise kernels.
    """
    if "/" in name:
        return _opened_name(name, expected), value
    keras_name = next((candidate for candidate in _keras_names(name) if candidate in expected), name)
    if keras_name.endswith("kernel") and value.ndim > 1:
        # OI, OIW, OIHW or OIDHW; a transposed convolution has I and O exchanged in both.
        value = np.moveaxis(value, (1, 0), (-2, -1))
        if keras_name in depthwise and value.shape[-2] == 1:
            # Output channels go by input channel: (…, 1, in * multiplier) to (…, in, multiplier).
            (_, multiplier), channels = expected[keras_name][0][-2:], value.shape[-1]
            if channels % multiplier == 0:
                value = value.reshape(*value.shape[:-2], channels // multiplier, multiplier)
    return keras_name, value


def _keras_names(name: str) -> Iterator[str]:
    """The names that a tensor named as in torch may have in Keras."""
    layer, _, variable = name.rpartition(".")
    for other in _TORCH_VARIABLES.get(variable, ()):
        yield f"{layer.replace('.', '_')}/{other}"
    layer, _, part = layer.rpartition(".")
    if f"{part}.{variable}" in _TORCH_PARTS:
        yield f"{layer.replace('.', '_')}/{_TORCH_PARTS[f'{part}.{variable}']}"


def _is_dispensable(name: str, expected: Mapping[str, object]) -> bool:
    """Whether a tensor that the backbone does not expect is to be passed over in silence."""
    *_, variable = name.rpartition(".")
    has_classifier = any(other.startswith(f"{_CLASSIFIER}/") for other in expected)
    is_classifier = name.startswith((f"{_CLASSIFIER}.", f"{_CLASSIFIER}/"))
    return variable == "num_batches_tracked" or (is_classifier and not has_classifier)


def _fitting_values(
    expected: Mapping[str, tuple[tuple[int, ...], str]],
    values: Mapping[str, np.ndarray],
    names_in_file: Mapping[str, str],
    path: str,
) -> dict[str, np.ndarray]:
    """The arrays of a file as a backbone's variables take them, or one error that lists all that does not fit.

    Args:
        expected: `{name: (shape, dtype)}` of the variables.
        values: `{name: array}`.
        names_in_file: `{name: name}`, for the error.
        path: of the file, for the error.
    """
    missing = [name for name in expected if name not in values]
    superfluous = [
        names_in_file[name] for name in values if name not in expected and not _is_dispensable(name, expected)
    ]
    mismatched = []
    fitting = {}
    for name in expected.keys() & values.keys():
        shape, dtype = expected[name]
        value = values[name]
        if value.shape != shape:
            mismatched.append(f"{names_in_file[name]} is {value.shape} and should be {shape}")
        elif value.dtype.kind != "f" and value.dtype.name != dtype:
            mismatched.append(f"{names_in_file[name]} is {value.dtype.name} and should be {dtype}")
        else:
            fitting[name] = array_for(dtype, value)
            if fitting[name] is None:
                mismatched.append(f"{names_in_file[name]} has values that {dtype} does not reach")
    groups = {
        "Missing": missing,
        "Superfluous": superfluous,
        "Of another shape or type": sorted(mismatched),
    }
    problems = [f"{title} ({len(names)}): {', '.join(names)}." for title, names in groups.items() if names]
    if problems:
        raise ValueError(
            f"{path} does not fit the backbone; nothing was loaded. "
            f"Shapes are given in Keras's order of axes. {' '.join(problems)}"
        )
    return fitting


def _published(name: str) -> PublishedWeights | KerasWeights:
    published = {key: backbone.weights for key, backbone in BACKBONES.items() if backbone.weights is not None}
    if name not in published:
        raise ValueError(
            f"There are ImageNet weights for backbones named {sorted(published)}; load "
            f"others from a file. Received: backbone.name={name!r}"
        )
    return published[name]


def _load_from_keras(backbone: keras.Model, weights: KerasWeights, size: int) -> None:
    """Loads what `keras.applications` publishes for images of a size."""
    called = f"keras.applications.{weights.network}"
    try:
        make = getattr(keras.applications, weights.network)
        network = make(include_top=False, weights="imagenet", input_shape=(size, size, 3))
    # Keras raises bare exceptions, with the address in them.
    except Exception as error:
        raise OSError(
            f"The ImageNet weights of {called} could not be fetched ({error}). Download the file by other means into "
            "the folder `models` of Keras's own, ~/.keras or KERAS_HOME, where Keras looks first; or pass the path of "
            "what `save_weights` of the network wrote instead of 'imagenet'."
        ) from error
    tensors = {name: keras.ops.convert_to_numpy(variable) for name, variable in _own_weights(network).items()}
    assign_named(_own_weights(backbone), tensors, called)


def _own_weights(network: keras.Model) -> dict[str, keras.Variable]:
    """Weights by names that do not depend on what else was made, of layers in models within too."""
    layers = [inner for layer in network.layers for inner in (getattr(layer, "layers", None) or [layer])]
    names, weights, named = own_names(network), {id(weight) for weight in network.weights}, {}
    for name, variable in named_variables(layers).items():
        layer, slash, rest = name.partition("/")
        if id(variable) in weights:
            named[names.get(layer, layer) + slash + rest] = variable
    return named


def _download(name: str, weights: PublishedWeights) -> str:
    try:
        path = keras.utils.get_file(origin=weights.url, cache_subdir="rc_keras")
    # `get_file` raises bare exceptions.
    except Exception as error:
        raise OSError(
            f"The ImageNet weights of {name} could not be downloaded from {weights.url} "
            f"({error}). Download the file by other means and pass its path instead of 'imagenet'."
        ) from error
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(weights.sha256_prefix):
        os.remove(path)
        raise OSError(
            f"The file downloaded from {weights.url} is not the published one: its sha256 "
            f"should begin with {weights.sha256_prefix} and is {digest}. It was deleted; try "
            "again, or pass the path of a file instead of 'imagenet'."
        )
    return path
