"""The six tasks of the `scenes` dataset."""

from typing import TYPE_CHECKING

from rc_keras.zoo.rendering.classes import CLASSES, PARTS

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task


def scenes_tasks() -> "list[Task]":
    """Returns the tasks of `scenes`, one a label, named like the dataset's features.

    Loss weights are the paper's for PASCAL-Context; depth has NYUD's.

    Returns:
        A list of `rc_keras.Task`: semseg, parts, edge, saliency, normals, depth.

    Example:
        >>> model = rc_keras.build(tasks=scenes_tasks(), image_shape=(128, 128, 3))
    """
    from rc_keras.tasks.task import Task

    return [
        Task("semseg", len(CLASSES), "segmentation", loss_weight=1.0, class_names=CLASSES),
        Task("parts", len(PARTS), "segmentation", loss_weight=2.0, class_names=PARTS),
        Task("edge", 1, "edge", loss_weight=50.0),
        Task("saliency", 1, "saliency", loss_weight=5.0),
        Task("normals", 3, "normals", loss_weight=10.0),
        Task("depth", 1, "depth", loss_weight=1.0),
    ]
