"""`check_data`: a whole pass over data, before a long training finds out."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from rc_keras.network.multi_task_network import MultiTaskNetwork
from rc_keras.tasks.labels import find_labelled
from rc_keras.tasks.task import Task
from rc_keras.training import first_batch, label_keys
from rc_keras.training.batches import iterate_batches


@dataclasses.dataclass
class LabelSummary:
    """What the labels of a task hold.

    Attributes:
        batches: batches that have labels of the task.
        labelled: pixels with a label; images for a classification.
        ignored: pixels without.
        counts: `{class id: pixels}` of the labelled ones, where labels are ids.
        low, high: least and greatest value of a labelled pixel, where labels are metres or components of vectors.
    """

    batches: int = 0
    labelled: int = 0
    ignored: int = 0
    counts: dict[int, int] = dataclasses.field(default_factory=dict)
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass
class DataSummary:
    """What `check_data` saw; `str` of it is a table.

    Attributes:
        batches: number of batches.
        images: number of images.
        tasks: `{task: LabelSummary}`.
    """

    batches: int
    images: int
    tasks: dict[str, LabelSummary]

    def __str__(self) -> str:
        lines = [f"{self.batches} batches, {self.images} images"]
        width = max(map(len, self.tasks))
        for name, labels in self.tasks.items():
            share = labels.labelled / max(labels.labelled + labels.ignored, 1)
            if labels.counts:
                content = f"classes {', '.join(map(str, sorted(labels.counts)))}"
            elif labels.low is not None:
                content = f"values {labels.low:.4g} … {labels.high:.4g}"
            else:
                content = "nothing"
            lines.append(f"{name:<{width}}  {labels.batches} batches, {share:6.1%} labelled: {content}")
        return "\n".join(lines)


def check_data(dataset: Any, tasks: MultiTaskNetwork | Task | str | Sequence[Task | str]) -> DataSummary:
    """Checks every image and every label of data for `fit`.

    `fit` looks at the first batch only. Labels that are wrong in a later one train wrongly without a word: a class id
    out of range counts as ignored, and a NaN spoils the weights.

    Example:

    >>> print(rc_keras.check_data(dataset, model))
    12 batches, 96 images
    semseg  12 batches,  93.1% labelled: classes 0, 1, 2, 5
    depth   12 batches,  88.0% labelled: values 0.713 … 9.99

    Args:
        dataset: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a torch `DataLoader`, a generator or another iterable
            of batches `(images, {task: labels})`, which must end; or such a tuple of arrays. A generator is used up.
        tasks: the model that is to be trained, or names in the catalogue and `Task` objects. With a model, sizes of
            images are checked too.

    Returns:
        The `DataSummary`.

    Raises:
        ValueError: at the first thing that is wrong; names the batch, from 0, and the task.

    Warns:
        UserWarning: of what looks wrong in all batches, and of label keys that are no task.
    """
    chosen, image_shape = _chosen(tasks)
    summary = DataSummary(0, 0, {name: LabelSummary() for name in chosen})
    told: set[str] = set()
    doubts: dict[str, str] | None = None  # {what is expected: the whole warning}, of all batches so far
    _check_ends(dataset)
    for batch in iterate_batches(dataset):
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(batch)
        try:
            names = label_keys.labelled(labels, list(chosen))
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                images = keras.tree.map_structure(_as_array, images)
                first_batch.check_images(images, image_shape)
                for name in names:
                    label = _as_array(labels[name])
                    chosen[name].check_labels(label, images.shape)
                    _take_in(summary.tasks[name], chosen[name], label)
        except ValueError as error:
            raise ValueError(f"Batch {summary.batches}: {error}") from None
        label_keys.warn_of_unknown(labels, list(chosen), told)
        texts = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
        doubted = {text.partition("Received")[0]: text for text in texts}
        doubts = doubted if doubts is None else {key: text for key, text in doubts.items() if key in doubted}
        summary.batches += 1
        summary.images += len(images)
    if not summary.batches:
        raise first_batch.empty(type(dataset).__name__)
    for text in (doubts or {}).values():
        warnings.warn(text, stacklevel=2)
    never = [name for name, labels in summary.tasks.items() if not labels.batches]
    if never:
        raise ValueError(f"Labels must hold the tasks {list(chosen)}. Received: none in any batch for {never}")
    return summary


def _chosen(tasks: Any) -> tuple[dict[str, Task], tuple[int | None, ...]]:
    """The tasks by name, and the shape of images."""
    if isinstance(tasks, MultiTaskNetwork):
        return {name: tasks.task(name) for name in tasks.tasks}, tasks.image_shape
    listed = [Task.get(task) for task in ([tasks] if isinstance(tasks, (str, Task)) else tasks)]
    if not listed:
        raise ValueError(f"`tasks` must be at least one task. Received: tasks={tasks!r}")
    return {task.name: task for task in listed}, (None, None, None)


def _check_ends(dataset: Any) -> None:
    if isinstance(dataset, keras.utils.PyDataset) and dataset.num_batches is None:
        raise ValueError("`dataset` must end. Received: a PyDataset without a number of batches")
    if callable(getattr(dataset, "cardinality", None)) and int(dataset.cardinality()) == -1:
        raise ValueError("`dataset` must end: `dataset.take(n)` does. Received: one that repeats for ever")
    if "Distributed" in type(dataset).__name__:
        raise ValueError("`dataset` must be checked before it is distributed. Received: a distributed one")


def _take_in(summary: LabelSummary, task: Task, labels: np.ndarray) -> None:
    """Adds up what the checked labels of a batch hold."""
    valid = find_labelled(task, labels)
    summary.batches += 1
    summary.labelled += int(np.count_nonzero(valid))
    summary.ignored += int(np.count_nonzero(~valid))
    values = labels[valid]
    if not task.definition.continuous:
        for value, count in zip(*np.unique(values, return_counts=True), strict=True):
            summary.counts[int(value)] = summary.counts.get(int(value), 0) + int(count)
    elif values.size:
        low, high = float(values.min()), float(values.max())
        summary.low = low if summary.low is None else min(summary.low, low)
        summary.high = high if summary.high is None else max(summary.high, high)


def _as_array(tensor: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)
