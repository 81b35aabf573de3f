"""TensorFlow graphs of an export's tasks, on the weights they share."""

from typing import TYPE_CHECKING

import keras

from rc_keras.base.keras_types import Tensor
from rc_keras.export.folding.folded_network import ALL, FoldedNetwork
from rc_keras.export.folding.joint import joint_model

if TYPE_CHECKING:
    import tensorflow as tf


def concrete_functions(
    network: FoldedNetwork,
) -> "tuple[tf.Module, dict[str, tf.types.experimental.ConcreteFunction]]":
    """Traces every folded task, and all together where the network is to have that.

    Args:
        network: the `FoldedNetwork`.

    Returns:
        `(module, functions)`: a `tf.Module` that holds the weights, each once, and `{task: ConcreteFunction}`, each
        from `image`, float32 `(batch_size, height, width, channels)`, to `{task: answer}`; that of all is `"all"`.
    """
    import tensorflow as tf

    # Variables and functions alone are saved: Keras models, tracked, would be written a second time.
    module = tf.Module()
    layers = {id(layer): layer for folded in network.models.values() for layer in folded.layers}
    module.weights = [w.value for layer in layers.values() for w in getattr(layer, "weights", [])]
    image = tf.TensorSpec((network.batch_size, *network.image_shape), "float32", name="image")
    functions = {}
    for name, folded in network.models.items():

        def run(image: Tensor, name: str = name, folded: keras.Model = folded) -> dict[str, Tensor]:
            return {name: folded(image, training=False)}

        functions[name] = tf.function(run).get_concrete_function(image)
    if network.joint:
        joint = joint_model(network)
        run_all = tf.function(lambda image: joint(image, training=False))
        functions[ALL] = run_all.get_concrete_function(image)
    return module, functions
