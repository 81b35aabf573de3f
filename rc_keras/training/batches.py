"""The batches of whatever `fit` takes, one after the other, on the host."""

import itertools
import types
from collections.abc import Iterator
from typing import Any

import keras


def iterate_batches(dataset: Any) -> Iterator[Any]:
    """Batches `(images, {task: labels}, …)`, one pass.

    Args:
        dataset: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a torch `DataLoader`, a generator or another iterable
            of batches; or a tuple of arrays, which are one batch. A generator is used up as far as it is read.
    """
    if isinstance(dataset, keras.utils.PyDataset):
        indices = itertools.count() if dataset.num_batches is None else range(dataset.num_batches)
        return (dataset[index] for index in indices)
    if isinstance(dataset, tuple) and not isinstance(dataset[0], (tuple, list, types.GeneratorType)):
        return iter([dataset])
    return iter(dataset)
