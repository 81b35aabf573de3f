"""Losses: equal to plain NumPy loops, and exactly zero where nothing is labelled."""

import functools
import pickle

import keras
import numpy as np
import pytest
from keras import ops

from rc_keras import losses

RELATIVE = 1e-6  # float32 against float64
SHAPE = (3, 5, 7)


def value_and_gradient(loss, y_true, y_pred):
    """The loss and its gradient by `y_pred`, on whatever backend runs."""
    backend = keras.backend.backend()
    y_pred = ops.convert_to_tensor(y_pred)
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function
        def run(prediction):
            with tf.GradientTape() as tape:
                tape.watch(prediction)
                value = loss(y_true, prediction)
            return value, tape.gradient(value, prediction)

        value, gradient = run(y_pred)
    elif backend == "jax":
        import jax

        value, gradient = jax.jit(jax.value_and_grad(functools.partial(loss, y_true)))(y_pred)
    else:
        y_pred = y_pred.detach().requires_grad_(True)
        value = loss(y_true, y_pred)
        value.backward()
        gradient = y_pred.grad
    return float(value), ops.convert_to_numpy(gradient)


def crossentropy(label, z, ignore=255):
    if label == ignore or not 0 <= label < len(z):
        return None
    z = z.astype("float64")
    return np.log(np.sum(np.exp(z - z.max()))) + z.max() - z[int(label)]


def binary(label, z, positive_weight=None, ignore=255):
    if label == ignore or not 0 <= label <= 1:
        return None
    p = 1 / (1 + np.exp(-float(z[0])))
    value = -np.log(p) if label >= 0.5 else -np.log(1 - p)
    if positive_weight is not None:
        value *= positive_weight if label >= 0.5 else 1 - positive_weight
    return value


def normals(label, p):
    return None if not label.any() else np.mean(np.abs(p.astype("float64") - label))


def depth(label, p):
    return None if label == 0 else abs(float(p[0]) - float(label))


def focal(label, z, alpha=0.25, gamma=2.0):
    value = crossentropy(label, z)
    if value is None:
        return None
    return (alpha if np.isscalar(alpha) else alpha[int(label)]) * (1 - np.exp(-value)) ** gamma * value


def binary_focal(label, z, alpha=0.25, gamma=2.0, balanced=False):
    value = binary(label, z)
    if value is None:
        return None
    weight = (alpha if label >= 0.5 else 1 - alpha) if balanced else 1.0
    return weight * (1 - np.exp(-value)) ** gamma * value


def regression(label, p, error_loss):
    label, p = np.atleast_1d(label).astype("float64"), p.astype("float64")
    return None if np.all(label == -9999) else np.mean(error_loss(np.abs(p - label)))


def huber(error, delta=0.5):
    return np.where(error <= delta, error**2 / 2, delta * error - delta**2 / 2)


def class_ids(rng):
    return rng.choice([0, 1, 2, 3, 255], SHAPE).astype("uint8")


def binary_maps(rng):
    return rng.choice([0, 1, 255], SHAPE).astype("uint8")


def unit_vectors(rng):
    n = rng.normal(size=(*SHAPE, 3))
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    n[rng.random(SHAPE) < 0.4] = 0
    n[0, 0, :3] = np.eye(3)  # walls and floors: two components are zero
    return n.astype("float32")


def metres(rng):
    d = rng.uniform(0.5, 10, SHAPE)
    d[rng.random(SHAPE) < 0.4] = 0
    return d.astype("float32")


def numbers(rng, *channels):
    n = rng.normal(scale=2, size=(*SHAPE, *channels))
    n[rng.random(SHAPE) < 0.4] = -9999
    if channels:
        n[1, 1, 1] = -9999, 0.0, 1.0  # a label, for not all channels say that there is none
    return n.astype("float32")


