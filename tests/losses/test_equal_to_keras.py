"""Losses that Keras has too: equal to Keras's where every pixel has a label, and on those that have one elsewhere."""

import keras
import numpy as np
import pytest
from keras import ops

from rc_keras import losses

LOSS = 2e-6  # relative, float32: Keras takes logarithms of rounded probabilities
GRADIENT = 1e-7  # absolute; the greatest is about 1e-2
SHAPE = (2, 5, 7)
CLASSES = 4


def softmax(z):
    return ops.softmax(z, axis=-1)


def class_ids(rng):
    return rng.integers(0, CLASSES, SHAPE)


def yes_and_no(rng):
    return rng.integers(0, 2, SHAPE)


def numbers(rng):
    return rng.normal(size=(*SHAPE, 1)).astype("float32")


def one_hot(labels):
    return np.eye(CLASSES, dtype="float32")[labels]


def as_map(labels):
    return labels.reshape(*SHAPE, 1).astype("float32")


DICE = {"dice": None, "dice_by_image": (1, 2, 3), "dice_by_class": (0, 1, 2), "dice_by_both": (1, 2)}
# ours, Keras's, its labels, what it is given instead of logits, labels, channels
CASES = {
    **{
        name: (losses.MaskedDice(axis=axis), keras.losses.Dice(axis=axis), one_hot, softmax, class_ids, CLASSES)
        for name, axis in DICE.items()
    },
    "dice_of_one": (losses.MaskedDice(), keras.losses.Dice(), as_map, ops.sigmoid, yes_and_no, 1),
    "focal": (
        losses.MaskedFocalCrossentropy(alpha=0.5, gamma=1.5),
        keras.losses.CategoricalFocalCrossentropy(alpha=0.5, gamma=1.5),
        one_hot,
        softmax,
        class_ids,
        CLASSES,
    ),
    "focal_by_class": (
        losses.MaskedFocalCrossentropy(alpha=[0.1, 0.2, 0.3, 0.4]),
        keras.losses.CategoricalFocalCrossentropy(alpha=[0.1, 0.2, 0.3, 0.4], from_logits=True),
        one_hot,
        lambda z: z,
        class_ids,
        CLASSES,
    ),
    "binary_focal": (
        losses.MaskedBinaryFocalCrossentropy(),
        keras.losses.BinaryFocalCrossentropy(from_logits=True),
        as_map,
        lambda z: z,
        yes_and_no,
        1,
    ),
    "binary_focal_balanced": (
        losses.MaskedBinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.8),
        keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.8),
        as_map,
        ops.sigmoid,
        yes_and_no,
        1,
    ),
    "mae": (losses.MaskedMeanAbsoluteError(), keras.losses.MeanAbsoluteError(), as_map, lambda z: z, numbers, 1),
    "mse": (losses.MaskedMeanSquaredError(), keras.losses.MeanSquaredError(), as_map, lambda z: z, numbers, 1),
    "huber": (losses.MaskedHuber(delta=0.3), keras.losses.Huber(delta=0.3), as_map, lambda z: z, numbers, 1),
}


@pytest.fixture(params=CASES)
def case(request):
    ours, theirs, encode, activate, labels, channels = CASES[request.param]
    rng = np.random.default_rng(5)
    y_pred = rng.normal(scale=2, size=(*SHAPE, channels)).astype("float32")
    return ours, theirs, encode, activate, labels(rng), y_pred


def test_value(case):
    ours, theirs, encode, activate, labels, y_pred = case
    expected = float(theirs(encode(labels), activate(y_pred)))
    assert expected > 0.01
    assert float(ours(labels, y_pred)) == pytest.approx(expected, rel=LOSS)


def test_gradient(case):
    ours, theirs, encode, activate, labels, y_pred = case
    gradient = by_prediction(lambda z: ours(labels, z), y_pred)
    expected = by_prediction(lambda z: theirs(encode(labels), activate(z)), y_pred)
    np.testing.assert_allclose(gradient, expected, atol=GRADIENT, rtol=10 * LOSS)
    assert np.abs(expected).max() > 1e-4


def test_pixels_without_a_label_are_as_if_they_were_not_there(case):
    """Half of each image has no label: the loss is that of the other half alone."""
    ours, theirs, encode, activate, labels, y_pred = case
    half = labels[:, :, :3]
    cut = labels.astype("float32")
    cut[:, :, 3:] = ours.ignore
    expected = float(ours(half, y_pred[:, :, :3]))
    assert float(ours(cut, y_pred)) == pytest.approx(expected, rel=LOSS)
    gradient = by_prediction(lambda z: ours(cut, z), y_pred)
    assert np.abs(gradient[:, :, :3]).max() > 0 and np.all(gradient[:, :, 3:] == 0)


def by_prediction(loss, y_pred):
    """The gradient of a loss by the prediction, on whatever backend runs."""
    backend = keras.backend.backend()
    y_pred = ops.convert_to_tensor(y_pred)
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_pred)
        return tape.gradient(value, y_pred).numpy()
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(loss)(y_pred))
    y_pred = y_pred.detach().requires_grad_(True)
    loss(y_pred).backward()
    return ops.convert_to_numpy(y_pred.grad)
