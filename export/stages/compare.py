"""Fourth stage: every task of what was written, run in its runtime, against the model."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from rc_keras.export.comparison import TOLERANCES, Comparison, compare
from rc_keras.export.folding.endpoint import endpoint
from rc_keras.export.folding.fold import in_float32, resized
from rc_keras.export.folding.folded_network import ALL, FoldedNetwork
from rc_keras.export.formats.format import Written
from rc_keras.export.report import ExportError, JointReport, TaskReport
from rc_keras.export.stages.check import Request
from rc_keras.tasks.task import Task

_WORTH_TRACING = 8  # images, above which a traced model is faster, its tracing included
# Bytes of a weight in a file: kernels, and the biases that come with them.
_BYTES = {"float32": (4, 4), "float16": (2, 2), "dynamic_int8": (1, 4), "int8": (1, 4)}


def compare_task(request: Request, folded: FoldedNetwork, written: Written, name: str) -> TaskReport:
    """Compares the answers of a task with the model's.

    Args:
        request, folded, written: what the stages before gave.
        name: of the task.
    """
    task, options = request.tasks[name], request.options
    model = endpoint(
        in_float32(resized(request.model.branch(name), request.image_shape)),
        task,
        options.segmentation,
        options.resolution,
    )
    images = request.images[name]
    if len(images) > _WORTH_TRACING:
        import tensorflow as tf

        model = tf.function(model)
    answers: dict[str, list[np.ndarray]] = {"model": [], "file": []}  # kept only for the metric

    def keep(whose: str, answer: np.ndarray) -> np.ndarray:
        if name in request.labels:
            answers[whose].append(answer)
        return answer

    def expected(image: np.ndarray) -> np.ndarray:
        return keep("model", keras.ops.convert_to_numpy(model(image, training=False)))

    def received(image: np.ndarray) -> np.ndarray:
        return keep("file", written.run(name, image))

    class_ids = task.definition.is_class_map and options.segmentation == "class_ids"
    comparison = compare(expected, received, images, classes=task.definition.of_classes)
    measured = len(answers["file"]) == len(images)  # not where there are no labels, or the shapes differ
    own = [layer for layer in folded.models[name].layers if layer.name not in folded.bank]
    return TaskReport(
        shape=comparison.shape,
        difference=comparison.maximum,
        mean_difference=comparison.mean,
        relative_difference=comparison.relative,
        correlation=comparison.correlation,
        agreement=comparison.agreement,
        passed=comparison.passes(TOLERANCES[folded.precision], class_ids),
        bytes=ideal_bytes(own, folded.precision),
        operators=written.operators.get(name, {}),
        metric=_metric(task, request.labels[name], answers, class_ids) if measured else None,
        operators_outside_delegate=written.operators_outside_delegate.get(name),
    )


def compare_joint(request: Request, folded: FoldedNetwork, written: Written) -> JointReport | None:
    """Compares the signature or graph of all tasks with theirs, on the images of the first task.

    Returns:
        The `JointReport`; `None` where there is none.

    Raises:
        ExportError: if an answer is another one.
    """
    if written.run_all is None:
        return None
    images = next(iter(request.images.values()))
    together = [written.run_all(image) for image in images]
    largest = 0.0
    for name, task in request.tasks.items():
        comparison = _compare_answers(written, name, images, [answers[name] for answers in together], task)
        class_ids = task.definition.is_class_map and request.options.segmentation == "class_ids"
        if not comparison.passes(TOLERANCES[folded.precision], class_ids):
            raise ExportError(f"The signature {ALL!r} must answer what that of {name!r} does; the file was discarded.")
        largest = max(largest, comparison.relative)
    return JointReport(largest, written.joint_bytes, written.operators[ALL])


def _compare_answers(
    written: Written, name: str, images: Iterable[np.ndarray], answers: Iterable[np.ndarray], task: Task
) -> Comparison:
    """Compares answers of a task to images with those of its own signature or graph."""
    left = iter(answers)
    return compare(
        lambda image: written.run(name, image), lambda image: next(left), images, classes=task.definition.of_classes
    )


def ideal_bytes(layers: Iterable[keras.Operation], precision: str) -> int:
    """Bytes of the weights of some layers at the precision of the file."""
    kernel, other = _BYTES[precision]
    weights = [w for layer in layers for w in getattr(layer, "weights", [])]
    return sum((kernel if len(w.shape) > 1 else other) * int(np.prod(w.shape)) for w in weights)


def _metric(
    task: Task, labels: Sequence[Any], answers: Mapping[str, Sequence[np.ndarray]], class_ids: bool
) -> dict[str, Any]:
    """The task's metric of the model and of the file."""
    metric = task.make_metrics()[0]
    result: dict[str, Any] = {"name": metric.name}
    for whose, outputs in answers.items():
        metric.reset_state()
        for label, output in zip(labels, outputs, strict=True):
            scores = np.eye(task.channels, dtype="float32")[output] if class_ids else task.definition.deactivate(output)
            metric.update_state(np.asarray(label)[None], scores)
        result[whose] = float(metric.result())
    return result
