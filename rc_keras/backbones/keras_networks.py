"""Encoders of `keras.applications`, on pixels and with named feature maps."""

import functools
import inspect
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from rc_keras.backbones.arguments import check_classes_and_seed, check_image_shape, layer_seed
from rc_keras.backbones.norm_momentum import NORM_MOMENTUM
from rc_keras.backbones.output_stride import OUTPUT_STRIDES, with_output_stride
from rc_keras.base.names import unknown_name

_SMALLEST = 32  # that keras.applications takes

Preprocess = Callable[[keras.KerasTensor], keras.KerasTensor]


def keras_network(
    network: str,
    next_stage: str,
    preprocess: Preprocess | None = None,
    image_shape: Sequence[int | None] = (None, None, 3),
    output_stride: int = 16,
    classes: int | None = None,
    seed: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds a network of `keras.applications`, without its top, as an encoder on pixels.

    Where the output stride is below 32, the last stages are dilated, see `rc_keras.backbones.output_stride`. Layers
    with weights have the names and weights that they have in `keras.applications`, whatever the output stride. The
    moving averages of its norms follow a training as those of our ResNets do, see `with_norm_momentum`.

    Args:
        network: its name in `keras.applications`, for example `"ResNet50"`.
        next_stage: name of the layer that goes on from the low-level map, which is its input.
        preprocess: from pixels in 0..255 to what the network takes; `None`: it has layers for that itself.
        image_shape: shape of one image, `(height, width, 3)`; height and width are at least 32, or `None`.
        output_stride: image size over size of the last feature map: 8, 16 or 32.
        classes: number of classes of an image classifier on top, a dense layer `fc` on the mean of the last map, or
            `None` for an encoder without one.
        seed: int from which each layer's random weights are drawn, by the layer's name and not by the order of
            creation. `None` draws the seed at random.
        name: name of the model; `None`: `network` in lower case.

    Returns:
        A `keras.Model` on RGB images in 0..255, `(batch, height, width, 3)`. Without `classes` it answers
        `{"low_level": ..., "high_level": ...}`, maps at a stride of 4 and of `output_stride`. With `classes` it answers
        logits, `(batch, classes)`.

    Raises:
        ValueError: if an argument is not as described, or the network cannot be dilated to the output stride.
    """
    check_image_shape(image_shape, _SMALLEST)
    check_classes_and_seed(classes, seed)
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(
            f"`output_stride` must be one of {list(OUTPUT_STRIDES)}. Received: output_stride={output_stride}"
        )
    networks = [name for name, value in vars(keras.applications).items() if inspect.isfunction(value)]
    if network not in networks:
        raise unknown_name("network", network, networks)
    base = random.randrange(2**31) if seed is None else seed
    plain = getattr(keras.applications, network)(include_top=False, weights=None, input_shape=tuple(image_shape))
    image = keras.Input(tuple(image_shape), name="image")
    pixels = image if preprocess is None else preprocess(image)

    names = own_names(plain)

    def clone(layer: keras.Operation) -> keras.Operation:
        config = {**layer.get_config(), "name": names[layer.name]}
        if isinstance(layer, keras.layers.BatchNormalization):
            config["momentum"] = NORM_MOMENTUM
        return type(layer).from_config(_seeded(config, base, config["name"]))

    inputs: dict[str, keras.KerasTensor] = {}

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = keras.tree.map_structure(lambda t: pixels if t is image else t, (args, kwargs))
        inputs[layer.name] = args[0]
        if isinstance(layer, keras.Sequential):  # ConvNeXt's, which stride
            return functools.reduce(lambda x, inner: inner(x), layer.layers, args[0])
        return layer(*args, **kwargs)

    encoder = keras.models.clone_model(plain, input_tensors=image, clone_function=clone, call_function=call)
    if next_stage not in inputs:
        raise unknown_name("next_stage", next_stage, inputs)
    features = {"low_level": inputs[next_stage], "high_level": encoder.output}
    encoder = with_output_stride(keras.Model(image, features, name=name or network.lower()), output_stride)
    if classes is None:
        return encoder
    x = keras.layers.GlobalAveragePooling2D(name="avgpool")(encoder.output["high_level"])
    kernel = keras.initializers.GlorotUniform(seed=layer_seed(base, "fc"))
    logits = keras.layers.Dense(classes, kernel_initializer=kernel, name="fc")(x)
    return keras.Model(encoder.inputs[0], logits, name=encoder.name)


def own_names(network: keras.Model) -> dict[str, str]:
    """`{name of a layer: name that it has whatever else was made}`: Keras numbers those without a name through all."""
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for layer in network.operations:
        stem = re.sub(r"_\d+$", "", layer.name)
        names[layer.name] = layer.name
        if stem.replace("_", "") == type(layer).__name__.lower():
            counts[stem] = counts.get(stem, -1) + 1
            names[layer.name] = f"{stem}_{counts[stem]}" if counts[stem] else stem
    return names


def _seeded(config: Mapping[str, Any], seed: int, name: str) -> dict[str, Any]:
    """A layer's config, with seeds in its initializers and in those of the layers within."""

    def changed(key: str, value: Any) -> Any:
        if isinstance(value, list):
            return [changed(key, item) for item in value]
        if not isinstance(value, dict):
            return value
        settings = value.get("config")
        if key.endswith("initializer") and isinstance(settings, dict) and "seed" in settings:
            return {**value, "config": {**settings, "seed": layer_seed(seed, f"{name}/{key}")}}
        inner = settings.get("name") if isinstance(settings, dict) else None
        return _seeded(value, seed, f"{name}/{inner}" if inner else name)

    return {key: changed(key, value) for key, value in config.items()}


def resnet50(
    image_shape: Sequence[int | None] = (None, None, 3),
    output_stride: int = 16,
    classes: int | None = None,
    seed: int | None = None,
    name: str = "resnet50",
) -> keras.Model:
    """Builds ResNet-50 (He et al., CVPR 2016). See `keras_network` for the arguments."""
    return keras_network(
        "ResNet50", "conv3_block1_1_conv", _centred_bgr, image_shape, output_stride, classes, seed, name
    )


def mobilenetv2(
    image_shape: Sequence[int | None] = (None, None, 3),
    output_stride: int = 16,
    classes: int | None = None,
    seed: int | None = None,
    name: str = "mobilenetv2",
) -> keras.Model:
    """Builds MobileNetV2 (Sandler et al., CVPR 2018). See `keras_network` for the arguments."""
    return keras_network(
        "MobileNetV2", "block_3_expand", _from_minus_1_to_1, image_shape, output_stride, classes, seed, name
    )


def mobilenetv3_large(
    image_shape: Sequence[int | None] = (None, None, 3),
    output_stride: int = 16,
    classes: int | None = None,
    seed: int | None = None,
    name: str = "mobilenetv3_large",
) -> keras.Model:
    """Builds the large MobileNetV3 (Howard et al., ICCV 2019). See `keras_network` for the arguments."""
    return keras_network(
        "MobileNetV3Large", "expanded_conv_3_expand", None, image_shape, output_stride, classes, seed, name
    )


def efficientnetv2_b0(
    image_shape: Sequence[int | None] = (None, None, 3),
    output_stride: int = 16,
    classes: int | None = None,
    seed: int | None = None,
    name: str = "efficientnetv2_b0",
) -> keras.Model:
    """Builds EfficientNetV2-B0 (Tan and Le, ICML 2021). See `keras_network` for the arguments."""
    return keras_network(
        "EfficientNetV2B0", "block3a_expand_conv", None, image_shape, output_stride, classes, seed, name
    )


def convnext_tiny(
    image_shape: Sequence[int | None] = (None, None, 3),
    output_stride: int = 16,
    classes: int | None = None,
    seed: int | None = None,
    name: str = "convnext_tiny",
) -> keras.Model:
    """Builds ConvNeXt-T (Liu et al., CVPR 2022), at an output stride of 16 or 32. See `keras_network`."""
    return keras_network(
        "ConvNeXtTiny", "convnext_tiny_downsampling_block_0", None, image_shape, output_stride, classes, seed, name
    )


def _centred_bgr(image: keras.KerasTensor) -> keras.KerasTensor:
    """As `keras.applications.resnet.preprocess_input`; with indices, which every backend and exporter knows."""
    bgr = keras.ops.take(image, [2, 1, 0], axis=-1)
    return keras.layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68], name="preprocessing")(bgr)


def _from_minus_1_to_1(image: keras.KerasTensor) -> keras.KerasTensor:
    """As `keras.applications.mobilenet_v2.preprocess_input`."""
    return keras.layers.Rescaling(1 / 127.5, -1.0, name="preprocessing")(image)