# loss, its loop over pixels, labels, channels of the prediction, a label that is ignored
CASES = {
    "crossentropy": (losses.MaskedCrossentropy(), crossentropy, class_ids, 4, 255),
    "crossentropy_ignoring_a_class": (
        losses.MaskedCrossentropy(ignore=0),
        functools.partial(crossentropy, ignore=0),
        class_ids,
        4,
        0,
    ),
    "balanced": (
        losses.BalancedBinaryCrossentropy(),
        functools.partial(binary, positive_weight=0.95),
        binary_maps,
        1,
        255,
    ),
    "binary": (losses.MaskedBinaryCrossentropy(), binary, binary_maps, 1, 255),
    "focal": (losses.MaskedFocalCrossentropy(), focal, class_ids, 4, 255),
    "focal_by_class": (
        losses.MaskedFocalCrossentropy(alpha=(0.1, 0.2, 0.3, 0.4), gamma=0.5),
        functools.partial(focal, alpha=(0.1, 0.2, 0.3, 0.4), gamma=0.5),
        class_ids,
        4,
        255,
    ),
    "binary_focal": (losses.MaskedBinaryFocalCrossentropy(), binary_focal, binary_maps, 1, 255),
    "binary_focal_balanced": (
        losses.MaskedBinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.9, gamma=0.0),
        functools.partial(binary_focal, alpha=0.9, gamma=0.0, balanced=True),
        binary_maps,
        1,
        255,
    ),
    "mae": (losses.MaskedMeanAbsoluteError(), functools.partial(regression, error_loss=np.abs), numbers, 1, -9999),
    "mse": (
        losses.MaskedMeanSquaredError(),
        functools.partial(regression, error_loss=np.square),
        lambda rng: numbers(rng, 3),
        3,
        -9999,
    ),
    "huber": (losses.MaskedHuber(delta=0.5), functools.partial(regression, error_loss=huber), numbers, 1, -9999),
    "normals": (losses.NormalsL1(), normals, unit_vectors, 3, 0),
    "depth": (losses.DepthL1(), depth, metres, 1, 0),
}


@pytest.fixture(params=CASES)
def case(request):
    loss, loop, labels, channels, ignored = CASES[request.param]
    rng = np.random.default_rng(3)
    y_pred = rng.normal(scale=3, size=(*SHAPE, channels)).astype("float32")
    return loss, loop, labels(rng), y_pred, ignored


def loop_mean(loop, y_true, y_pred, weight=None):
    """Sum of the pixels' losses divided by the number of valid ones."""
    weight = np.ones(SHAPE) if weight is None else np.broadcast_to(weight, SHAPE)
    values = [(loop(y_true[i], y_pred[i]), weight[i]) for i in np.ndindex(*SHAPE)]
    values = [(value, w) for value, w in values if value is not None]
    return sum(value * w for value, w in values) / len(values)


def test_equals_loop(case):
    loss, loop, y_true, y_pred, _ = case
    value, gradient = value_and_gradient(loss, y_true, y_pred)
    assert value == pytest.approx(loop_mean(loop, y_true, y_pred), rel=RELATIVE)
    # Central differences in float64, at pixels of each sort.
    for i in [(0, 0, 0), (0, 1, 3), (1, 2, 2), (2, 4, 6)]:
        step = np.zeros(y_pred.shape)
        step[(*i, 0)] = 1e-4
        high = loop_mean(loop, y_true, y_pred.astype("float64") + step)
        low = loop_mean(loop, y_true, y_pred.astype("float64") - step)
        assert gradient[(*i, 0)] == pytest.approx((high - low) / 2e-4, abs=1e-6)


def test_channel_axis_of_labels_is_optional(case):
    loss, _, y_true, y_pred, _ = case
    if y_true.ndim == 3:
        assert float(loss(y_true, y_pred)) == float(loss(y_true[..., None], y_pred))


def test_nothing_valid_is_exactly_zero(case):
    loss, _, y_true, y_pred, ignored = case
    value, gradient = value_and_gradient(loss, np.full_like(y_true, ignored), y_pred)
    assert value == 0.0
    assert np.array_equal(gradient, np.zeros_like(gradient))


def test_ignored_pixels_have_no_gradient(case):
    loss, loop, y_true, y_pred, _ = case
    _, gradient = value_and_gradient(loss, y_true, y_pred)
    valid = np.array([loop(y_true[i], y_pred[i]) is not None for i in np.ndindex(*SHAPE)])
    moved = np.any(gradient.reshape(-1, gradient.shape[-1]) != 0, axis=-1)
    assert np.array_equal(moved, valid)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1), SHAPE, (*SHAPE, 1)])
def test_weights_multiply_and_the_divisor_stays(case, shape):
    loss, loop, y_true, y_pred, _ = case
    weight = np.random.default_rng(1).uniform(0, 2, shape).astype("float32")
    dense = weight.reshape(shape[:3] if len(shape) >= 3 else (3, 1, 1))
    expected = loop_mean(loop, y_true, y_pred, dense)
    assert float(loss(y_true, y_pred, weight)) == pytest.approx(expected, rel=RELATIVE)


