"""Bilinear resizing to a size that may be known only when it runs."""

from collections.abc import Sequence

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor

_ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def resize_bilinear(inputs: Tensor, size: Sequence[int | Tensor]) -> Tensor:
    """Bilinear resizing with half-pixel centres of `(batch, h, w, channels)` to `(batch, *size, channels)`.

    `keras.ops.image.resize` looks at the value of `size`, which a traced TensorFlow graph does not have where height or
    width are free.
    """
    if not _ON_TENSORFLOW or all(isinstance(n, int) for n in size):
        return ops.image.resize(inputs, size, interpolation="bilinear", data_format="channels_last")
    import tensorflow as tf

    return ops.cast(tf.image.resize(inputs, size), inputs.dtype)
