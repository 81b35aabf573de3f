"""The few operations that are faster, or only possible, with one backend's own functions.

Everything else in the package is written with `keras.ops`. TensorFlow is imported here only while Keras runs on it.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from rc_keras.keras_types import Shape, Tensor

if TYPE_CHECKING:
    import tensorflow as tf

_ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
_FUSED_NORM_DTYPES = ("float32", "bfloat16", "float16")


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
            return convolve(upstream, flipped), _kernel_gradient(x, upstream, k.shape, dilation_rate)

        return convolve(x, k), gradient

    return differentiable(inputs, kernel)


def _meeting_taps(taps: int, size: int | None, dilation: int) -> slice:
    """The taps of a kernel axis that meet a map of `size`; the others see nothing but padding."""
    reach = taps // 2
    if size is not None:
        reach = min(reach, (size - 1) // dilation)
    return slice(None) if reach == taps // 2 else slice(taps // 2 - reach, taps // 2 + reach + 1)


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


def resize_bilinear(inputs: Tensor, size: Sequence[int | Tensor]) -> Tensor:
    """Bilinear resizing with half-pixel centres of `(batch, h, w, channels)` to `(batch, *size, channels)`.

    `keras.ops.image.resize` looks at the value of `size`, which a traced TensorFlow graph does not have where height or
    width are free.
    """
    if not _ON_TENSORFLOW or all(isinstance(n, int) for n in size):
        return ops.image.resize(inputs, size, interpolation="bilinear", data_format="channels_last")
    import tensorflow as tf

    return ops.cast(tf.image.resize(inputs, size), inputs.dtype)


def supports_fused_batch_norm(inputs: Tensor) -> bool:
    """Whether `fused_batch_norm` can take `inputs`, a 4D tensor with channels last."""
    return (
        _ON_TENSORFLOW
        and len(inputs.shape) == 4
        and keras.backend.standardize_dtype(inputs.dtype) in _FUSED_NORM_DTYPES
    )


def fused_batch_norm(
    inputs: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float, training: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalization in one TensorFlow kernel, statistics in float32.

    Args:
        inputs: `(batch, height, width, channels)`.
        gamma, beta: scale and offset, float32, `(channels,)`.
        mean, variance: the statistics to normalize with; only read when `training` is false.
        epsilon: added to the variance.
        training: whether to normalize with the statistics of this batch.

    Returns:
        `(outputs, mean, variance)`: outputs in the dtype of `inputs`, and the statistics of the batch (or the given
        ones). The variance of a batch is the unbiased one, divided by n - 1 (by 1 where n is 1); the outputs are
        normalized with the biased one.
    """
    import tensorflow as tf

    if not training:
        outputs, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False
        )
        return outputs, mean, variance
    empty = tf.zeros((0,), "float32")
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=empty, variance=empty, epsilon=epsilon, is_training=True
    )
    return outputs, mean, variance


def replica_count() -> int:
    """How many replicas the current `tf.distribute` strategy keeps in step; 1 without one."""
    if not _ON_TENSORFLOW:
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def in_replica() -> bool:
    """Whether the current code runs once for each of several replicas."""
    if replica_count() == 1:
        return False
    import tensorflow as tf

    return tf.distribute.in_cross_replica_context() is False


def scope_of(strategy: "tf.distribute.Strategy | None") -> contextlib.AbstractContextManager[Any]:
    """The scope of a `tf.distribute` strategy as a context, empty where there is none or it is entered already."""
    if strategy is None:
        return contextlib.nullcontext()
    import tensorflow as tf

    entered = tf.distribute.has_strategy() or strategy is tf.distribute.get_strategy()  # the latter: the default one
    return contextlib.nullcontext() if entered else strategy.scope()


def sum_over_replicas(tensors: Tensor | list[Tensor | None]) -> Any:
    """The sums of tensors over the replicas, the same on each; the tensors themselves where there is one replica.

    Args:
        tensors: a tensor or a list, in which `None` stays `None`.
    """
    if not in_replica():
        return tensors
    import tensorflow as tf

    flat = [tensors] if not isinstance(tensors, list) else tensors
    present = [tensor for tensor in flat if tensor is not None]
    sums = iter(tf.distribute.get_replica_context().all_reduce("SUM", present)) if present else iter(())
    flat = [None if tensor is None else next(sums) for tensor in flat]
    return flat if isinstance(tensors, list) else flat[0]