def test_huge_logits_stay_finite(case):
    loss, _, y_true, y_pred, _ = case
    value, gradient = value_and_gradient(loss, y_true, y_pred * np.float32(1e4))
    assert np.isfinite(value) and np.all(np.isfinite(gradient))


def test_half_precision_predictions_are_summed_in_float32(case):
    loss, _, y_true, y_pred, _ = case
    half = ops.cast(y_pred, "bfloat16")
    value = loss(y_true, half)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value) == float(loss(y_true, ops.cast(half, "float32")))


def test_large_batches_do_not_lose_pixels():
    # 2^23 and a bit pixels of loss log 2: a half-precision or naive sum would stall.
    y_true = np.zeros((33, 512, 512), "uint8")
    y_true[:, :, :256] = 255
    value = float(losses.MaskedBinaryCrossentropy()(y_true, np.zeros((33, 512, 512, 1), "float32")))
    assert value == pytest.approx(np.log(2), rel=1e-5)


def test_classification_labels():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(6, 5)).astype("float32")
    labels = np.array([0, 4, 2, -1, 3, 1])
    loss = losses.MaskedCrossentropy(ignore=-1)
    values = [crossentropy(y, row) for y, row in zip(labels, z, strict=True)]
    expected = np.mean([v for v in values if v is not None])
    assert float(loss(labels, z)) == pytest.approx(expected, rel=RELATIVE)
    assert float(loss(labels[:, None], z)) == pytest.approx(expected, rel=RELATIVE)
    halved = float(loss(labels, z, sample_weight=np.full(6, 0.5)))
    assert halved == pytest.approx(expected / 2, rel=RELATIVE)


@pytest.mark.parametrize("label", [4, 200, -3])
def test_class_ids_out_of_range_count_as_ignored(label):
    z = np.random.default_rng(0).normal(size=(1, 1, 2, 4)).astype("float32")
    loss = losses.MaskedCrossentropy()
    y_true = np.array([[[1, label]]])
    value, gradient = value_and_gradient(loss, y_true, z)
    assert value == pytest.approx(crossentropy(1, z[0, 0, 0]), rel=RELATIVE)
    assert np.array_equal(gradient[0, 0, 1], np.zeros(4))


@pytest.mark.parametrize("loss", [losses.MaskedBinaryCrossentropy(), losses.BalancedBinaryCrossentropy()])
@pytest.mark.parametrize("label", [2, 128, -1])
def test_binary_labels_out_of_range_count_as_ignored(loss, label):
    z = np.random.default_rng(0).normal(size=(1, 1, 2, 1)).astype("float32")
    value, gradient = value_and_gradient(loss, np.array([[[1, label]]]), z)
    assert value == float(loss(np.array([[[1, 255]]]), z))
    assert gradient[0, 0, 1] == 0.0


def test_config_round_trip(case):
    loss, _, y_true, y_pred, _ = case
    config = keras.saving.serialize_keras_object(loss)
    assert config["registered_name"].startswith("rc_keras>")
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == loss.get_config()
    assert float(again(y_true, y_pred)) == float(loss(y_true, y_pred))
    assert pickle.loads(pickle.dumps(loss)).get_config() == loss.get_config()


def test_wrong_shapes_are_refused():
    loss = losses.MaskedCrossentropy()
    with pytest.raises(ValueError, match="`y_true` must have the shape of `y_pred`.*Received"):
        loss(np.zeros((2, 4, 4)), np.zeros((2, 8, 8, 3)))
    with pytest.raises(ValueError, match="`y_true` must have the shape of `y_pred`.*Received"):
        loss(np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 3)))  # one-hot
    with pytest.raises(ValueError, match="`y_true` must have the shape of `y_pred`.*Received"):
        losses.NormalsL1()(np.zeros((2, 8, 8)), np.zeros((2, 8, 8, 3)))
    with pytest.raises(ValueError, match="`sample_weight` must be.*Received"):
        loss(np.zeros((2, 8, 8)), np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 3)))
    with pytest.raises(ValueError, match="`positive_weight` must be between 0 and 1"):
        losses.BalancedBinaryCrossentropy(positive_weight=95)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data is TensorFlow's")
def test_trains_in_fit_with_shapes_known_only_at_run_time():
    import tensorflow as tf

    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 1)])
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss=losses.MaskedCrossentropy())
    images = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype("float32")
    labels = np.argmax(images, axis=-1).astype("uint8")
    labels[:, :2] = 255
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(3)
    history = model.fit(data, epochs=5, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
