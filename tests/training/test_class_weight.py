"""Weights of classes and samples, in the loss and in weighted metrics, as plain Keras has them."""

import keras
import numpy as np
import pytest
from support.tiny import TASKS, assert_same_bits, state, tiny_data, tiny_model

import rc_keras

LOSS = 1e-5  # relative, float32
STEP = 1e-6  # float32, two steps, weights of about 1: plain Keras sums the loss and its gradients in another order
SCENE = rc_keras.Task("scene", 4, "classification")
WEIGHTS = {"scene": {0: 0.5, 2: 3.0}, "semseg": {1: 0.0, 4: 2.5}, "edge": {1: 20.0}}


def batch(n=4):
    images, labels = tiny_data(n)
    return images, {**labels, "scene": np.arange(n) % 4}


def weights_for(*names):
    return {name: WEIGHTS[name] for name in names}


def of_pixels(labels, weights):
    return np.vectorize(lambda label: weights.get(int(label), 1.0))(labels).astype("float32")


def test_it_is_the_class_weight_of_plain_keras():
    """Of one class an image, which is all that plain Keras weights."""
    images, labels = batch(8)
    model, plain = (tiny_model([SCENE]) for _ in range(2))
    model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    fit = {"batch_size": 4, "shuffle": False, "verbose": 0}
    model.fit(images, {"scene": labels["scene"]}, **fit, class_weight=weights_for("scene"))
    branch = plain.branch("scene")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    branch.compile(keras.optimizers.SGD(0.01), loss=loss, run_eagerly=True)
    branch.fit(images, labels["scene"], **fit, class_weight=WEIGHTS["scene"])
    for ours, theirs in zip(model.branch("scene").weights, branch.weights, strict=True):
        ours, theirs = (keras.ops.convert_to_numpy(v) for v in (ours, theirs))
        np.testing.assert_allclose(ours, theirs, atol=STEP)


@pytest.mark.parametrize("own", [False, True])
def test_pixels_weigh_as_their_classes(own):
    """To the last bit what the same weights do as `sample_weight`."""
    images, labels = batch()
    labels = {name: labels[name] for name in ("semseg", "edge", "normals")}
    images_weigh = np.linspace(0.5, 2, 4).astype("float32") if own else np.ones(4, "float32")
    weighted, by_sample = (tiny_model(TASKS[:3]) for _ in range(2))
    for model in (weighted, by_sample):
        model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    sample_weight = {name: images_weigh[:, None, None, None] * np.ones((4, 1, 1, 1), "float32") for name in labels}
    given = {"sample_weight": sample_weight} if own else {}
    logs = weighted.train_on_batch(
        images, labels, class_weight=weights_for("semseg", "edge"), return_dict=True, **given
    )
    for name in ("semseg", "edge"):
        sample_weight[name] = sample_weight[name] * of_pixels(labels[name], WEIGHTS[name])
    expected = by_sample.train_on_batch(images, labels, sample_weight=sample_weight, return_dict=True)
    for task in TASKS[:3]:
        assert_same_bits(state(weighted.branch(task.name)), state(by_sample.branch(task.name)))
        assert logs[f"{task.name}_loss"] == expected[f"{task.name}_loss"]


def test_they_hold_for_one_call_and_in_training_alone():
    images, labels = batch()
    labels = {"semseg": labels["semseg"]}
    model = tiny_model([TASKS[0]])
    model.compile(keras.optimizers.SGD(0.0))
    data = {"x": images, "y": labels, "batch_size": 4, "verbose": 0}
    plain = model.fit(**data).history["loss"]
    none = {"semseg": dict.fromkeys(range(5), 0.0)}
    history = model.fit(**data, class_weight=none, validation_data=(images, labels)).history
    assert history["loss"] == [0.0] and history["val_loss"][0] > 0
    np.testing.assert_allclose(model.fit(**data).history["loss"], plain, rtol=0.1)  # norms have moved on
    assert model.train_on_batch(images, labels, class_weight=none)[0] == 0.0


@pytest.mark.parametrize(
    "class_weight, message",
    [
        ({0: 1.0, 1: 2.0}, r"must be a dict \{task: \{class id: weight\}\}.*Received: class_weight=\{0: 1.0"),
        ({"semsg": {0: 1.0}}, "Did you mean 'semseg'"),
        ({"normals": {0: 1.0}}, "for tasks with classes; others take `sample_weight=.*'normals' of kind normals"),
        ({"semseg": {5: 1.0}}, "class ids in 0 … 4.*Received: 5: 1.0 for task 'semseg'"),
        ({"edge": {1: -1.0}}, "class ids in 0 … 1.*Received: 1: -1.0 for task 'edge'"),
        ({"semseg": {"wall": 1.0}}, "class ids in 0 … 4"),
    ],
)
def test_wrong_weights_are_refused(class_weight, message):
    images, labels = batch()
    model = tiny_model(TASKS[:3])
    model.compile("sgd")
    for train in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match=message):
            train(images, labels, class_weight=class_weight)


def squared(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def test_weighted_metrics_are_those_of_plain_keras():
    images, labels = batch()
    weight = np.array([0.0, 1.0, 2.0, 0.5], "float32").reshape(4, 1, 1)
    metrics = {"metrics": ["mae"], "weighted_metrics": ["mae", squared]}
    model = tiny_model([TASKS[3]])
    model.compile("sgd", **{argument: {"depth": listed} for argument, listed in metrics.items()})
    data = labels["depth"]
    logs = model.evaluate(images, {"depth": data}, sample_weight={"depth": weight}, verbose=0, return_dict=True)
    branch = model.branch("depth")
    branch.compile("sgd", loss="mae", **metrics)
    expected = branch.evaluate(images, data, sample_weight=weight, verbose=0, return_dict=True)
    measured = {name.removeprefix("depth_"): value for name, value in logs.items() if name != "loss"}
    for name in ("mean_absolute_error", "weighted_mean_absolute_error", "squared"):
        theirs = expected.get(name, expected.get(name.replace("mean_absolute_error", "mae")))
        np.testing.assert_allclose(measured[name], theirs, rtol=LOSS, err_msg=name)
    assert set(measured) == {"loss", "mean_absolute_error", "weighted_mean_absolute_error", "squared"}


def test_a_weight_says_which_pixels_our_metrics_count(tmp_path):
    images, labels = batch()
    semseg = labels["semseg"]
    model = tiny_model([TASKS[0]])
    iou = rc_keras.metrics.MeanIoU(5)
    model.compile("sgd", weighted_metrics={"semseg": [iou, rc_keras.metrics.SegmentationScores(5)]})
    model.save(tmp_path / "model.keras")
    weight = np.array([0.0, 1.0, 1.0, 0.0], "float32")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        logs = each.evaluate(images, {"semseg": semseg}, sample_weight=weight, verbose=0, return_dict=True)
        half = each.evaluate(images[1:3], {"semseg": semseg[1:3]}, verbose=0, return_dict=True)
        assert logs["semseg_weighted_mean_iou"] == half["semseg_mean_iou"] != logs["semseg_mean_iou"]
        assert "semseg_weighted_pixel_accuracy" in logs


def test_weighted_metrics_are_checked():
    model = tiny_model([TASKS[0]])
    with pytest.raises(ValueError, match="`weighted_metrics` must have lists"):
        model.compile("sgd", weighted_metrics={"semseg": "accuracy"})
    with pytest.raises(ValueError, match="Did you mean 'semseg'"):
        model.compile("sgd", weighted_metrics={"semsegg": ["accuracy"]})
