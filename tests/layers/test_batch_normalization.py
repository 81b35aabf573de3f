"""Batch normalization against PyTorch's layer, Keras's and TensorFlow's fused kernel."""

import keras
import numpy as np
import pytest

from rc_keras.base.gradients import value_and_gradients
from rc_keras.layers import BatchNormalization

torch = pytest.importorskip("torch")

STATISTIC = 1e-5  # relative
OUTPUT = 1e-4  # of outputs and gradients around 1
BFLOAT16 = 0.02  # of outputs around 1
STEPS = 4

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
SHAPES = {"map": (4, 6, 5, 3), "pooled": (8, 1, 1, 3), "two_values": (2, 1, 1, 3)}


def images_of(shape, dtype="float32"):
    """A few batches of values that `dtype` holds exactly."""
    values = np.random.default_rng(0).normal(2.0, 3.0, size=(STEPS, *shape)).astype("float32")
    return torch.tensor(values).to(getattr(torch, dtype)).float().numpy()


def array(tensor):
    return np.array(keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")))


def torch_statistics(images):
    """Running mean and variance of `torch.nn.BatchNorm2d` after channels-last batches."""
    norm = torch.nn.BatchNorm2d(images[0].shape[-1], momentum=0.1).train()
    for image in images:
        norm(torch.tensor(image).permute(0, 3, 1, 2))
    return norm.running_mean.numpy(), norm.running_var.numpy()


def assert_statistics(layer, expected):
    for variable, value in zip((layer.moving_mean, layer.moving_variance), expected, strict=True):
        np.testing.assert_allclose(array(variable), value, rtol=STATISTIC, atol=STATISTIC, err_msg=variable.name)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    "arguments",
    [{}, {"scale": False}, {"center": False}, {"dtype": "mixed_bfloat16"}, {"dtype": "float64"}],
    ids=["whole", "no_scale", "no_center", "mixed", "float64"],
)
def test_moving_statistics_are_torchs(shape, arguments):
    images = images_of(shape, "bfloat16")
    layer = BatchNormalization(momentum=0.9, **arguments)
    for image in images:
        layer(image, training=True)
    assert_statistics(layer, torch_statistics(images))


def test_moving_statistics_of_any_batch_size_are_torchs():
    images = [images_of(shape)[0] for shape in ((8, 1, 1, 3), (2, 1, 1, 3), (5, 1, 1, 3))]
    inputs = keras.Input((None, None, 3))
    layer = BatchNormalization(momentum=0.9, name="norm")
    model = keras.Model(inputs, keras.layers.Flatten()(keras.layers.GlobalAveragePooling2D()(layer(inputs))))
    model.compile("sgd", "mse")
    for image in images:
        model.train_on_batch(image, np.zeros((len(image), 3), "float32"))
    assert_statistics(layer, torch_statistics(images))


@pytest.mark.parametrize("rank", [2, 3, 5])
def test_moving_statistics_of_other_ranks_are_torchs(rank):
    images = images_of((6, *[2] * (rank - 2), 3))
    layer = BatchNormalization(momentum=0.9)
    for image in images:
        layer(image, training=True)
    assert_statistics(layer, torch_statistics([image.reshape(len(image), -1, 1, 3) for image in images]))


def test_moving_statistics_of_channels_first_are_torchs():
    images = images_of((4, 6, 5, 3))
    layer = BatchNormalization(momentum=0.9, axis=1)
    for image in images:
        layer(np.moveaxis(image, -1, 1), training=True)
    assert_statistics(layer, torch_statistics(images))


def test_masked_values_are_not_counted():
    images = images_of((5, 4, 3))
    mask = np.arange(20).reshape(5, 4) % 3 > 0
    layer = BatchNormalization(momentum=0.9)
    for image in images:
        outputs = layer(np.where(mask[..., None], image, 1e6), mask=mask, training=True)
    present = [image[mask][:, None, None] for image in images]
    assert_statistics(layer, torch_statistics(present))
    last = present[-1][:, 0, 0]
    expected = (last - last.mean(0)) / np.sqrt(last.var(0) + layer.epsilon)
    np.testing.assert_allclose(array(outputs)[mask], expected, atol=OUTPUT)
    with pytest.raises(ValueError, match="`mask` must have one axis less"):
        layer(images[0], mask=mask[0], training=True)


@pytest.mark.parametrize("arguments", [{}, {"scale": False}, {"dtype": "mixed_bfloat16"}])
def test_one_value_has_no_variance(arguments):
    layer = BatchNormalization(momentum=0.9, **arguments)
    outputs = layer(np.full((1, 1, 1, 3), 5.0, "float32"), training=True)
    np.testing.assert_allclose(array(outputs), 0.0, atol=OUTPUT)
    assert_statistics(layer, ([0.5] * 3, [0.9] * 3))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("scale", [True, False])
