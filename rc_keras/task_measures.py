"""What is measured of one task while it trains: its loss and its metrics."""

import keras
from keras import ops


class TaskMeasures:
    """Loss, loss weight and metrics of one task, logged as `<task>_loss` and `<task>_<metric>`.

    Args:
        task: the `Task`.
        loss: a `keras.losses.Loss`, a function or a name instead of the task's own.
        weight: a number instead of the task's `loss_weight`.
        metrics: `keras.metrics.Metric`s, or names of some, instead of the task's own.
    """

    def __init__(self, task, loss=None, weight=None, metrics=None):
        self.loss = task.make_loss() if loss is None else _loss_object(loss)
        self.weight = task.loss_weight if weight is None else float(weight)
        self.weight_variable = None
        self._task = task.name
        self.tracker = keras.metrics.Mean(name=f"{task.name}_loss")
        metrics = task.make_metrics() if metrics is None else [keras.metrics.get(metric) for metric in metrics]
        self._metrics = [
            type(metric).from_config({**metric.get_config(), "name": f"{task.name}_{metric.name}"})
            for metric in metrics
        ]

    def make_weight_variable(self):
        """The loss weight as a variable, with the value of `weight`; it holds from now on, and may change."""
        if self.weight_variable is None:
            self.weight_variable = keras.Variable(
                0.0, dtype="float32", trainable=False, name=f"{self._task}_loss_weight"
            )
        self.restore_weight()
        return self.weight_variable

    def restore_weight(self):
        """Sets the variable, if there is one, back to `weight`."""
        if self.weight_variable is not None:
            self.weight_variable.assign(self.weight)

    def current_weight(self):
        """The loss weight: a number, or the value of its variable."""
        return self.weight if self.weight_variable is None else ops.convert_to_tensor(self.weight_variable)

    @property
    def metrics(self):
        """All `keras.metrics.Metric`s, the loss first."""
        return [self.tracker, *self._metrics]

    def results(self):
        """`{log entry: number}`."""
        results = {}
        for metric in self.metrics:
            result = metric.result()
            if isinstance(result, dict):
                results |= {f"{self._task}_{key}": value for key, value in result.items()}
            else:
                results[metric.name] = result
        return results

    def update(self, labels, prediction, loss):
        """Takes in a batch."""
        self.tracker.update_state(loss, sample_weight=ops.shape(prediction)[0])
        for metric in self._metrics:
            metric.update_state(labels, prediction)


class FunctionLoss(keras.losses.Loss):
    """A function of Keras or the user's as a `Loss`."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, y_true, y_pred):
        return self.function(y_true, y_pred)


def _loss_object(loss):
    loss = keras.losses.get(loss)
    return loss if isinstance(loss, keras.losses.Loss) else FunctionLoss(loss)
