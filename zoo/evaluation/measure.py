"""Runs a model over a split and takes every metric of its tasks."""

import os
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import keras

from rc_keras.base.keras_types import Tensor
from rc_keras.metrics import SegmentationScores
from rc_keras.metrics.boundaries import BoundaryScores
from rc_keras.model import MultiTaskModel
from rc_keras.tasks.task import Task
from rc_keras.zoo.datasets.data import Data
from rc_keras.zoo.evaluation.machine import describe_machine
from rc_keras.zoo.evaluation.predictions import write_predictions
from rc_keras.zoo.evaluation.results import Results
from rc_keras.zoo.evaluation_metrics import evaluation_metrics
from rc_keras.zoo.preprocessing import crop_back, is_padded, spread
from rc_keras.zoo.progress import BatchProgress, Progress
from rc_keras.zoo.recipes import Recipe
from rc_keras.zoo.recipes.batches import evaluation_stream, measured_pairs, preprocessing
from rc_keras.zoo.strategy import Strategy

if TYPE_CHECKING:
    import tensorflow as tf

SHOWN_IMAGES = 6


def measure(
    path: str | os.PathLike,
    recipe: Recipe,
    data: Data,
    strategy: Strategy,
    split: str = "validation",
    tasks: Sequence[str] | None = None,
    suppress: bool = True,
    pictures: str | os.PathLike | None = None,
) -> Results:
    """Measures a saved model.

    Args:
        path: of the `.keras` file.
        recipe: the `Recipe` that says how images are prepared.
        data: the prepared `Data`.
        strategy: see `rc_keras.zoo.strategy`; all workers call this together.
        split: of the data.
        tasks: names of tasks; `None`: all of the model that the data has labels of.
        suppress: whether edges are thinned by non-maximum suppression before the edge metric.
        pictures: path of a PNG with some predictions, or `None`.

    Returns:
        The `Results`.
    """
    begin = time.perf_counter()
    with strategy.scope():
        model = keras.saving.load_model(path)
        names = [name for name in tasks or model.tasks if tasks or name in data.tasks]
        selected = data.select(names)
        padded = strategy.num_replicas > 1 or is_padded(data.builder, split, preprocessing(recipe))
        metrics = {task.name: evaluation_metrics(task, data.builder.name, padded) for task in selected}
        model.compile(optimizer="sgd", metrics=metrics)
    batches = evaluation_stream(recipe, data, selected, split)
    pairs = measured_pairs(batches, selected, recipe.batch_size, strategy.num_replicas)
    images = data.builder.info.splits[split].num_examples
    count = -(-images // recipe.batch_size)
    progress = BatchProgress(Progress("batch", count, shown=strategy.is_chief))
    model.evaluate(strategy.distribute(pairs), verbose=0, callbacks=[progress])
    live = {metric.name: metric for metric in model.metrics}
    scores: dict[str, dict[str, float]] = {}
    classes: dict[str, dict[str, float]] = {}
    for task in selected:
        scores[task.name] = {}
        for name in [metric.name for metric in metrics[task.name]]:
            metric = live[f"{task.name}_{name}"]
            scores[task.name] |= _results(name, metric.result())
            if isinstance(metric, SegmentationScores):
                classes[task.name] = _class_iou(task, metric)
    if strategy.is_chief:
        if strategy.num_replicas > 1:
            model = keras.saving.load_model(path)
        for task in selected:
            if task.definition.lines:
                scores[task.name] |= _boundary_scores(model, task, batches, count, recipe.edge_tolerance, suppress)
        if pictures is not None:
            shown = evaluation_stream(recipe, data, selected, split, only=spread(images, SHOWN_IMAGES))
            _draw(model, selected, shown, pictures)
    details = {
        "model": str(path),
        "method": model.bank.method.name,
        "dataset": data.builder.info.full_name,
        "edge_tolerance": recipe.edge_tolerance,
        "edge_suppression": suppress,
        "seconds": round(time.perf_counter() - begin, 1),
        "machine": describe_machine(),
    }
    units = {task.name: task.unit for task in selected if task.unit}
    if units:
        details["units"] = units
    return Results(scores, classes, images, split, details)


def _results(name: str, result: Tensor | dict[str, Tensor]) -> dict[str, float]:
    """The numbers of a metric, `{name: number}`."""
    named = result if isinstance(result, dict) else {name: result}
    return {key: float(value) for key, value in named.items()}


def _class_iou(task: Task, metric: SegmentationScores) -> dict[str, float]:
    values = keras.ops.convert_to_numpy(metric.class_iou())
    return dict(zip(task.class_names or map(str, range(task.channels)), map(float, values), strict=True))


def _boundary_scores(
    model: MultiTaskModel, task: Task, batches: "tf.data.Dataset", count: int, tolerance: float, suppress: bool
) -> dict[str, float]:
    """The edge metric, on images without their padding."""
    branch = model.branch(task.name)
    progress = Progress(f"{task.name}, boundaries: batch", count)
    with BoundaryScores(max_distance=tolerance, suppress=suppress) as scores:
        for number, (images, labels, info) in enumerate(batches.as_numpy_iterator(), 1):
            probabilities = keras.ops.convert_to_numpy(task.activate(branch.predict_on_batch(images)))
            for label, probability, box in zip(labels[task.name], probabilities, info["box"], strict=True):
                scores.add(crop_back(label, box)[..., 0], crop_back(probability, box)[..., 0])
            progress.update(number)
        return scores.result()


def _draw(model: MultiTaskModel, tasks: Iterable[Task], batches: "tf.data.Dataset", path: str | os.PathLike) -> None:
    """Draws all images of the batches."""
    images, labels, info = next(batches.unbatch().batch(SHOWN_IMAGES).as_numpy_iterator())
    predictions = {task.name: model.branch(task.name).predict_on_batch(images) for task in tasks}
    write_predictions(path, tasks, images, labels, predictions, info["box"])
