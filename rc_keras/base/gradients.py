"""Gradients by some variables, and the order in which they are computed, on every backend."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from rc_keras.base.keras_types import Tensor

_ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


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
        values = [v.value for v in variables]
        gradients = torch.autograd.grad(loss, values, allow_unused=True) if values else ()  # it refuses none
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
