"""LR-ASPP computes what the paper's figure says, and is light."""

import keras
import numpy as np
import pytest
from support.tiny import TASKS, arrays, tiny_data, tiny_model
from support.trained import pretend_training

import rc_keras
from rc_keras.decoders import LRASPP

ROUNDING = 1e-5  # of the range: float32 against float64
HIGH, LOW, IMAGE = (6, 9, 5), (12, 18, 3), (48, 72, 3)


def resize(x, height, width):
    """Bilinear, half-pixel centres, along one axis after the other."""
    for axis, size in ((1, height), (2, width)):
        places = np.clip((np.arange(size) + 0.5) * x.shape[axis] / size - 0.5, 0, x.shape[axis] - 1)
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, x.shape[axis] - 1)
        share = (places - low).reshape([-1 if at == axis else 1 for at in range(4)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


def pool(x, size, strides):
    rows, columns = (range(0, x.shape[at] - size[at - 1] + 1, strides[at - 1]) for at in (1, 2))
    windows = [[x[:, r : r + size[0], c : c + size[1]].mean((1, 2)) for c in columns] for r in rows]
    return np.array(windows).transpose(2, 0, 1, 3)


def paper(weights, high, low, size, strides):
    """Figure 10: two classifiers, added."""
    x = high @ weights["project_conv/kernel"][0, 0]
    norm = {key: weights[f"project_norm/{key}"] for key in ("gamma", "beta", "moving_mean", "moving_variance")}
    x = (x - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-5) * norm["gamma"] + norm["beta"]
    gate = 1 / (1 + np.exp(-pool(high, size, strides) @ weights["gate_conv/kernel"][0, 0]))
    x = np.maximum(x, 0) * resize(gate, *x.shape[1:3])
    kernel = weights["head/kernel"][0, 0]
    scores = resize(x, *low.shape[1:3]) @ kernel[: x.shape[-1]] + low @ kernel[x.shape[-1] :] + weights["head/bias"]
    return resize(scores, *IMAGE[:2])


@pytest.mark.parametrize("free", [False, True], ids=["static", "free"])
@pytest.mark.parametrize(
    ("settings", "size", "strides"),
    [
        ({}, HIGH[:2], HIGH[:2]),
        ({"pool_size": (4, 5), "pool_strides": (2, 3)}, (4, 5), (2, 3)),
        ({"pool_size": (3, 3)}, (3, 3), (3, 3)),
    ],
)
def test_equals_the_paper_in_float64(settings, size, strides, free):
    generator = np.random.default_rng(0)
    shapes = {"image": IMAGE, "high_level": HIGH, "low_level": LOW}
    inputs = {
        name: keras.Input((None, None, shape[-1]) if free else shape, name=name) for name, shape in shapes.items()
    }
    raw = LRASPP(7, **settings)(inputs["image"], inputs, 4, "t__decoder_", 0)
    network = keras.Model(inputs, raw)
    weights = {}
    for layer in network.layers:
        for weight in layer.weights:
            uniform = weight.name in ("gamma", "moving_variance")
            value = generator.uniform(0.5, 1.5, weight.shape) if uniform else generator.normal(size=weight.shape)
            weight.assign(value)
            weights[f"{layer.name.removeprefix('t__decoder_')}/{weight.name}"] = value.astype("float32").astype(float)
    maps = {name: generator.normal(size=(2, *shape)) for name, shape in shapes.items()}
    received = network.predict({name: x.astype("float32") for name, x in maps.items()}, verbose=0)
    high, low = (maps[name].astype("float32").astype(float) for name in ("high_level", "low_level"))
    expected = paper(weights, high, low, size, strides)
    assert received.shape == (2, *IMAGE[:2], 4)
    np.testing.assert_allclose(received, expected, rtol=0, atol=ROUNDING * np.ptp(expected))


def test_is_light():
    """On maps like MobileNetV3's the paper's decoder has 1x1 kernels alone: 128 (960 + 960 + 2) + 20 (128 + 24 + 1)."""
    image = keras.Input((224, 224, 3))
    high, low = (keras.Input(shape) for shape in ((14, 14, 960), (56, 56, 24)))
    raw = LRASPP()(image, {"high_level": high, "low_level": low}, 20, "t__decoder_", 0)
    network = keras.Model([image, high, low], raw)
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == 128 * (960 + 960 + 2) + 20 * 153


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("width", 0),
        ("width", 1.5),
        ("pool_size", 49),
        ("pool_size", (49,)),
        ("pool_size", (49, 0)),
        ("pool_strides", (16, 20)),  # without a size
        ("pool_strides", (1, 2, 3)),
    ],
)
def test_wrong_arguments(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be .*Received: {argument}="):
        LRASPP(**{argument: value})


def test_its_configuration():
    decoder = LRASPP(16, pool_size=[4, 4], pool_strides=(2, 2))
    again = rc_keras.decoders.get(keras.saving.serialize_keras_object(decoder))
    assert again.get_config() == {"width": 16, "pool_size": (4, 4), "pool_strides": (2, 2)}
    assert LRASPP().get_config() == {"width": 128, "pool_size": None, "pool_strides": None}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
@pytest.mark.parametrize("whole", [False, True], ids=["encoder's bank", "decoder's too"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("model.tflite", {}),
        ("model.tflite", {"quantize": "int8", "representative_data": tiny_data(8)[0]}),
        ("onnx", {"format": "onnx"}),
    ],
)
def test_exports(name, options, whole, tmp_path):
    pytest.importorskip("onnx" if "onnx" in name else "ai_edge_litert")
    model = tiny_model(TASKS[:2], decoder=LRASPP(8))
    if whole:
        bank = rc_keras.FilterBank.from_task(pretend_training(model), "semseg", response_energy=0.8)
        assert "decoder_project_conv" in bank.convolutions and "decoder_head" not in bank.convolutions
        model = tiny_model(TASKS[:2], decoder=None, bank=bank)
    report = pretend_training(model).export(tmp_path / name, verbose=False, **options)
    assert report.passed and report.bank_kernels_stored_once == report.bank_kernels


def test_trains():
    images, labels = tiny_data(4)
    model = tiny_model(TASKS[:2], decoder=LRASPP(8))
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    before = arrays({v.path: v for v in model.trainable_variables})
    model.fit(images, {name: labels[name] for name in model.tasks}, verbose=0)
    after = arrays({v.path: v for v in model.trainable_variables})
    still = [path for path in before if "decoder" in path and np.array_equal(before[path], after[path])]
    assert still == []