def with_logs_of_all_replicas(
    step_function: Callable[[Iterator[Any]], Any],
    read_logs: Callable[[tuple[str, ...]], dict[str, Tensor]],
    names: Callable[[], Iterable[str]],
) -> Callable[[Iterator[Any]], dict[str, Tensor]]:
    """Makes Keras's compiled step of several replicas answer logs over all of them.

    Args:
        step_function: `model.train_function` or `model.test_function`.
        read_logs: function from the names of tasks to their metrics' results. It runs outside of the replicas, where
            TensorFlow adds up their states.
        names: function that answers the names of the tasks of the last step.
    """
    import tensorflow as tf

    read_logs = tf.function(read_logs)

    def function(iterator: Iterator[Any]) -> dict[str, Tensor]:
        step_function(iterator)
        return read_logs(tuple(names()))

    return function


def after(tensors: Any, dependencies: Sequence[Tensor | None]) -> Any:
    """`tensors`, computed only once `dependencies` are there: lets a traced graph reuse memory between tasks."""
    if not _ON_TENSORFLOW or not dependencies:
        return tensors
    import tensorflow as tf

    with tf.control_dependencies([d for d in dependencies if d is not None]):
        return keras.tree.map_structure(tf.identity, tensors)


def value_and_gradients(
    function: Callable[[], tuple[Tensor, Any]], variables: Sequence[keras.Variable], state: Sequence[keras.Variable]
) -> tuple[Any, list[Tensor | None]]:
    """Evaluates `function` and the gradients of the loss it returns, on every backend.

    Args:
        function: takes nothing, returns `(loss, auxiliary)`; `loss` is a scalar tensor, `auxiliary` any structure of
            tensors. It may update the variables of `state`.
        variables: the `keras.Variable`s to differentiate by.
        state: every other `keras.Variable` that `function` reads or updates. JAX needs the list; there the call must
            stand in a `keras.StatelessScope` that knows these variables.

    Returns:
        `(auxiliary, gradients)`, the gradients in the order of `variables`, `None` where the loss does not depend on
        one.
    """
    return _VALUE_AND_GRADIENTS[keras.backend.backend()](function, variables, state)


def _tensorflow_gradients(
    function: Callable[[], tuple[Tensor, Any]], variables: Sequence[keras.Variable], state: Sequence[keras.Variable]
) -> tuple[Any, list[Tensor | None]]:
    del state
    import tensorflow as tf

    values = [v.value for v in variables]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        loss, auxiliary = function()
    return auxiliary, tape.gradient(loss, values)


def _torch_gradients(
    function: Callable[[], tuple[Tensor, Any]], variables: Sequence[keras.Variable], state: Sequence[keras.Variable]
) -> tuple[Any, list[Tensor | None]]:
    del state
    import torch

    with torch.enable_grad():
        loss, auxiliary = function()
        gradients = torch.autograd.grad(loss, [v.value for v in variables], allow_unused=True)
    detached = keras.tree.map_structure(lambda t: t.detach() if torch.is_tensor(t) else t, auxiliary)
    return detached, list(gradients)


def _jax_gradients(
    function: Callable[[], tuple[Tensor, Any]], variables: Sequence[keras.Variable], state: Sequence[keras.Variable]
) -> tuple[Any, list[Tensor | None]]:
    import jax

    current = [v.value for v in state]

    def pure(values: list[Tensor]) -> tuple[Tensor, tuple[Any, list[Tensor]]]:
        mapping = [*zip(variables, values, strict=True), *zip(state, current, strict=True)]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            loss, auxiliary = function()
        return loss, (auxiliary, [scope.get_current_value(v) for v in state])

    gradients, (auxiliary, updated) = jax.grad(pure, has_aux=True)([v.value for v in variables])
    for variable, value in zip(state, updated, strict=True):
        variable.assign(value)
    return auxiliary, gradients


_VALUE_AND_GRADIENTS: dict[str, Callable[..., tuple[Any, list[Tensor | None]]]] = {
    "tensorflow": _tensorflow_gradients,
    "torch": _torch_gradients,
    "jax": _jax_gradients,
}
