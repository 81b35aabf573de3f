"""Convolutions; dilated and pointwise ones faster than Keras has them."""

import functools
import math
from collections.abc import Callable, Sequence

import keras
from keras import ops

from rc_keras.base.keras_types import Shape, Tensor

_WORTH_LEAVING_OUT = 0.8
_ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def conv2d(
    inputs: Tensor,
    kernel: Tensor,
    strides: Sequence[int] = (1, 1),
    padding: str = "valid",
    dilation_rate: Sequence[int] = (1, 1),
) -> Tensor:
    """2D convolution, channels last, without bias.

    Keras on TensorFlow runs a dilated convolution as space-to-batch, convolution, batch-to-space, which is up to 60
    times slower on the small maps of a segmentation network. Here a dilated convolution of stride 1 and "same" padding
    is one operation, and taps that only ever meet the padding are left out.

    Args:
        inputs: `(batch, height, width, c_in)`.
        kernel: `(k_h, k_w, c_in / groups, c_out)`.
        strides: two integers.
        padding: `"valid"` or `"same"`.
        dilation_rate: two integers.

    Returns:
        `(batch, new_height, new_width, c_out)`.
    """
    if (
        _ON_TENSORFLOW
        and max(dilation_rate) > 1
        and max(strides) == 1
        and padding == "same"
        and inputs.shape[-1] == kernel.shape[2]
        and all(size % 2 for size in kernel.shape[:2])
    ):
        return _dilated_conv2d(inputs, kernel, tuple(dilation_rate))
    return ops.conv(
        inputs,
        kernel,
        strides=list(strides),
        padding=padding,
        data_format="channels_last",
        dilation_rate=list(dilation_rate),
    )


def _dilated_conv2d(inputs: Tensor, kernel: Tensor, dilation_rate: tuple[int, ...]) -> Tensor:
    """Dilated convolution on TensorFlow: stride 1, "same" padding, odd kernel, one group."""
    import tensorflow as tf

    inputs, kernel = tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel)
    rows, columns = map(_meeting_taps, kernel.shape[:2], inputs.shape[1:3], dilation_rate)
    if (rows, columns) != (slice(None), slice(None)):
        kernel = kernel[rows, columns]

    def convolve(x: Tensor, k: Tensor) -> Tensor:
        return tf.nn.conv2d(x, k, 1, "SAME", dilations=dilation_rate)

    if _differentiates_dilation(inputs.dtype.name):
        return convolve(inputs, kernel)

    @tf.custom_gradient
    def differentiable(x: Tensor, k: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
        def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
            flipped = tf.transpose(tf.reverse(k, (0, 1)), (0, 1, 3, 2))
            return differentiable(upstream, flipped), _kernel_gradient(x, upstream, k.shape, dilation_rate)

        return convolve(x, k), gradient

    return differentiable(inputs, kernel)


def _meeting_taps(taps: int, size: int | None, dilation: int) -> slice:
    """The taps of a kernel axis that meet a map of `size`; the others see nothing but padding."""
    reach = taps // 2
    if size is not None:
        reach = min(reach, (size - 1) // dilation)
    return slice(None) if reach == taps // 2 else slice(taps // 2 - reach, taps // 2 + reach + 1)


def tap_positions(kernel_size: Sequence[int], sizes: Sequence[int], dilation_rate: Sequence[int]) -> int:
    """At how many positions the taps of a dilated "same" convolution of stride 1 are computed, for one image.

    Those on padding are left out where they are at least a fifth of all: by TensorFlow, onnxruntime, and files for
    LiteRT. With nine 1x1 products LiteRT takes .82 of the time where .77 are left, .44 where .39 are.

    Args:
        kernel_size: two odd integers, k_h and k_w.
        sizes: height and width of the map.
        dilation_rate: two integers.

    Returns:
        The sum over the taps: at most k_h k_w height width.
    """
    meeting = math.prod(
        sum(max(size - abs(tap - taps // 2) * dilation, 0) for tap in range(taps))
        for taps, size, dilation in zip(kernel_size, sizes, dilation_rate, strict=True)
    )
    whole = math.prod((*kernel_size, *sizes))
    return meeting if meeting <= _WORTH_LEAVING_OUT * whole else whole


def _kernel_gradient(inputs: Tensor, upstream: Tensor, kernel_shape: Shape, dilation_rate: tuple[int, ...]) -> Tensor:
    """Gradient of a dilated "same" convolution by its kernel: one matrix product for each tap."""
    import tensorflow as tf

    k_h, k_w, c_in, c_out = kernel_shape
    (d_h, d_w), (_, height, width, _) = dilation_rate, tf.unstack(tf.shape(upstream))
    p_h, p_w = d_h * (k_h // 2), d_w * (k_w // 2)
    padded = tf.pad(inputs, ((0, 0), (p_h, p_h), (p_w, p_w), (0, 0)))
    columns = tf.reshape(upstream, (-1, c_out))
    taps = [
        tf.matmul(
            tf.reshape(padded[:, i * d_h : i * d_h + height, j * d_w : j * d_w + width], (-1, c_in)),
            columns,
            transpose_a=True,
        )
        for i in range(k_h)
        for j in range(k_w)
    ]
    return tf.reshape(tf.stack(taps), kernel_shape)


@functools.cache
def _differentiates_dilation(dtype: str) -> bool:
    """Whether TensorFlow's own gradient of a dilated convolution runs here.

    It does on a GPU; on a CPU only through oneDNN, and not for every dtype. Asking the kernel is the one sure way.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return True
    with tf.init_scope():
        image, kernel = tf.ones((1, 4, 4, 1), dtype), tf.ones((3, 3, 1, 1), dtype)
        settings = {"strides": (1, 1, 1, 1), "padding": "SAME", "dilations": (1, 2, 2, 1)}
        try:
            tf.raw_ops.Conv2DBackpropInput(input_sizes=(1, 4, 4, 1), filter=kernel, out_backprop=image, **settings)
            tf.raw_ops.Conv2DBackpropFilter(input=image, filter_sizes=(3, 3, 1, 1), out_backprop=image, **settings)
        except tf.errors.OpError:
            return False
    return True


def pointwise(inputs: Tensor, kernel: Tensor) -> Tensor:
    """1x1 convolution as one matrix product: `(..., c_in)` and `(c_in, c_out)` to `(..., c_out)`."""
    flat = ops.reshape(inputs, (-1, kernel.shape[0]))
    return ops.reshape(ops.matmul(flat, kernel), (*ops.shape(inputs)[:-1], kernel.shape[1]))
