"""Losses and metrics that `compile` takes mean what they mean in Keras, for the kind of output."""

import keras
import numpy as np
import pytest
from support.tiny import TASKS, tiny_data, tiny_model

import rc_keras

METRIC = 1e-6  # relative, float32
LOSS = 1e-5  # relative, float32
SCENE = rc_keras.Task("scene", 4, "classification")


def measured(task, labels, metrics, **overrides):
    """Logs of a model on four images, and its raw predictions."""
    model = tiny_model([task])
    model.compile(optimizer="sgd", metrics={task.name: metrics}, **overrides)
    images = tiny_data(4)[0]
    logs = model.evaluate(images, {task.name: labels}, verbose=0, return_dict=True)
    return logs, model.predict(images, verbose=0)[task.name]


def plain_logs(prediction, labels, **measures):
    """What plain Keras measures of these predictions."""
    given = keras.Input(prediction.shape[1:])
    model = keras.Model(given, keras.layers.Identity()(given))
    model.compile(optimizer="sgd", **measures)
    return model.evaluate(prediction, labels, verbose=0, return_dict=True)


@pytest.mark.parametrize("name", ["accuracy", "acc"])
@pytest.mark.parametrize("task", [SCENE, TASKS[0]], ids=lambda task: task.name)
def test_accuracy_of_classes_is_that_of_keras(task, name):
    labels = np.arange(4) if task is SCENE else tiny_data(4)[1]["semseg"]
    logs, prediction = measured(task, labels, [name])
    expected = plain_logs(prediction, labels, loss="mse", metrics=[name])[name]
    np.testing.assert_allclose(logs[f"{task.name}_{name}"], expected, rtol=METRIC)
    perfect = np.argmax(prediction, axis=-1)
    assert measured(task, perfect, [name])[0][f"{task.name}_{name}"] == 1.0


@pytest.mark.parametrize("kind", ["edge", "saliency"])
def test_accuracy_of_one_logit_is_that_of_keras_on_probabilities(kind):
    task = rc_keras.Task("one", 1, kind)
    labels = tiny_data(4)[1]["edge"]
    logs, prediction = measured(task, labels, ["accuracy"])
    probability = keras.ops.convert_to_numpy(task.activate(prediction))
    expected = plain_logs(probability, labels, loss="mse", metrics=["accuracy"])["accuracy"]
    np.testing.assert_allclose(logs["one_accuracy"], expected, rtol=METRIC)
    assert (prediction > 0.0).any() and (prediction < 0.5).any()  # where raw logits would be cut


@pytest.mark.parametrize("task", [TASKS[0], TASKS[1]], ids=lambda task: task.name)
def test_ignored_labels_are_left_out(task):
    labels = tiny_data(4)[1][task.name].copy()
    whole = measured(task, labels[:, :16].repeat(2, axis=1), ["accuracy"])[1]
    right = np.argmax(whole, axis=-1)[..., None] if task.channels > 1 else (whole > 0).astype("int32")
    right[:, ::2] = 255
    assert measured(task, right, ["accuracy"])[0][f"{task.name}_accuracy"] == 1.0


@pytest.mark.parametrize("name", ["crossentropy", "ce"])
@pytest.mark.parametrize("task", [SCENE, TASKS[0], TASKS[1]], ids=lambda task: task.name)
def test_crossentropy_is_that_of_keras_on_probabilities(task, name):
    labels = np.arange(4) if task is SCENE else tiny_data(4)[1][task.name]
    logs, prediction = measured(task, labels, [], loss={task.name: name})
    activate = keras.ops.sigmoid if task.channels == 1 else keras.ops.softmax
    probability = keras.ops.convert_to_numpy(activate(prediction))
    expected = plain_logs(probability, labels, loss=name)["loss"]
    np.testing.assert_allclose(logs[f"{task.name}_loss"], expected, rtol=LOSS)


@pytest.mark.parametrize("task", [TASKS[2], TASKS[3]], ids=lambda task: task.name)
def test_names_without_a_meaning_are_refused(task):
    model = tiny_model([task])
    with pytest.raises(ValueError, match=f"must not be 'acc' for a task of kind {task.kind}"):
        model.compile(optimizer="sgd", metrics={task.name: ["acc"]})
    with pytest.raises(ValueError, match=f"must not be 'ce' for a task of kind {task.kind}"):
        model.compile(optimizer="sgd", loss={task.name: "ce"})


