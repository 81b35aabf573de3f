"""Weights of torch's layers give the same answers in Keras's; of values that cannot be taken, none is."""

import h5py
import keras
import numpy as np
import pytest

from rc_keras.pretrained import load_weights

TOLERANCE = 2e-6  # largest difference between two frameworks' float32 sums, of the range of the answer
LAYERS = keras.layers


def _torch_layer(nn, kind):
    """A layer of torch with channels, groups and strides that tell all axes apart."""
    return {
        "conv": lambda: nn.Conv2d(6, 4, (3, 2)),
        "conv, 3 groups": lambda: nn.Conv2d(6, 9, (3, 2), groups=3),
        "conv 1d": lambda: nn.Conv1d(6, 4, 3),
        "conv 3d": lambda: nn.Conv3d(6, 4, (3, 2, 1), bias=False),
        "depthwise": lambda: nn.Conv2d(6, 6, (3, 2), groups=6),
        "depthwise, 2 each": lambda: nn.Conv2d(6, 12, (3, 2), groups=6, bias=False),
        "depthwise, of 1 channel": lambda: nn.Conv2d(1, 3, (3, 2)),
        "depthwise 1d, 3 each": lambda: nn.Conv1d(6, 18, 3, groups=6),
        "transposed": lambda: nn.ConvTranspose2d(6, 4, (3, 2), stride=2),
        "transposed 1d": lambda: nn.ConvTranspose1d(6, 4, 3, stride=2),
        "transposed 3d": lambda: nn.ConvTranspose3d(6, 4, (3, 2, 2), stride=2),
        "dense": lambda: nn.Linear(6, 4),
        "norm": lambda: nn.BatchNorm2d(6),
    }[kind]()


_KERAS_LAYERS = {
    "conv": lambda: LAYERS.Conv2D(4, (3, 2), name="layer"),
    "conv, 3 groups": lambda: LAYERS.Conv2D(9, (3, 2), groups=3, name="layer"),
    "conv 1d": lambda: LAYERS.Conv1D(4, 3, name="layer"),
    "conv 3d": lambda: LAYERS.Conv3D(4, (3, 2, 1), use_bias=False, name="layer"),
    "depthwise": lambda: LAYERS.DepthwiseConv2D((3, 2), name="layer"),
    "depthwise, 2 each": lambda: LAYERS.DepthwiseConv2D((3, 2), depth_multiplier=2, use_bias=False, name="layer"),
    "depthwise, of 1 channel": lambda: LAYERS.DepthwiseConv2D((3, 2), depth_multiplier=3, name="layer"),
    "depthwise 1d, 3 each": lambda: LAYERS.DepthwiseConv1D(3, depth_multiplier=3, name="layer"),
    "transposed": lambda: LAYERS.Conv2DTranspose(4, (3, 2), strides=2, name="layer"),
    "transposed 1d": lambda: LAYERS.Conv1DTranspose(4, 3, strides=2, name="layer"),
    "transposed 3d": lambda: LAYERS.Conv3DTranspose(4, (3, 2, 2), strides=2, name="layer"),
    "dense": lambda: LAYERS.Dense(4, name="layer"),
    "norm": lambda: LAYERS.BatchNormalization(epsilon=1e-5, name="layer"),
}


def _model(layer, shape):
    image = keras.Input(shape)
    return keras.Model(image, layer(image))


