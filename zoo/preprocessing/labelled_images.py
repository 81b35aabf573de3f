"""Stored examples as images with the labels of some tasks."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from rc_keras.tasks.task import Task
from rc_keras.zoo.preprocessing import augmentation
from rc_keras.zoo.preprocessing.stored_examples import StoredExamples


class LabelledImages:
    """The examples of a split for some tasks, read one by one.

    Args:
        builder: the prepared TFDS builder, whose features are named `image`, like the tasks, and perhaps `id`.
        split: name of a split, or a part of one.
        tasks: list of `rc_keras.Task`.
        size: (height, width) everything is resized to, or None: as stored.
        for_evaluation: whether a task's labels come from the feature `<task>_for_evaluation` where there is one.

    Raises:
        ValueError: if the data set has no labels of a task, or they are of a type that the task's kind cannot have.
    """

    def __init__(
        self,
        builder: tfds.core.DatasetBuilder,
        split: str,
        tasks: Iterable[Task],
        size: tuple[int, int] | None = None,
        for_evaluation: bool = False,
    ) -> None:
        self.tasks = list(tasks)
        self._size = size
        features = builder.info.features
        _check_features(features, self.tasks)
        self._has_id = "id" in features
        special = {task.name: f"{task.name}_for_evaluation" for task in self.tasks}
        self._labels = {task: name if for_evaluation and name in features else task for task, name in special.items()}
        names = ["image", *self._labels.values(), *(["id"] if self._has_id else [])]
        self._examples = StoredExamples(builder, split, names)

    def __len__(self) -> int:
        return len(self._examples)

    def read(self, index: tf.Tensor) -> tuple[tf.Tensor, augmentation.Labels, tf.Tensor]:
        """Reads an example.

        Args:
            index: scalar int64 tensor, place in the stored order.

        Returns:
            (image, labels, id): uint8 `(height, width, 3)`, `{task: label}` and a string, the index where the data set
            has no `id`.
        """
        example = self._examples.read(index)
        name = example.pop("id") if self._has_id else tf.strings.as_string(index)
        image = example.pop("image")
        labels = {task: example[name] for task, name in self._labels.items()}
        image, labels = augmentation.standard_labels(image, labels, self.tasks)
        if self._size is not None:
            image, labels = augmentation.resize(image, labels, self.tasks, self._size)
        return image, labels, name


def indices_where(builder: tfds.core.DatasetBuilder, split: str, feature: str) -> np.ndarray:
    """Places, in the stored order, of the examples whose boolean feature is true; int64 array."""
    features = builder.info.features
    flags = sorted(name for name in features if features[name].np_dtype == np.bool_ and features[name].shape == ())
    if feature not in flags:
        raise ValueError(f"`only` must be a boolean feature of the data set: {flags}. Received: only={feature!r}")
    examples = StoredExamples(builder, split, [feature])
    values = tf.data.Dataset.range(len(examples)).map(lambda i: examples.read(i)[feature], tf.data.AUTOTUNE)
    return np.flatnonzero(np.fromiter(values.as_numpy_iterator(), bool)).astype("int64")


def spread(count: int, shown: int) -> list[int]:
    """So many places of a split of `count`, all if it has fewer, far from each other: neighbours may be much alike."""
    return [place * count // min(shown, count) for place in range(min(shown, count))]


def stream_options() -> tf.data.Options:
    """Options of every stream: the same order always, and no operation that takes cores from the training step."""
    options = tf.data.Options()
    options.deterministic = True
    options.threading.max_intra_op_parallelism = 1
    # What several workers share out are the batches; the files are none of tf.data's own.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options


def _check_features(features: tfds.features.FeaturesDict, tasks: list[Task]) -> None:
    present = sorted(name for name in features if name not in ("image", "id") and not name.endswith("_for_evaluation"))
    names = [task.name for task in tasks]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"`tasks` must be tasks of different names, at least one. Received: tasks={tasks}")
    for task in tasks:
        if task.name not in present:
            raise ValueError(f"The data set must have labels of every task; it has {present}. Received: {task}")
        _check_feature(task, features[task.name])
    if features["image"].np_dtype != np.uint8 or features["image"].shape[-1] != 3:
        raise ValueError(
            "The data set's `image` must be uint8 of shape (height, width, 3). "
            f"Received: {features['image'].np_dtype} of shape {features['image'].shape}"
        )


def _check_feature(task: Task, feature: tfds.features.FeatureConnector) -> None:
    shape, dtype, kind = feature.shape, np.dtype(feature.np_dtype), task.definition
    channels = kind.label_channels(task)
    if kind.dense:
        expected = f"of shape (height, width, {channels})"
        right = (len(shape) == 3 and shape[2] in (channels, None)) or (len(shape) == 2 and channels == 1)
    elif kind.of_classes:
        expected, right = "one class id an example", shape == ()
    else:
        expected, right = f"of shape ({channels},)", shape == (channels,) or (shape == () and channels == 1)
    if not right:
        raise ValueError(f"`{task.name}` labels ({task.kind}) must be {expected}. Received: a feature of shape {shape}")
    if kind.continuous and not np.issubdtype(dtype, np.floating):
        raise ValueError(f"`{task.name}` labels ({task.kind}) must be floating-point {kind.values}. Received: {dtype}")
