"""A TFDS feature for surface normals kept as the pixels of an image file."""

import io
from typing import TYPE_CHECKING

import numpy as np
import tensorflow_datasets as tfds

if TYPE_CHECKING:
    import tensorflow as tf


class NormalMap(tfds.features.Image):
    """Unit normals (height, width, 3) float32, stored as the bytes of a JPEG or PNG file.

    A pixel v decodes to n = 2 v / 255 - 1, which is then divided by its length: rounding and
    compression leave lengths of 0.9 to 1.05. Below a length of `_SHORTEST` a pixel says
    "unknown" (127.5 is not a pixel value, so a zero vector cannot be stored as one) and becomes
    exactly (0, 0, 0).

    Args:
        shape: (height, width, 3), None where it varies.
    """

    _SHORTEST = 0.5

    def get_tensor_info(self) -> tfds.features.TensorInfo:
        return tfds.features.TensorInfo(shape=self._shape, dtype=np.float32)

    def decode_example(self, example: "tf.Tensor") -> "tf.Tensor":
        import tensorflow as tf

        # The slow inverse DCT answers what other JPEG readers do; the default is off by up to 4.
        pixels = tf.io.decode_jpeg(example, channels=3, dct_method="INTEGER_ACCURATE")
        pixels.set_shape(self._shape)
        n = 2 * tf.cast(pixels, tf.float32) / 255 - 1
        length = tf.norm(n, axis=-1, keepdims=True)
        return tf.where(length >= self._SHORTEST, n / length, 0.0)

    def decode_example_np(self, example: bytes) -> np.ndarray:
        from PIL import Image

        n = 2 * np.asarray(Image.open(io.BytesIO(example)), np.float32) / 255 - 1
        length = np.linalg.norm(n, axis=-1, keepdims=True)
        return np.where(length >= self._SHORTEST, n / length, np.float32(0))

    def repr_html(self, ex: np.ndarray) -> str:
        return super().repr_html(np.uint8(np.round((ex + 1) * 127.5)))
