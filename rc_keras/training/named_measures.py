"""Losses and metrics of a task as `compile` takes them: by name, as a function, or as an object."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.metrics import MaskedAccuracy
from rc_keras.tasks.task import Task


class FunctionLoss(keras.losses.Loss):
    """A function of Keras or the user's as a `Loss`."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return self.function(y_true, y_pred)


@keras.saving.register_keras_serializable(package="rc_keras")
class MaskedBinaryAccuracy(MaskedAccuracy):
    """Share of the labelled pixels on whose side of 0 the logit is: `keras.metrics.BinaryAccuracy` of probabilities.

    Arguments as of `MaskedAccuracy`, with labels 0 and 1 and one logit.
    """

    def update_pixels(self, y_true: Tensor, y_pred: Tensor, kept: Tensor | bool) -> None:
        super().update_pixels(y_true, ops.concatenate([ops.zeros_like(y_pred), y_pred], axis=-1), kept)


class NamedMetric(keras.metrics.Metric):
    """A metric of the user's, with its state, under another name."""

    def __init__(self, metric: keras.metrics.Metric, name: str) -> None:
        super().__init__(name=name)
        self.metric = metric

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        self.metric.update_state(*args, **kwargs)

    def reset_state(self) -> None:
        self.metric.reset_state()

    def result(self) -> Tensor | dict[str, Tensor]:
        return self.metric.result()


def get_loss(identifier: Any, task: Task) -> keras.losses.Loss:
    """A loss for raw predictions.

    `"crossentropy"` and `"ce"` mean, as in Keras, that of the kind of output, and so do `"dice"` and `"focal"`; they
    take logits and leave ignored labels out. `"mae"`, `"mse"` and `"huber"` of kind `regression` leave them out too.
    Other names are those of Keras.

    Args:
        identifier: a `keras.losses.Loss`, a function, or a name.
        task: the task it is for.

    Raises:
        ValueError: if the name is unknown, or means nothing for the task's kind.
    """
    if isinstance(identifier, str):
        named = task.definition.named_losses(task)
        if identifier.lower() in named:
            return named[identifier.lower()]()
        if _is_name(identifier, "crossentropy", "ce", "focal"):  # no names of Keras's
            raise _meaningless("loss", identifier, task)
    loss = keras.losses.get(identifier)
    return loss if isinstance(loss, keras.losses.Loss) else FunctionLoss(loss)


def get_metric(identifier: Any, task: Task, prefix: str = "") -> keras.metrics.Metric:
    """A metric of raw predictions, named `<task>_<prefix><metric>`.

    `"accuracy"` and `"acc"` mean, as in Keras, that of the kind of output: of the largest logit for segmentation and
    classification, of one logit's sign for edge and saliency (probability 0.5, where Keras would compare logits with
    0.5); both leave ignored labels out, like the task's own metric.

    Keras's own metrics and those of this package are made anew from their configuration. Any other is used itself, as
    Keras does, for it need not have one.

    Args:
        identifier: a `keras.metrics.Metric`, a function of labels and raw predictions, or a name.
        task: the task it is for.
        prefix: see above.

    Raises:
        ValueError: if the name is unknown, or means nothing for the task's kind.
    """
    if _is_name(identifier, "accuracy", "acc"):
        if not (task.definition.of_classes or task.definition.binary):
            raise _meaningless("metrics", identifier, task)
        accuracy = MaskedAccuracy if task.definition.of_classes else MaskedBinaryAccuracy
        return accuracy(ignore=task.ignore, name=f"{task.name}_{prefix}{identifier}")
    metric = keras.metrics.get(identifier)
    if not isinstance(metric, keras.metrics.Metric):
        function_name = getattr(metric, "__name__", type(metric).__name__)
        return keras.metrics.MeanMetricWrapper(metric, name=f"{task.name}_{prefix}{function_name}")
    name = f"{task.name}_{prefix}{metric.name}"
    if is_made_anew(metric):
        return type(metric).from_config({**metric.get_config(), "name": name})
    return NamedMetric(metric, name)


def is_made_anew(metric: Any) -> bool:
    """Whether `get_metric` makes another metric of a metric, with variables of its own."""
    own = type(metric).__module__.split(".")[0] in ("keras", "rc_keras")
    return own and type(metric) is not keras.metrics.MeanMetricWrapper


def _is_name(identifier: Any, *names: str) -> bool:
    return isinstance(identifier, str) and identifier.lower() in names


def _meaningless(argument: str, name: str, task: Task) -> ValueError:
    return ValueError(
        f"`{argument}` must not be {name!r} for a task of kind {task.kind}, which has no classes. "
        f"Received: {name!r} for task {task.name!r}"
    )
