"""What a file answers for a task: activated, in the form and at the size that was asked for."""

import keras

from rc_keras.base.keras_internals import producer
from rc_keras.base.keras_types import Tensor
from rc_keras.layers import ResizeTo
from rc_keras.tasks.task import Task

SEGMENTATIONS = ("logits", "class_ids")
RESOLUTIONS = ("image", "network")


def endpoint(branch: keras.Model, task: Task, segmentation: str = "logits", resolution: str = "image") -> keras.Model:
    """Appends to a branch what a deployed network answers.

    Args:
        branch: functional `keras.Model`, image to raw prediction, folded or not.
        task: its `Task`.
        segmentation: for segmentation tasks, `"logits"`, or `"class_ids"`: uint8 `(batch, height, width)`.
        resolution: for segmentation tasks, `"image"`, or `"network"`: without the last resizing of the decoder, which
            leaves it to the caller.

    Returns:
        A functional `keras.Model` from the same input to `Task.activate` of the prediction, or as said above.
    """
    output = branch.output
    if task.definition.is_class_map:
        if resolution == "network":
            output = _before_resizing(output)
        if segmentation == "class_ids":
            output = _ClassIds(name=f"{branch.name}__class_ids")(output)
    return keras.Model(branch.inputs[0], task.activate(output), name=branch.name)


class _ClassIds(keras.layers.Layer):
    """The largest channel of `(batch, height, width, channels)`, as uint8 `(batch, height, width)`.

    `keras.ops.argmax` tells -0 from 0 by bit operations, which LiteRT does not have.
    """

    def call(self, logits: Tensor) -> Tensor:
        import tensorflow as tf

        return tf.cast(tf.math.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)

    def compute_output_spec(self, logits: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor(logits.shape[:-1], "uint8")


def _before_resizing(output: keras.KerasTensor) -> keras.KerasTensor:
    """The map that the decoder resizes to the image at its very end, if it does."""
    activation = producer(output)
    resizing = producer(activation.input)
    return resizing.input[0] if isinstance(resizing, ResizeTo) else output
