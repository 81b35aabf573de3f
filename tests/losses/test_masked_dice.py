"""What Dice promises besides being Keras's: nothing where nothing is labelled, weights, replicas."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from support.folders import environment

from rc_keras import losses

LOSS = 1e-6  # relative, float32
SHAPE = (4, 5, 7)
AXES = [None, (1, 2, 3), (0, 1, 2), (1, 2), (-1,)]


def data(channels=4):
    rng = np.random.default_rng(2)
    labels = rng.integers(0, max(channels, 2), SHAPE)
    labels[0, :2] = 255
    return labels, rng.normal(scale=2, size=(*SHAPE, channels)).astype("float32")


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("channels", [1, 4])
def test_without_labels_it_is_zero(axis, channels):
    labels, logits = data(channels)
    assert float(losses.MaskedDice(axis=axis)(np.full_like(labels, 255), logits)) == 0.0


@pytest.mark.parametrize("axis", AXES)
def test_weights_multiply_what_a_pixel_adds(axis):
    """A weight of 2 is the pixel twice; of 0, no pixel."""
    labels, logits = data()
    weight = np.ones(SHAPE, "float32")
    weight[1], weight[3] = 0.0, 2.0
    chosen = [0, 2, 3]
    loss = losses.MaskedDice(axis=axis)
    twice = np.concatenate([labels[chosen], labels[3:]]), np.concatenate([logits[chosen], logits[3:]])
    if axis is None or 0 in axis:
        assert float(loss(labels, logits, weight)) == pytest.approx(float(loss(*twice)), rel=LOSS)
    else:  # an overlap of its own for each image stays as it is when all of it weighs as much
        assert float(loss(labels, logits, weight)) == pytest.approx(
            float(loss(labels[chosen], logits[chosen])), rel=LOSS
        )
    by_image = loss(labels, logits, weight[:, 0, 0])
    assert float(by_image) == float(loss(labels, logits, weight[..., None]))


def test_an_image_without_labels_is_not_averaged():
    labels, logits = data()
    labels[2] = 255
    loss = losses.MaskedDice(axis=(1, 2, 3))
    chosen = [0, 1, 3]
    assert float(loss(labels, logits)) == pytest.approx(float(loss(labels[chosen], logits[chosen])), rel=LOSS)


def test_labels_of_images():
    labels, logits = np.array([0, 2, -1, 1]), np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    chosen = [0, 1, 3]
    expected = keras.losses.Dice()(np.eye(3)[labels[chosen]], ops.softmax(logits[chosen]))
    assert float(losses.MaskedDice(ignore=-1)(labels, logits)) == pytest.approx(float(expected), rel=LOSS)


def test_large_logits_and_half_precision():
    labels, logits = data()
    loss = losses.MaskedDice()
    assert np.isfinite(float(loss(labels, logits * np.float32(1e4))))
    half = ops.cast(logits, "bfloat16")
    assert float(loss(labels, half)) == float(loss(labels, ops.cast(half, "float32")))
    assert float(loss(labels[..., None], logits)) == float(loss(labels, logits))


@pytest.mark.parametrize("axis", AXES)
def test_config_round_trip(axis):
    loss = losses.MaskedDice(axis=axis, ignore=0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config() and again.axis == axis
    assert float(again(*data())) == float(loss(*data()))


REPLICAS = """
import numpy as np
import tensorflow as tf

from rc_keras import losses
from rc_keras.zoo.strategy import make_strategy

make_strategy("mirrored")  # divides the CPU
strategy = tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices("CPU")[:2]])
assert strategy.num_replicas_in_sync == 2
rng = np.random.default_rng(2)
labels = rng.integers(0, 4, (4, 5, 7))
labels[0, :2] = 255
labels[2:] = np.where(rng.random((2, 5, 7)) < 0.7, 255, labels[2:])
logits = rng.normal(scale=2, size=(4, 5, 7, 4)).astype("float32")
batches = tf.data.Dataset.from_tensor_slices((labels, logits)).batch(4)


def value_and_slope(loss, y, z):
    scale = tf.constant(1.0)
    with tf.GradientTape() as tape:
        tape.watch(scale)
        value = loss(y, scale * z)
    return value, tape.gradient(value, scale)


for axis in (None, (1, 2, 3), (0, 1, 2), (1, 2), (-1,)):
    loss = losses.MaskedDice(axis=axis)

    @tf.function
    def step(batch):
        shares = strategy.run(lambda y, z: value_and_slope(loss, y, z), batch)
        return [strategy.reduce("SUM", share, axis=None) for share in shares]

    shares = step(next(iter(strategy.experimental_distribute_dataset(batches))))
    for whole, sum_of_shares in zip(value_and_slope(loss, labels, logits), shares):
        np.testing.assert_allclose(sum_of_shares, whole, rtol=1e-5, err_msg=str(axis))
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute needs TensorFlow")
def test_shares_of_replicas_add_up():
    result = subprocess.run([sys.executable, "-c", REPLICAS], env=environment(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
