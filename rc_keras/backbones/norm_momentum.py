"""How quickly the moving averages of batch normalization follow a training."""

import numbers

import keras

from rc_keras.base.keras_internals import producer
from rc_keras.base.uncompiled import uncompiled

# Of encoders by name. Those of `keras.applications` were trained for hundreds of thousands of steps, MobileNetV3 with
# 0.999: a task of 500 steps would predict with averages that are 61 % those from before it.
NORM_MOMENTUM = 0.9


def with_norm_momentum(network: keras.Model, momentum: float = NORM_MOMENTUM) -> keras.Model:
    """A copy of a network with another momentum in each `keras.layers.BatchNormalization`.

    `evaluate`, `predict` and exports normalize with moving averages, of which `momentum ** steps` is still what it was
    before a training of `steps` steps. Networks of `keras.applications` bring up to 0.9997, which takes 7,700 steps to
    forget nine tenths; with 0.9, that of `torch.nn.BatchNorm2d`, 22 do.

    Args:
        network: a functional `keras.Model`, compiled or not. It stays as it is. Models inside are entered; norms inside
            of other layers keep their momentum.
        momentum: share of a moving average that a step keeps, in 0..1.

    Returns:
        A functional `keras.Model` with layers of its own, of the same names and weights, that answers the same.

    Raises:
        ValueError: if an argument is not as described.

    Example:

    >>> network = keras.applications.MobileNetV3Large(include_top=False, input_shape=(224, 224, 3))
    >>> model = rc_keras.build(["edge"], rc_keras.backbones.with_norm_momentum(network), image_shape=(224, 224, 3))
    """
    if not isinstance(network, keras.Model) or not hasattr(network, "operations"):
        raise ValueError(f"`network` must be a functional keras.Model. Received: network={network!r}")
    if isinstance(momentum, bool) or not isinstance(momentum, numbers.Real) or not 0 <= momentum <= 1:
        raise ValueError(f"`momentum` must be a number in 0..1. Received: momentum={momentum!r}")

    def clone(layer: keras.Operation) -> keras.Operation:
        config = layer.get_config()
        if isinstance(layer, keras.layers.BatchNormalization):
            config["momentum"] = float(momentum)
        return type(layer).from_config(config)

    inputs = keras.tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=producer(x).name), network.input
    )
    copy = keras.models.clone_model(uncompiled(network), input_tensors=inputs, clone_function=clone, recursive=True)
    copy.set_weights(network.get_weights())
    return copy
