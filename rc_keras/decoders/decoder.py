"""What a decoder is, and the check that one is: it is made once for each task, on the task's own features."""

from collections.abc import Mapping
from typing import Protocol

import keras


class Decoder(Protocol):
    """From a task's feature maps to its raw prediction: an object that is called, or a function.

    A model is saved with its decoders, so the class, which has `get_config` and `from_config`, or the function is
    registered with `keras.saving.register_keras_serializable`. A class gets a name by an entry in
    `rc_keras.decoders.DECODERS`.

    The layers are made anew in each call, so that no task shares a weight with another. Those with variables, random
    states too, are called `<prefix><something>`, and the one that sets the number of channels `<prefix>head`. What is
    random is drawn from `rc_keras.base.seeds.derive_seed(seed, prefix, <something>)`, so that it does not depend on the
    order of tasks.

    What else relies on a decoder:

    | | relies on |
    | --- | --- |
    | all | functional calls of layers that can be made anew from their configuration |
    | weights by name, `save_task`, presets | the prefix, and the same names in each call |
    | `parameter_report` | `<prefix>head`, which is counted apart |
    | `init_from`, `FilterBank.from_task` | only `<prefix>head`, which may take several maps, depends on `channels` |
    | `FilterBank.from_task` | the network depends on all features; its convolutions are shared as an encoder's are |
    | `mac_report` | kernels in convolutions and dense layers of Keras and of this package, or layers made of them |
    | exports | norms that stand alone behind a convolution fold into it |
    | `resolution="network"` of exports | a `rc_keras.layers.ResizeTo` at the very end, which is left out |

    Call arguments:
        image: the input `KerasTensor`, `(batch, height, width, channels)`.
        features: `{"low_level": …, "high_level": …}`, maps `(batch, h, w, c)`; without the first where the backbone has
            no such map.
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
        ValueError: if it is of another shape, a layer with variables lacks the prefix, there is no head, or weights are
            those of the encoder or of another task's decoder; or if it wants a map that the encoder lacks.
    """
    image = encoder.inputs[0]
    raw = decoder(image, _Features(encoder.output), channels, prefix, seed)
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
    unnamed = [layer.name for layer in layers if _has_variables(layer) and not layer.name.startswith(prefix)]
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


class _Features(dict[str, keras.KerasTensor]):
    """Named feature maps, with a word on one that is not there."""

    def __missing__(self, name: str) -> keras.KerasTensor:
        raise ValueError(
            f"`backbone` must have the features that `decoder` uses: a map at stride 4, as {'low_level'!r}, or one "
            f"named by `low_level=` of `rc_keras.build`. Received: a decoder that uses {name!r} of {sorted(self)}"
        )


def _has_variables(layer: keras.Operation) -> bool:
    return bool(getattr(layer, "variables", None))  # operations have no such attribute


def _fits(received: tuple[int | None, ...], expected: tuple[int | None, ...]) -> bool:
    return len(received) == len(expected) and all(
        size == other or None in (size, other) for size, other in zip(received, expected, strict=True)
    )


def _is_of_another_task(path: str, prefix: str) -> bool:
    """Whether a weight was made in another task's decoder: its path names the layers around it."""
    of_any_task = prefix[prefix.index("__") :]
    return of_any_task in path and f"/{prefix}" not in f"/{path}"