def test_outputs_and_gradients_are_keras_and_torchs(training, shape, scale):
    image, weight = images_of(shape)[:2]
    norm = torch.nn.BatchNorm2d(3, eps=1e-3, momentum=0.1).train(training)
    x = torch.tensor(image, requires_grad=True)
    values = np.random.default_rng(1).uniform(0.5, 2.0, (4, 3)).astype("float32")
    values[0] = values[0] if scale else 1.0
    tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    with torch.no_grad():
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(torch.tensor(value))
    y = norm(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    (y * torch.tensor(weight)).sum().backward()
    gradients = [x.grad, norm.weight.grad, norm.bias.grad]
    expected = [t.detach().numpy() for t in (y, *gradients)]

    for layer_class in (BatchNormalization, keras.layers.BatchNormalization):
        layer = layer_class(momentum=0.9, scale=scale)
        layer.build(shape)
        for variable, value in zip(layer.weights, values if scale else values[1:], strict=True):
            variable.assign(value)
        received = outputs_and_gradients(layer, image, weight, training)
        wanted = expected if scale else [*expected[:2], *expected[3:]]
        for ours, theirs in zip(received, wanted, strict=False):
            np.testing.assert_allclose(ours, theirs, rtol=OUTPUT, atol=OUTPUT * max(np.abs(theirs).max(), 1.0))
        if layer_class is BatchNormalization:
            assert_statistics(layer, [t.numpy() for t in tensors[2:]])


def outputs_and_gradients(layer, image, weight, training):
    """`[outputs, gradients]`; the outputs alone on JAX, whose scope keeps updates apart."""
    if keras.backend.backend() == "jax":
        return [array(layer(image, training=training))]
    x = keras.Variable(image)

    def loss():
        y = layer(keras.ops.convert_to_tensor(x), training=training)
        return keras.ops.sum(keras.ops.multiply(y, weight)), y

    y, gradients = value_and_gradients(loss, [x, *layer.trainable_weights], [])
    return [array(t) for t in (y, *gradients)]


def test_mixed_precision_outputs():
    image = images_of((4, 6, 5, 3), "bfloat16")[0]
    for arguments in ({}, {"scale": False}):
        outputs = BatchNormalization(dtype="mixed_bfloat16", **arguments)(image, training=True)
        assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
        expected = keras.layers.BatchNormalization()(image, training=True)
        np.testing.assert_allclose(array(outputs), array(expected), atol=BFLOAT16, rtol=BFLOAT16)


def test_a_frozen_layer_keeps_its_statistics():
    layer = BatchNormalization(momentum=0.9)
    image = images_of((4, 6, 5, 3))[0]
    layer.build(image.shape)
    layer.trainable = False
    layer(image, training=True)
    assert_statistics(layer, ([0.0] * 3, [1.0] * 3))


def test_renormalization_is_keras():
    layers = [cls(momentum=0.9, renorm=True) for cls in (BatchNormalization, keras.layers.BatchNormalization)]
    for image in images_of((8, 1, 1, 3)):
        ours, theirs = (array(layer(image, training=True)) for layer in layers)
        np.testing.assert_allclose(ours, theirs, atol=OUTPUT)
    for ours, theirs in zip(*(layer.weights for layer in layers), strict=True):
        np.testing.assert_allclose(array(ours), array(theirs), rtol=STATISTIC)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="TensorFlow's kernel")
@pytest.mark.parametrize("shape", [*SHAPES.values(), (1, 1, 1, 3)], ids=[*SHAPES, "one_value"])
@pytest.mark.parametrize("arguments", [{}, {"synchronized": True}], ids=["fused", "other"])
def test_moving_statistics_are_those_of_the_fused_kernel(shape, arguments):
    import tensorflow as tf

    images = images_of(shape)
    layer = BatchNormalization(momentum=0.9, **arguments)
    mean, variance = np.zeros(3), np.ones(3)
    for image in images:
        layer(image, training=True)
        _, batch_mean, batch_variance = tf.compat.v1.nn.fused_batch_norm(image, np.ones(3, "f4"), np.zeros(3, "f4"))
        mean = 0.9 * mean + 0.1 * batch_mean.numpy()
        variance = 0.9 * variance + 0.1 * batch_variance.numpy()
    assert_statistics(layer, (mean, variance))


@pytest.mark.skipif(not ON_TENSORFLOW, reason="Keras synchronizes norms on TensorFlow only")
def test_synchronized_norm_is_not_fused():
    layer = BatchNormalization(synchronized=True)
    assert not layer._is_fused(np.zeros((1, 2, 2, 3), "float32"), None, training=True)


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (0, 3), (2, 0, 4, 3)])
def test_an_empty_batch_moves_nothing(shape):
    layer = BatchNormalization(name="norm")
    layer.build((None, *shape[1:]))
    outputs = layer(np.zeros(shape, "float32"), training=True)
    assert outputs.shape == shape
    np.testing.assert_array_equal(array(layer.moving_mean), np.zeros(3))
    np.testing.assert_array_equal(array(layer.moving_variance), np.ones(3))
