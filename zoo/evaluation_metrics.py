"""Every metric that is reported of a task."""

from rc_keras import metrics

# The mean without NYUD's last class, "otherprop", is taken too: one copy of the data lacks it in the training split.
_WITHOUT = {("segmentation", 41): (40,)}


def evaluation_metrics(task):
    """Fresh metrics of a task for raw predictions, all that its kind is published with.

    Edges have only `MaxF` here: `rc_keras.metrics.boundaries` measures them on the host. Images without people are left
    out of a task named `human_parts`.

    Args:
        task: the `Task`.

    Returns:
        A list of `keras.metrics.Metric`.
    """
    if task.kind == "segmentation":
        scores = metrics.SegmentationScores(
            task.channels,
            ignore=task.ignore,
            without=_WITHOUT.get((task.kind, task.channels), ()),
            skip_unlabelled_images=task.name == "human_parts",
        )
        return [scores]
    if task.kind == "saliency":
        return [metrics.SaliencyScores(ignore=task.ignore)]
    if task.kind == "normals":
        return [metrics.NormalsErrors()]
    if task.kind == "depth":
        return [metrics.DepthErrors()]
    return task.make_metrics()
