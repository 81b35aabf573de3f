"""A step as the backend wants it: on JAX, variables come in as values and go out as values."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras

Answer = TypeVar("Answer")


def run_step(
    step: Callable[[Any], Answer], variables: Callable[[], Sequence[Sequence[keras.Variable]]], args: Sequence[Any]
) -> Any:
    """Runs a step with what Keras gave its `train_step` or `test_step`.

    Args:
        step: function of the data.
        variables: function that answers the groups of variables whose values JAX hands through a step.
        args: the data; on JAX before it the values of the groups.

    Returns:
        What `step` returns; on JAX that and the new values.
    """
    if keras.backend.backend() != "jax":
        return step(*args)
    state, data = args
    groups = variables()
    mapping = [pair for group, values in zip(groups, state, strict=True) for pair in zip(group, values, strict=True)]
    with keras.StatelessScope(state_mapping=mapping) as scope:
        answer = step(data)
        state = tuple([scope.get_current_value(v) for v in group] for group in groups)
    return answer, state
