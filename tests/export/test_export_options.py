"""What can be asked of an exported file: merged kernels, class ids, sizes, and the metric of the file."""

import keras
import numpy as np
import pytest
from support.tiny import TASKS, tiny_backbone, tiny_data, tiny_decoder
from support.trained import pretend_training

import rc_keras
from rc_keras.export.folding.fold import fold
from rc_keras.export.formats.registry import REGISTRY
from rc_keras.export.options import ExportOptions
from rc_keras.export.stages.check import check_request

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
pytest.importorskip("ai_edge_litert")

TOLERANCE = 1e-4  # largest difference from the model, of the range of its output


@pytest.fixture(scope="module")
def model():
    return pretend_training(
        rc_keras.build(list(TASKS), tiny_backbone(), tiny_decoder(), image_shape=(32, 32, 3), seed=0)
    )


def run(path, task, image):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(path)).get_signature_runner(task)(image=image)[task]


def images(height=32, width=32, n=1):
    return np.random.default_rng(5).integers(0, 256, (n, height, width, 3)).astype("float32")


def predict(model, task, image):
    return keras.ops.convert_to_numpy(model(image, tasks=[task])[task])


def test_merged_is_one_plain_network(model, tmp_path):
    shared = rc_keras.export.litert(model, tmp_path / "shared.tflite", tasks=["depth"], verbose=False)
    merged = rc_keras.export.litert(model, tmp_path / "merged.tflite", tasks=["depth"], mode="merged", verbose=False)
    banks = len(model.bank.convolutions)
    assert shared.operators["CONV_2D"] - merged.operators["CONV_2D"] == banks
    assert merged.bank_kernels == 0 and merged.bank_bytes == 0
    assert merged.file_bytes < shared.file_bytes
    expected = predict(model, "depth", images())
    received = run(tmp_path / "merged.tflite", "depth", images())
    np.testing.assert_allclose(received, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))


def test_groups_cannot_be_merged_and_stay_right():
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=4, padding="same", activation="relu")(image)
    x = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", groups=2)(x))
    model = rc_keras.build(["depth"], keras.Model(image, x), tiny_decoder(), image_shape=(32, 32, 3), seed=0)
    branch = pretend_training(model).branch("depth")
    bank = {}
    merged = fold(branch, bank, merged=True)
    assert len(bank) == 1
    expected = keras.ops.convert_to_numpy(branch(images()))
    np.testing.assert_allclose(merged(images()), expected, rtol=0, atol=TOLERANCE * np.ptp(expected))


def test_class_ids(model, tmp_path):
    path = tmp_path / "m.tflite"
    report = model.export(path, tasks=["semseg", "edge"], segmentation="class_ids", verbose=False)
    ids = run(path, "semseg", images())
    assert ids.dtype == np.uint8 and ids.shape == (1, 32, 32)
    assert report.tasks["semseg"].agreement > 0.999 and report.tasks["edge"].agreement is None
    np.testing.assert_array_equal(ids, predict(model, "semseg", images()).argmax(-1))
    assert run(path, "edge", images()).shape == (1, 32, 32, 1)


def test_network_resolution_leaves_the_last_resizing_out(model, tmp_path):
    path = tmp_path / "m.tflite"
    report = model.export(path, tasks=["semseg", "edge"], resolution="network", verbose=False)
    logits = run(path, "semseg", images())
    assert logits.shape == (1, 8, 8, 5) and report.tasks["edge"].shape == (1, 32, 32, 1)
    resized = keras.ops.image.resize(logits, (32, 32))
    expected = predict(model, "semseg", images())
    np.testing.assert_allclose(resized, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))


def test_another_size_than_the_models(model, tmp_path):
    path = tmp_path / "m.tflite"
    model.export(path, tasks=["depth"], image_shape=(48, 40, 3), verbose=False)
    free = rc_keras.build(list(TASKS), tiny_backbone(), tiny_decoder(), image_shape=(None, None, 3), bank=model.bank)
    for name in ("depth",):
        model.save_task(name, tmp_path / "depth.rctask")
        free.load_task(tmp_path / "depth.rctask", overwrite=True)
    expected = predict(free, "depth", images(48, 40))
    received = run(path, "depth", images(48, 40))
    np.testing.assert_allclose(received, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))


def test_labels_give_the_metric_of_model_and_file(model, tmp_path):
    pictures, labels = tiny_data(4)
    names = ["semseg", "edge", "depth"]
    chosen = {name: labels[name] for name in names}
    report = model.export(tmp_path / "m.tflite", tasks=names, images=pictures, labels=chosen, verbose=False)
    for name in names:
        metric = model.task(name).make_metrics()[0]
        metric.update_state(labels[name], predict(model, name, pictures))
        scores = report.tasks[name].metric
        assert scores["name"] == metric.name
        assert scores["model"] == pytest.approx(float(metric.result()), rel=1e-5)
        assert scores["file"] == pytest.approx(scores["model"], abs=1e-3)
    assert "rmse of the model" in str(report)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"mode": "merge", "tasks": ["edge"]}, "Did you mean 'merged'"),
        ({"mode": "merged"}, "`tasks` must be one task"),
        ({"segmentation": "ids"}, "segmentation"),
        ({"resolution": "full"}, "resolution"),
        ({"image_shape": (32, 32)}, r"`image_shape` must be \(height, width, 3\)"),
        ({"image_shape": (32, 32, 1)}, "`image_shape` must be"),
        ({"labels": {"depth": []}}, "`labels` must come with the `images`"),
        ({"images": images(n=2), "labels": {"depht": []}}, "Did you mean 'depth'"),
        ({"images": images(n=2), "labels": {"depth": []}, "tasks": ["edge"]}, "must be of exported tasks"),
        ({"images": images(n=2), "labels": {"depth": np.ones((1, 32, 32, 1), "float32")}}, "one for each image, 2"),
        ({"images": images(n=2), "labels": {"depth": -np.ones((2, 32, 32, 1), "float32")}}, "metres above 0"),
        ({"images": images(n=2), "labels": {}, "resolution": "network"}, "resolution='network'"),
    ],
)
def test_bad_options(model, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.export(tmp_path / "m.tflite", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_images_to_compare_on_are_those_given_or_some_of_the_calibration(model):
    of_calibration, given = images(n=3), images(n=1)[:, ::-1]
    options = {"quantize": "int8", "representative_data": of_calibration, "tasks": ["edge"]}
    for more, expected in (({}, of_calibration[:2]), ({"images": given}, given)):
        request = check_request(REGISTRY["onnx"], model, ExportOptions(**options, **more))
        assert request.compares_calibration == (not more)
        assert np.array_equal(np.concatenate(request.images["edge"]), expected)
    options = ExportOptions(tasks=["edge"])
    assert not check_request(REGISTRY["onnx"], model, options).compares_calibration