def _randomized(torch, module):
    """The module with statistics of its own too, as after training."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1.0, generator=generator)
    return module.eval()


def _assert_same_answers(torch, module, model, shape):
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    with torch.no_grad():
        channels_first = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
        expected = np.moveaxis(module(channels_first).numpy(), 1, -1)
    answer = model.predict(x, verbose=0)
    assert answer.shape == expected.shape
    np.testing.assert_allclose(answer, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is what answers are compared with")


def _shape(kind):
    """Of an input to a layer, without the batch."""
    if kind == "dense":
        return (6,)
    size = (5,) if "1d" in kind else (5, 6, 4) if "3d" in kind else (5, 6)
    return (*size, 1 if "of 1 channel" in kind else 6)


@pytest.mark.parametrize("kind", _KERAS_LAYERS)
def test_layers_answer_as_in_torch(torch, tmp_path, kind):
    module = torch.nn.Module()
    module.layer = _randomized(torch, _torch_layer(torch.nn, kind))
    torch.save(module.state_dict(), tmp_path / "x.pth")
    model = _model(_KERAS_LAYERS[kind](), _shape(kind))
    load_weights(model, tmp_path / "x.pth")
    _assert_same_answers(torch, module.layer, model, _shape(kind))


def test_a_separable_convolution_answers_as_two_modules_do_in_torch(torch, tmp_path):
    nn = torch.nn
    part = nn.Sequential()
    part.add_module("depthwise", nn.Conv2d(6, 12, 3, groups=6, bias=False))
    part.add_module("pointwise", nn.Conv2d(12, 5, 1))
    module = nn.Module()
    module.block = nn.ModuleDict({"sep": _randomized(torch, part)})
    torch.save(module.state_dict(), tmp_path / "x.pth")
    model = _model(LAYERS.SeparableConv2D(5, 3, depth_multiplier=2, name="block_sep"), (7, 6, 6))
    load_weights(model, tmp_path / "x.pth")
    _assert_same_answers(torch, part, model, (7, 6, 6))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: LAYERS.Conv2D(2, 3, name="layer"), (8, 1, 3, 3)),  # depthwise to another network
        (lambda: LAYERS.DepthwiseConv2D(3, name="layer"), (4, 4, 3, 3)),  # an ordinary one
        (lambda: LAYERS.DepthwiseConv2D(3, depth_multiplier=2, name="layer"), (4, 1, 3, 3)),
        (lambda: LAYERS.DepthwiseConv2D(3, depth_multiplier=3, name="layer"), (8, 1, 3, 3)),
    ],
)
def test_kernels_of_another_network_are_refused(tmp_path, layer, shape):
    model = _model(layer(), (5, 5, 4))
    before = model.get_weights()
    np.savez(tmp_path / "x.npz", **{"layer.weight": np.ones(shape), "layer.bias": np.ones(model.output_shape[-1])})
    with pytest.raises(ValueError, match=r"Of another shape or type \(1\): layer\.weight is \(3, 3, "):
        load_weights(model, tmp_path / "x.npz")
    _assert_untouched(model, before)


# Values


def _two_layers(dtype="float32"):
    image = keras.Input((4,))
    x = LAYERS.Dense(3, dtype=dtype, name="first")(image)
    return keras.Model(image, LAYERS.Dense(2, dtype=dtype, name="second")(x))


def _tensors():
    generator = np.random.default_rng(0)
    shapes = {"first/kernel": (4, 3), "first/bias": (3,), "second/kernel": (3, 2), "second/bias": (2,)}
    return {name: generator.normal(size=shape).astype("float32") for name, shape in shapes.items()}


def _assert_untouched(model, before):
    for value, same in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, same)


def _assert_holds(model, tensors):
    for variable, value in zip(model.weights, tensors.values(), strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f8", "longdouble", ">f2"])
def test_floats_of_any_kind_load(tmp_path, dtype):
    model, tensors = _two_layers(), _tensors()
    if "2" in dtype:
        tensors = {name: value.astype("f2").astype("f4") for name, value in tensors.items()}
    np.savez(tmp_path / "x.npz", **{**tensors, "second/kernel": tensors["second/kernel"].astype(dtype)})
    load_weights(model, tmp_path / "x.npz")
    assert {keras.backend.standardize_dtype(variable.dtype) for variable in model.weights} == {"float32"}
    _assert_holds(model, tensors)


def test_infinite_values_of_a_file_load_as_they_are(tmp_path):
    model, tensors = _two_layers(), _tensors()
    tensors["second/bias"][:] = np.inf, np.nan
    np.savez(tmp_path / "x.npz", **tensors)
    load_weights(model, tmp_path / "x.npz")
    _assert_holds(model, tensors)


def test_strided_arrays_load(tmp_path):
    model, tensors = _two_layers(), _tensors()
    np.savez(tmp_path / "x.npz", **{name: np.asfortranarray(value) for name, value in tensors.items()})
    load_weights(model, tmp_path / "x.npz")
    _assert_holds(model, tensors)


def _save_with_other_kernel(model, path, change):
    """Saves a model's weights, and instead of the second kernel what a function makes of it."""
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        group = file["layers/dense_1/vars"]
        kernel = group["0"][()]
        del group["0"]
        group["0"] = change(kernel)


def test_big_endian_keras_weights_load(tmp_path):
    source, model = _two_layers(), _two_layers()
    _save_with_other_kernel(source, tmp_path / "x.weights.h5", lambda kernel: kernel.astype(">f4"))
    load_weights(model, tmp_path / "x.weights.h5")
    _assert_untouched(model, source.get_weights())


@pytest.mark.parametrize("suffix", [".npz", ".weights.h5"])
def test_values_out_of_reach_leave_the_model_untouched(tmp_path, suffix):
    model, tensors = _two_layers(), _tensors()
    before = model.get_weights()
    path = tmp_path / f"x{suffix}"
    name = "second/0" if suffix == ".weights.h5" else "second/kernel"
    if suffix == ".npz":
        np.savez(path, **{**tensors, name: np.full((3, 2), 1e300)})
    else:
        _save_with_other_kernel(model, path, lambda kernel: np.full((3, 2), 1e300))
    with pytest.raises(ValueError, match=rf"nothing was loaded.* {name} has values that float32 does not reach"):
        load_weights(model, path)
    _assert_untouched(model, before)


@pytest.mark.parametrize("value", [np.ones((3, 2), ">i8"), np.ones((3, 2), bool), np.ones((2, 3), ">f4")])
def test_what_cannot_be_taken_leaves_the_model_untouched(tmp_path, value):
    model = _two_layers()
    before = model.get_weights()
    np.savez(tmp_path / "x.npz", **{**_tensors(), "second/kernel": value})
    with pytest.raises(ValueError, match="nothing was loaded.*second/kernel is "):
        load_weights(model, tmp_path / "x.npz")
    _assert_untouched(model, before)


def test_half_precision_backbones_take_single_precision(tmp_path):
    for dtype in ("float16", "bfloat16"):
        model, tensors = _two_layers(dtype), _tensors()
        np.savez(tmp_path / "x.npz", **tensors)
        load_weights(model, tmp_path / "x.npz")
        for variable, value in zip(model.weights, tensors.values(), strict=True):
            expected = keras.ops.convert_to_numpy(keras.ops.cast(value, dtype)).astype("float32")
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable).astype("float32"), expected)
