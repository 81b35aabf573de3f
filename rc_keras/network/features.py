"""The feature maps a decoder sees, found in any functional encoder."""

from collections.abc import Callable, Iterable
from typing import Any

import keras

FEATURES = ("high_level", "low_level")
_PROBE = 256  # a size that every usual stride divides
_LOW_LEVEL_STRIDE = 4


def with_named_features(backbone: keras.Model) -> keras.Model:
    """Makes an encoder answer `{"low_level": map, "high_level": map}`.

    An encoder that answers one map is taken to give the high-level features; the low-level ones are then the last of
    its layers' outputs at stride 4.

    Args:
        backbone: a functional `keras.Model`, image to map, or image to a dictionary with these keys.

    Returns:
        A functional `keras.Model` on the same layers.

    Raises:
        ValueError: if the encoder answers something else, or has no map at stride 4.
    """
    output = backbone.output
    if isinstance(output, dict) and sorted(output) == sorted(FEATURES):
        return backbone
    if not isinstance(output, keras.KerasTensor) or len(output.shape) != 4:
        shapes = keras.tree.map_structure(lambda tensor: tensor.shape, output)
        raise ValueError(
            "`backbone` must answer one feature map (batch, height, width, channels), as with include_top=False, or a "
            f"dict with the keys {list(FEATURES)}. Received: outputs of shape {shapes}"
        )
    low_level = []

    def record(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        shape = getattr(outputs, "shape", ())
        if len(shape) == 4 and shape[1:3] == (_PROBE // _LOW_LEVEL_STRIDE,) * 2:
            low_level.append(layer.name)
        return outputs

    probe = keras.Input((_PROBE, _PROBE, backbone.inputs[0].shape[-1]))
    keras.models.clone_model(backbone, input_tensors=probe, clone_function=lambda layer: layer, call_function=record)
    if not low_level:
        raise ValueError(
            f"`backbone` must have a feature map at stride {_LOW_LEVEL_STRIDE}, or answer a dict with the keys "
            f"{list(FEATURES)}. Received: {backbone.name!r}, which has none"
        )
    maps = {}

    def collect(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        if layer.name == low_level[-1]:
            maps["low_level"] = outputs
        return outputs

    image = keras.Input(backbone.inputs[0].shape[1:], name="image")
    encoder = keras.models.clone_model(
        backbone, input_tensors=image, clone_function=lambda layer: layer, call_function=collect
    )
    return keras.Model(image, {"low_level": maps["low_level"], "high_level": encoder.output}, name=backbone.name)


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
    """
    image = keras.Input(tuple(image_shape), name="image")
    pixels = image if preprocess is None else preprocess(image)

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = keras.tree.map_structure(lambda t: pixels if t is image else t, (args, kwargs))
        return layer(*args, **kwargs)

    return keras.models.clone_model(
        backbone, input_tensors=image, clone_function=lambda layer: layer, call_function=call
    )
