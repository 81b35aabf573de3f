"""A regression of the user's: its unit, losses, pictures, and files."""

import json

import keras
import numpy as np
import pytest
from support.tiny import SIZE, tiny_data, tiny_model

import rc_keras
from rc_keras.tasks.legend import Ramp

LOSS = 1e-5  # relative, float32
HEIGHT = rc_keras.Task("height", channels=1, kind="regression", unit="m", loss="mse")
FLOW = rc_keras.Task("flow", channels=2, kind="regression", unit="px")


def labels_of(task, n=4, seed=1):
    return np.random.default_rng(seed).normal(size=(n, SIZE, SIZE, task.channels)).astype("float32")


def test_it_is_measured_as_plain_keras_measures():
    images, _ = tiny_data(4)
    for task, theirs in ((HEIGHT, keras.losses.MeanSquaredError()), (FLOW, keras.losses.MeanAbsoluteError())):
        labels = labels_of(task)
        model = tiny_model([task])
        model.compile("sgd")
        logs = model.evaluate(images, {task.name: labels}, verbose=0, return_dict=True)
        prediction = model.predict(images, verbose=0)[task.name]
        metric = keras.metrics.RootMeanSquaredError()
        metric.update_state(labels, prediction)
        expected = {
            f"{task.name}_loss": theirs(labels, prediction),
            f"{task.name}_root_mean_squared_error": metric.result(),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(logs[name], float(value), rtol=LOSS, err_msg=name)


def test_it_learns_where_there_are_labels():
    images, _ = tiny_data(8)
    labels = np.full((8, SIZE, SIZE), -3.0, "float32")
    labels[:, : SIZE // 2] = -9999
    model = tiny_model([HEIGHT])
    model.compile(keras.optimizers.Adam(0.1))
    history = model.fit(images, {"height": labels}, batch_size=4, epochs=8, verbose=0).history
    assert history["height_root_mean_squared_error"][-1] < 0.5 * history["height_root_mean_squared_error"][0] < 5


def test_labels_are_numbers_of_any_sign():
    labels = labels_of(FLOW)
    FLOW.check_labels(labels, (4, SIZE, SIZE, 3))
    with pytest.raises(ValueError, match="must be floating-point numbers"):
        HEIGHT.check_labels(np.zeros((4, SIZE, SIZE), "int32"), (4, SIZE, SIZE, 3))
    with pytest.raises(ValueError, match="be of shape"):
        FLOW.check_labels(labels[..., :1], (4, SIZE, SIZE, 3))


def test_pictures_and_what_they_mean():
    label = np.array([[-2.0, 0.0, -9999.0, 2.0]], "float32")
    kind = HEIGHT.definition
    assert kind.picture_range(HEIGHT, label) == (-2.0, 2.0)
    assert kind.picture_range(HEIGHT, np.full((1, 2), -9999.0)) == (0.0, 1.0)
    drawn = HEIGHT.draw_label(label, depth_range=(-2.0, 2.0)), HEIGHT.draw(label[..., None], depth_range=(-2.0, 2.0))
    np.testing.assert_array_equal(*(picture[0, [0, 1, 3]] for picture in drawn))
    legend = kind.legend(HEIGHT, (-2.0, 2.0))
    assert isinstance(legend, Ramp) and (legend.low, legend.high) == ("-2 m", "2 m")
    assert kind.constant_guess(HEIGHT, label)[0] == "mean height, 0 m"
    assert kind.legend(HEIGHT, (0.0, 0.0124)).high == "0.012 m" and kind.legend(HEIGHT, (7.0, 310.4)).high == "310 m"
    assert kind.legend(HEIGHT, (-0.01, 3.25)).low == "0 m"
    flow = np.stack([label, -label], axis=-1)
    flow[0, 2] = -9999
    assert FLOW.definition.picture_range(FLOW, flow) == (-2.0, 2.0)


def test_units_are_told_and_kept():
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(HEIGHT)))
    assert config["config"]["unit"] == "m"
    again = keras.saving.deserialize_keras_object(config)
    assert again == HEIGHT and again.unit == "m" and isinstance(again.loss, rc_keras.losses.MaskedMeanSquaredError)
    assert "unit" not in rc_keras.Task("depth", 1, "depth").get_config()  # as it was written before there were units
    assert "unit" not in rc_keras.Task("share", 1, "regression").get_config()
    for kind, unit in (("depth", "mm"), ("regression", 3)):
        with pytest.raises(ValueError, match=r"`unit` must be a string for regression.*Received: unit="):
            rc_keras.Task("t", 1, kind, unit=unit)


def test_models_and_packs_keep_it(tmp_path):
    images, _ = tiny_data(4)
    model = tiny_model([HEIGHT, FLOW])
    model.save(tmp_path / "model.keras")
    model.save_task("flow", tmp_path / "flow.rctask")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.load_task(tmp_path / "flow.rctask", overwrite=True)
    for task in (HEIGHT, FLOW):
        assert loaded.task(task.name) == task
        ours, theirs = (each.predict(images, verbose=0)[task.name] for each in (model, loaded))
        np.testing.assert_array_equal(ours, theirs)