class Thresholded(keras.metrics.Metric):
    """Without `get_config`, so that a copy by configuration would forget the limit."""

    def __init__(self, limit=1e9, name="below"):
        super().__init__(name=name)
        self.limit = limit
        self.total = self.add_variable((), initializer="zeros", name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(keras.ops.sum(keras.ops.cast(y_true < self.limit, "float32")))

    def result(self):
        return self.total


def absolute(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=(1, 2, 3))


def test_metrics_that_keras_accepts():
    labels = tiny_data(4)[1]["depth"]
    wrapped = keras.metrics.MeanMetricWrapper(lambda t, p: absolute(t, p), name="wrapped")
    model = tiny_model([TASKS[3]])
    model.compile(optimizer="sgd", metrics={"depth": [absolute, wrapped, Thresholded(3.0), lambda t, p: t, "mae"]})
    images = tiny_data(4)[0]
    history = model.fit(images, {"depth": labels}, epochs=2, batch_size=2, verbose=0).history
    assert len(history["depth_wrapped"]) == 2
    logs = model.evaluate(images, {"depth": labels}, verbose=0, return_dict=True)
    prediction = model.predict(images, verbose=0)["depth"]
    expected = plain_logs(
        prediction, labels, loss="mse", metrics=[absolute, Thresholded(3.0), keras.metrics.MeanAbsoluteError()]
    )
    np.testing.assert_allclose(logs["depth_absolute"], expected["absolute"], rtol=METRIC)
    np.testing.assert_allclose(logs["depth_wrapped"], expected["absolute"], rtol=METRIC)
    np.testing.assert_allclose(logs["depth_mean_absolute_error"], expected["mean_absolute_error"], rtol=METRIC)
    np.testing.assert_allclose(logs["depth_<lambda>"], labels.mean(), rtol=METRIC)
    assert logs["depth_below"] == expected["below"] == np.count_nonzero(labels < 3.0)


def test_a_metric_keeps_its_name_and_is_not_shared():
    own = Thresholded(3.0)
    model = tiny_model([TASKS[3], TASKS[1]])
    for _ in range(2):  # the second time too
        model.compile(optimizer="sgd", metrics={"depth": [own]})
        images, labels = tiny_data(4)
        logs = model.evaluate(images, {"depth": labels["depth"]}, verbose=0, return_dict=True)
        assert "depth_below" in logs and own.name == "below"
    with pytest.raises(ValueError, match="one of its own for each task.*'below'"):
        model.compile(optimizer="sgd", metrics={"depth": [own], "edge": [own]})
    shared = keras.metrics.MeanAbsoluteError()
    model.compile(optimizer="sgd", metrics={"depth": [shared], "edge": [shared]})
    labels = {"depth": labels["depth"], "edge": labels["edge"]}
    logs = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert logs["depth_mean_absolute_error"] != logs["edge_mean_absolute_error"]


def dice_of_keras(labels, probability):
    encoded = np.eye(probability.shape[-1])[labels[..., 0]] if probability.shape[-1] > 1 else labels
    return keras.losses.Dice()(encoded, probability)


def focal_of_keras(labels, probability):
    if probability.shape[-1] == 1:
        return keras.losses.BinaryFocalCrossentropy()(labels, probability)
    return keras.losses.CategoricalFocalCrossentropy()(np.eye(probability.shape[-1])[labels[..., 0]], probability)


@pytest.mark.parametrize("name, theirs", [("dice", dice_of_keras), ("focal", focal_of_keras)])
@pytest.mark.parametrize("task", [TASKS[0], TASKS[1]], ids=lambda task: task.name)
def test_dice_and_focal_are_those_of_keras_on_probabilities(task, name, theirs):
    labels = tiny_data(4)[1][task.name]
    logs, prediction = measured(task, labels, [], loss={task.name: name})
    activate = keras.ops.sigmoid if task.channels == 1 else keras.ops.softmax
    expected = theirs(labels, keras.ops.convert_to_numpy(activate(prediction)))
    np.testing.assert_allclose(logs[f"{task.name}_loss"], float(expected), rtol=LOSS)


def test_a_task_takes_the_names_of_losses_too():
    task = rc_keras.Task("lane", 3, "segmentation", loss="dice", ignore=0)
    assert isinstance(task.loss, rc_keras.losses.MaskedDice) and task.loss.ignore == 0
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(task)) == task
    with pytest.raises(ValueError, match=r"or one of \['crossentropy', 'ce', 'dice', 'focal'\]. Received: loss='dise'"):
        rc_keras.Task("lane", 3, "segmentation", loss="dise")
    with pytest.raises(ValueError, match="`loss` must be a `keras.losses.Loss` or None. Received: loss='focal'"):
        rc_keras.Task("depth", 1, "depth", loss="focal")
    with pytest.raises(ValueError, match="'focal' for a task of kind depth"):
        tiny_model([TASKS[3]]).compile("sgd", loss={"depth": "focal"})
