"""Several replicas of a step, on TensorFlow; with other backends there is one."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import keras

from rc_keras.base.keras_types import Tensor

if TYPE_CHECKING:
    import tensorflow as tf

_ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


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
