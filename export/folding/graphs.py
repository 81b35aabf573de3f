"""TensorFlow graphs of an export's tasks, on the weights they share."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import keras

from rc_keras.base.keras_types import Tensor
from rc_keras.export.folding.folded_network import ALL, FoldedNetwork
from rc_keras.export.folding.joint import joint_model

if TYPE_CHECKING:
    import tensorflow as tf

Answers: TypeAlias = Callable[[Tensor], dict[str, Tensor]]  # from an image to {task: answer}


def answers(network: FoldedNetwork) -> Iterator[tuple[str, Answers]]:
    """The names of the signatures, one by one, with what they compute; that of all tasks, if there is one, is last."""
    for name, folded in network.models.items():

        def run(image: Tensor, name: str = name, folded: keras.Model = folded) -> dict[str, Tensor]:
            return {name: folded(image, training=False)}

        yield name, run
    if network.joint:
        joint = joint_model(network)
        yield ALL, lambda image: joint(image, training=False)


def image_spec(network: FoldedNetwork) -> "tf.TensorSpec":
    """Of the input of all signatures, `image`, float32 `(batch_size, height, width, channels)`."""
    import tensorflow as tf

    return tf.TensorSpec((network.batch_size, *network.image_shape), "float32", name="image")


def concrete_functions(
    network: FoldedNetwork,
) -> "tuple[tf.Module, dict[str, tf.types.experimental.ConcreteFunction]]":
    """Traces every folded task, and all together where the network is to have that.

    Args:
        network: the `FoldedNetwork`.

    Returns:
        `(module, functions)`: a `tf.Module` that holds the weights, each once, and `{task: ConcreteFunction}`, each
        from `image` to `{task: answer}`; that of all is `"all"`.
    """
    import tensorflow as tf

    # Variables and functions alone are saved: Keras models, tracked, would be written a second time.
    module = tf.Module()
    layers = {id(layer): layer for folded in network.models.values() for layer in folded.layers}
    module.weights = [w.value for layer in layers.values() for w in getattr(layer, "weights", [])]
    image = image_spec(network)
    return module, {name: tf.function(run).get_concrete_function(image) for name, run in answers(network)}
