"""How quickly the moving averages of batch normalization follow a training."""

from typing import Any

import keras

# Of encoders by name. Those of `keras.applications` were trained for hundreds of thousands of steps, with 0.999 in the
# MobileNets: a task of 500 steps would predict with averages that are 61 % those from before it.
NORM_MOMENTUM = 0.9


def with_norm_momentum(network: keras.Model, momentum: float = NORM_MOMENTUM) -> keras.Model:
    """The network with another momentum in each `keras.layers.BatchNormalization`.

    `evaluate`, `predict` and exports normalize with moving averages, of which `momentum ** steps` is still what it was
    before a training of `steps` steps. Networks of `keras.applications` bring up to 0.9997, which takes 7,700 steps to
    forget nine tenths; with 0.9, that of `torch.nn.BatchNorm2d`, 22 do.

    Args:
        network: a functional `keras.Model`. It stays as it is. Models inside are entered; norms inside
            of other layers stay.
        momentum: share of a moving average that a step keeps, in 0..1.

    Returns:
        A `keras.Model` with the same answers and layers, but for the norms, which are copies with the same weights.

    Raises:
        ValueError: if an argument is not as described.

    Example:

    >>> network = keras.applications.MobileNetV3Large(include_top=False, input_shape=(224, 224, 3))
    >>> model = rc_keras.build(["edge"], rc_keras.backbones.with_norm_momentum(network), image_shape=(224, 224, 3))
    """
    if not isinstance(network, keras.Model) or not hasattr(network, "operations"):
        raise ValueError(f"`network` must be a functional keras.Model. Received: {network!r}")
    if isinstance(momentum, bool) or not isinstance(momentum, int | float) or not 0 <= momentum <= 1:
        raise ValueError(f"`momentum` must be a number in 0..1. Received: momentum={momentum!r}")

    def clone(layer: keras.Operation) -> Any:
        if not isinstance(layer, keras.layers.BatchNormalization):
            return layer
        copy = type(layer).from_config({**layer.get_config(), "momentum": float(momentum)})
        if layer.built:
            copy.build(**layer.get_build_config())
            copy.set_weights(layer.get_weights())
        return copy

    return keras.models.clone_model(network, clone_function=clone, recursive=True)
