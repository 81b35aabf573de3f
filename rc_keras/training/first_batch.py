"""The first batch of whatever `fit`, `evaluate` and `predict` take, for checks on the host."""

import copy
import itertools
import types
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from rc_keras.base.keras_types import Tensor
from rc_keras.network.image_spec import check_image_spec


class FirstBatch:
    """Gives the first batch it meets to a check, and lets all others pass.

    Args:
        check: function of a batch `(images, labels, …)`, or of images alone. What it raises is raised, and kept, for
            TensorFlow answers an error of its own where it reads the data.

    Attributes:
        seen: whether there was a batch; `True` too of data that it does not watch.
        error: what the check raised, or `None`.
    """

    def __init__(self, check: Callable[[Any], None]) -> None:
        self.seen = False
        self.error: Exception | None = None
        self._check = check

    def __call__(self, batch: Any) -> None:
        if self.seen:
            return
        self.seen = True
        try:
            self._check(batch)
        except Exception as error:
            self.error = error
            raise

    def watch(
        self, x: Any, y: Any = None, sample_weight: Any = None, batch_size: int | None = None, read_now: bool = True
    ) -> Any:
        """Data that shows its first batch before it hands it out: none is lost, and none is read twice.

        Arrays, generators and a `PyDataset` are looked at now; a `PyDataset` is asked for its batch 0, and asked again
        when it is that batch's turn. A `tf.data.Dataset` is looked at where it is read, and a distributed one not at
        all: it answers one value for each replica.

        Args:
            x, y, sample_weight, batch_size: as in `keras.Model.fit`: arrays, a `tf.data.Dataset`, a
                `keras.utils.PyDataset`, a torch `DataLoader`, or a generator.
            read_now: whether a `DataLoader` starts its first iteration now, and not where it is first iterated over.

        Returns:
            `x` to be used from now on.

        Raises:
            ValueError: if there is no batch, or by the check.
        """
        if isinstance(x, types.GeneratorType):
            return self._started(x)
        if isinstance(x, keras.utils.PyDataset):
            self(x[0])
            return x
        if hasattr(x, "element_spec"):
            if "Distributed" not in type(x).__name__:
                return self._watch_dataset(x)
            self.seen = True
            return x
        if hasattr(x, "batch_sampler"):
            return self._watch_loader(x, read_now)
        if not all(hasattr(a, "shape") for a in keras.tree.flatten((x, y)) if a is not None):
            self.seen = True
            return x
        n = batch_size or 32
        batch = keras.tree.map_structure(lambda a: a[:n] if hasattr(a, "shape") else a, (x, y, sample_weight))
        self(batch if y is not None else batch[:1])
        return x

    def _started(self, batches: Iterator[Any]) -> Generator[Any, None, None]:
        """Reads and checks the first batch; answers a generator of this one and the others."""
        nothing = object()
        first = next(batches, nothing)
        if first is nothing:
            raise empty(type(batches).__name__)
        self(first)
        return (batch for batch in itertools.chain([first], batches))

    def _watch_dataset(self, dataset: Any) -> Any:
        """Checks within the pipeline, in a step that is no more than a condition for all batches but the first."""
        import tensorflow as tf

        if int(dataset.cardinality()) == 0:
            raise empty("tf.data.Dataset")
        specs = tf.nest.flatten(dataset.element_spec)
        dense = [isinstance(spec, tf.TensorSpec) for spec in specs]

        def look(*arrays: np.ndarray) -> np.bool_:
            values = iter(arrays)
            flat = [next(values) if is_dense else None for is_dense in dense]
            self(tf.nest.pack_sequence_as(dataset.element_spec, flat))
            return np.bool_(False)

        def step(is_first: Any, batch: Any) -> tuple[Any, Any]:
            tensors = [tensor for tensor, is_dense in zip(tf.nest.flatten(batch), dense, strict=True) if is_dense]
            # Not stateful: otherwise deterministic TensorFlow takes all parallelism out of the user's pipeline.
            still_first = tf.cond(
                is_first, lambda: tf.numpy_function(look, tensors, tf.bool, stateful=False), lambda: tf.constant(False)
            )
            return tf.ensure_shape(still_first, ()), batch

        return dataset.scan(tf.constant(True), step)

    def _watch_loader(self, loader: Any, read_now: bool) -> Any:
        """A copy of a `DataLoader` that iterates over the original, and checks the first batch of that."""
        started = [self._started(iter(loader))] if read_now else []

        def iterate(_: Any) -> Iterator[Any]:
            if started:
                return started.pop()
            return iter(loader) if self.seen else self._started(iter(loader))

        watched = copy.copy(loader)
        watched.__class__ = type(type(loader).__name__, (type(loader),), {"__iter__": iterate})
        return watched


def empty(kind: str) -> ValueError:
    """The error for data without a batch."""
    return ValueError(f"The data must hold at least one batch. Received: an empty {kind}")


def check_images(images: Tensor, image_shape: Sequence[int | None]) -> None:
    """Checks a batch of images on the host.

    Args:
        images: the batch.
        image_shape: `(height, width, channels)` the model takes, `None` where it takes any.

    Raises:
        ValueError: if the shape or the dtype is wrong.

    Warns:
        UserWarning: if the values look normalized already instead of 0..255.
    """
    check_image_spec(images, image_shape)
    values = keras.ops.convert_to_numpy(images)
    if values.dtype.kind != "f" or not values.size:
        return
    low, high = float(np.min(values)), float(np.max(values))
    if not np.isfinite([low, high]).all():
        raise ValueError(f"Images must be finite. Received: values from {low} to {high}")
    if low < 0.0 or 0.0 < high <= 1.5:
        warnings.warn(
            f"Images must be RGB in 0..255; the model normalizes them itself. Received: values from {low:.3g} to "
            f"{high:.3g}, which look normalized already.",
            stacklevel=2,
        )
