"""What a decoder is, and the check that one is: it is made once for each task, on the task's own features."""

from collections.abc import Mapping
from typing import Protocol

import keras


class Decoder(Protocol):
    """From a task's feature maps to its raw prediction: an object that is called, or a function.

    A model is saved with its decoders, so the class, which has `get_config` and `from_config`, or the function is
    registered with `keras.saving.register_keras_serializable`. A class gets a name by an entry in
    `rc_keras.decoders.DECODERS`.

    The layers are made anew in each call, so that no task shares a weight with another. They are called
    `<prefix><something>`, and the one that sets the number of channels `<prefix>head`. What is random is drawn from
    `rc_keras.base.seeds.derive_seed(seed, prefix, <something>)`, so that it does not depend on the order of tasks.

    Call arguments:
        image: the input `KerasTensor`, `(batch, height, width, channels)`.
        features: `{"low_level": …, "high_level": …}`, maps `(batch, h, w, c)`.
        channels: channels of the prediction.
        prefix: prefix of the layers' names, `<task>__decoder_`.
        seed: base of the random weights.

    Returns:
        The raw prediction at the size of the image, `(batch, height, width, channels)`; of a decoder for
        classification `(batch, channels)`. See `rc_keras.layers.ResizeTo`.
    """

    def __call__(
        self, image: keras.KerasTensor, features: Mapping[str, keras.KerasTensor], channels: int, prefix: str, seed: int
    ) -> keras.KerasTensor: ...


def decode(
    decoder: Decoder,
    encoder: keras.Model,
    channels: int,
    prefix: str,
    seed: int,
    pooled: bool = False,
    check: bool = True,
) -> keras.KerasTensor:
    """Calls a decoder on the features of a task and checks what it made.

    Args:
        decoder: the `Decoder`.
        encoder: functional `keras.Model`, image to features.
        channels, prefix, seed: see `Decoder`.
        pooled: whether it must answer `(batch, channels)`.
        check: whether to check it.

    Returns:
        The raw prediction.

    Raises:
        ValueError: if it is of another shape, a layer with weights lacks the prefix, there is no head, or weights are
            those of the encoder or of another task's decoder.
    """
    image = encoder.inputs[0]
    raw = decoder(image, encoder.output, channels, prefix, seed)
    if not check:
        return raw
    expected = (channels,) if pooled else (*image.shape[1:3], channels)
    if not isinstance(raw, keras.KerasTensor) or not _fits(tuple(raw.shape[1:]), expected):
        sizes = ", ".join(map(str, expected))
        raise ValueError(
            f"`decoder` must answer (batch, {sizes}) here. Received: {getattr(raw, 'shape', raw)!r} from {decoder!r}"
        )
    encoder_layers = {id(layer) for layer in encoder.layers}
    layers = [layer for layer in keras.Model(image, raw).layers if id(layer) not in encoder_layers]
    unnamed = [layer.name for layer in layers if layer.weights and not layer.name.startswith(prefix)]
    if unnamed:
        raise ValueError(
            f"`decoder` must make layers of its own in each call, with names that start with its argument `prefix`, "
            f"here {prefix!r}. Received: {unnamed} from {decoder!r}"
        )
    if f"{prefix}head" not in {layer.name for layer in layers}:
        raise ValueError(
            f"`decoder` must call the layer that makes the prediction {prefix + 'head'!r}. Received: layers "
            f"{[layer.name for layer in layers]} from {decoder!r}"
        )
    encoder_weights = {id(weight) for weight in encoder.weights}
    weights = [weight for layer in layers for weight in layer.weights]
    shared = [w.path for w in weights if id(w) in encoder_weights or _is_of_another_task(w.path, prefix)]
    if shared:
        raise ValueError(
            f"`decoder` must make weights of its own in each call. Received: {shared} from {decoder!r}, which belong "
            "to the encoder or to another task"
        )
    return raw


def _fits(received: tuple[int | None, ...], expected: tuple[int | None, ...]) -> bool:
    return len(received) == len(expected) and all(
        size == other or None in (size, other) for size, other in zip(received, expected, strict=True)
    )


def _is_of_another_task(path: str, prefix: str) -> bool:
    """Whether a weight was made in another task's decoder: its path names the layers around it."""
    of_any_task = prefix[prefix.index("__") :]
    return of_any_task in path and f"/{prefix}" not in f"/{path}"
