"""Every metric that is reported of a task."""

import inspect

import keras

from rc_keras import Task, metrics
from rc_keras.zoo.measures import measures_of_kind


def evaluation_metrics(task: Task, dataset: str | None = None, padded: bool = False) -> list[keras.metrics.Metric]:
    """Fresh metrics of a task for raw predictions, those that `rc_keras.zoo.measures` names for its kind.

    Edges have only `MaxF` here: `rc_keras.metrics.boundaries` measures them on the host. Images without people are left
    out of a task named `human_parts`, as in training. A task's own metrics (`Task(metrics=…)`) are taken instead for
    a kind that training and this measure alike, as edges and classification, and for one that has no measure there.

    Mean IoU of NYUD is published in two forms that do not compare: over 40 classes, where 0, "unlabelled", is ignored,
    and over 41, where it is a class. `mean_iou` of its `semseg` is the one that the task is trained for (`task.ignore`;
    of `rc_keras.nyud()` that over 40), and the other is reported beside it: `mean_iou_41`, or `mean_iou_40` where class
    0 is trained. Of a network that is never trained to answer 0, IoU of class 0 is 0, and what it answers where nothing
    is labelled are false alarms. Padding has the label 0 too, so there is no `mean_iou_41` of padded images. A further
    mean, `mean_iou_without_40`, leaves out the last class, "otherprop", which one copy of the data lacks in training.

    Args:
        task: the `Task`.
        dataset: name of the data set, as the TFDS builder has it; `None`: another one.
        padded: whether some image is measured with padding around it, or beside images that fill up a batch.

    Returns:
        A list of `keras.metrics.Metric`.
    """
    classes = dict.fromkeys(measure.metrics[task.kind] for measure in measures_of_kind(task.kind))
    in_graph = [metric for metric in classes if issubclass(metric, keras.metrics.Metric)]
    if not in_graph or (task.metrics is not None and in_graph == [type(m) for m in task.definition.make_metrics(task)]):
        return task.make_metrics()
    if (dataset, task.name) != ("nyud_mt", "semseg") or not task.definition.is_class_map:
        return [_make(metric, task) for metric in in_graph]
    scores = [_make(metric, task, without=(40,)) for metric in in_graph]
    if task.ignore != 0:
        return [*scores, metrics.MeanIoU(task.channels, ignore=0, name="mean_iou_40")]
    return scores if padded else [*scores, metrics.MeanIoU(task.channels, ignore=255, name="mean_iou_41")]


def _make(metric: type[keras.metrics.Metric], task: Task, without: tuple[int, ...] = ()) -> keras.metrics.Metric:
    """A metric with what its constructor takes of a task."""
    options = {
        "num_classes": task.channels,
        "ignore": task.ignore,
        "without": without,
        "skip_unlabelled_images": task.skips_unlabelled_images,
    }
    taken = inspect.signature(metric.__init__).parameters
    return metric(**{name: value for name, value in options.items() if name in taken})
