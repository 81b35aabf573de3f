"""The feature maps a decoder sees, found in any functional encoder."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from rc_keras.backbones.probe import probe
from rc_keras.base.names import unknown_name
from rc_keras.network.block_output import last_block_output

FEATURES = ("high_level", "low_level")
_LOW_LEVEL_STRIDE = 4
_MOST_LEADING_TOKENS = 5  # a class token, one of distillation, registers


def check_functional(backbone: Any) -> None:
    """Raises a `ValueError` unless it is a functional model with one image input."""
    is_model = isinstance(backbone, keras.Model) and not isinstance(backbone, keras.Sequential)
    if not is_model or not getattr(backbone, "inputs", None):
        raise ValueError(f"`backbone` must be a functional keras.Model. Received: backbone={backbone!r}")
    if len(backbone.inputs) != 1 or len(backbone.inputs[0].shape) != 4:
        shapes = [tensor.shape for tensor in backbone.inputs]
        raise ValueError(
            f"`backbone` must have one image input (batch, height, width, channels). Received: input shapes {shapes}"
        )
    shape = tuple(backbone.inputs[0].shape)
    first = [layer.name for layer in backbone.layers if getattr(layer, "data_format", None) == "channels_first"]
    if first:
        raise ValueError(
            "`backbone` must take images (batch, height, width, channels), and its layers must have "
            f"data_format='channels_last'. Received: input shape {shape}, and layer {first[0]!r} with "
            "data_format='channels_first'"
        )


def with_named_features(
    backbone: keras.Model, low_level: str | None = None, high_level: str | None = None, dense: bool = True
) -> keras.Model:
    """Makes an encoder answer `{"low_level": map, "high_level": map}`.

    What is not named is found. The high-level map is the output, or of several, as a pyramid has them, that of the
    largest stride. The low-level map is the one of stride 4 among several outputs, else the last output of a block at
    stride 4, see `block_output.last_block_output`. Strides are rounded to powers of two, since stems without padding
    leave maps a little smaller. Tokens `(batch, patches, channels)`, as a vision transformer answers them, become a map
    of the shape of the image; class tokens and the like in front of them are left out.

    Args:
        backbone: a functional `keras.Model`, image to one map or tokens, or to several, as a list or a dictionary.
        low_level, high_level: name of the layer that answers the map, or key of a dictionary that the backbone answers;
            `None`: it is found.
        dense: whether a low-level map is needed. Without one only `high_level` is answered.

    Returns:
        A functional `keras.Model` on the same layers.

    Raises:
        ValueError: if the encoder is no functional model, answers something else, or has no such map.
    """
    check_functional(backbone)
    if not isinstance(backbone.input, keras.KerasTensor):  # `keras.Model([image], …)`
        backbone = keras.Model(backbone.inputs[0], backbone.output, name=backbone.name)
    output = backbone.output
    is_named = isinstance(output, dict) and sorted(output) == sorted(FEATURES)
    if is_named and low_level is None and high_level is None:
        return backbone
    image = keras.Input(backbone.inputs[0].shape[1:], name="image")
    answers: list[Any] = []  # of all calls, as `probe` has them
    named: dict[str, keras.KerasTensor] = {}

    def collect(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        answer = layer(*args, **kwargs)
        answers.append(answer)
        if isinstance(answer, keras.KerasTensor) and len(answer.shape) in (3, 4):
            named[layer.name] = answer
        return answer

    output = keras.models.clone_model(
        backbone, input_tensors=image, clone_function=lambda layer: layer, call_function=collect
    ).output
    maps: dict[str, keras.KerasTensor] = dict(output) if is_named else {}
    named |= output if isinstance(output, dict) else {}
    for feature, name in (("low_level", low_level), ("high_level", high_level)):
        if name is not None and name not in named:
            raise unknown_name(feature, name, named)
        if name is not None:
            maps[feature] = named[name]
    if len(maps) < len(FEATURES):
        outputs, seen = keras.tree.flatten(output), probe(backbone)
        strides = [seen.stride(tensor) for tensor in seen.outputs]
        if "high_level" not in maps:
            maps["high_level"] = _deepest(outputs, strides, output)
        if "low_level" not in maps:
            at = last_block_output(seen, seen.maps(_LOW_LEVEL_STRIDE))
            if len(outputs) > 1 and _LOW_LEVEL_STRIDE in strides:
                maps["low_level"] = outputs[strides.index(_LOW_LEVEL_STRIDE)]
            elif at is not None:
                maps["low_level"] = answers[at]
            elif dense:
                raise ValueError(
                    f"`backbone` must have a feature map at stride {_LOW_LEVEL_STRIDE}, or one named by `low_level`, "
                    f"or answer a dict with the keys {list(FEATURES)}. Received: {backbone.name!r}, which has none"
                )
    features = {feature: _as_map(maps[feature], image, feature) for feature in FEATURES[::-1] if feature in maps}
    return keras.Model(image, features, name=backbone.name)


def _deepest(outputs: Sequence[keras.KerasTensor], strides: Sequence[int | None], structure: Any) -> keras.KerasTensor:
    """The output of the largest stride, or the only one."""
    if len(outputs) == 1 and len(outputs[0].shape) in (3, 4):
        return outputs[0]
    known = [(stride, at) for at, stride in enumerate(strides) if stride is not None]
    if not known:
        shapes = keras.tree.map_structure(lambda tensor: tensor.shape, structure)
        raise ValueError(
            "`backbone` must answer one feature map (batch, height, width, channels), as with include_top=False, or "
            f"have one that `high_level` names, or answer a dict with the keys {list(FEATURES)}. "
            f"Received: outputs of shape {shapes}"
        )
    return outputs[max(known)[1]]


def _as_map(tensor: keras.KerasTensor, image: keras.KerasTensor, feature: str) -> keras.KerasTensor:
    """A map as it is; tokens as a map of the shape of the image, without the fewest leading ones that do not fit it."""
    if len(tensor.shape) == 4:
        return tensor
    tokens, channels = tensor.shape[1:]
    height, width = image.shape[1:3]
    for leading in range(_MOST_LEADING_TOKENS + 1 if tokens and height and width else 0):
        patches = tokens - leading
        rows = math.isqrt(patches * height // width)
        if rows and patches % rows == 0 and rows * width == patches // rows * height:
            if leading:
                tensor = keras.layers.Cropping1D((leading, 0), name=f"{feature}_patches")(tensor)
            return keras.layers.Reshape((rows, patches // rows, channels), name=f"{feature}_map")(tensor)
    raise ValueError(
        f"Tokens of `backbone` must be patches of an image of known size, side by side as its pixels are, behind at "
        f"most {_MOST_LEADING_TOKENS} others. Received: {tokens} tokens of an image of "
        f"size {(height, width)} as {feature!r}"
    )


def on_image(
    backbone: keras.Model,
    image_shape: Iterable[int | None],
    preprocess: Callable[[keras.KerasTensor], keras.KerasTensor] | None = None,
) -> keras.Model:
    """The same layers on an image of another size, behind a preprocessing step.

    Args:
        backbone: a functional `keras.Model` with one image input.
        image_shape: `(height, width, channels)`, `None` where free.
        preprocess: a layer or a function of tensors, from pixels in 0..255 to what the backbone expects.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: if the backbone takes images of its own size alone.
    """
    image = keras.Input(tuple(image_shape), name="image")
    pixels = image if preprocess is None else preprocess(image)

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = keras.tree.map_structure(lambda t: pixels if t is image else t, (args, kwargs))
        return layer(*args, **kwargs)

    try:
        return keras.models.clone_model(
            backbone, input_tensors=image, clone_function=lambda layer: layer, call_function=call
        )
    except Exception as error:  # of layers that anyone wrote
        own = tuple(backbone.inputs[0].shape[1:])
        if None in own or own == tuple(image_shape):
            raise
        raise ValueError(
            f"`image_shape` must be one that `backbone` takes, such as its own, {own}. Received: "
            f"image_shape={tuple(image_shape)}, which {backbone.name!r} does not take: {error}"
        ) from error
