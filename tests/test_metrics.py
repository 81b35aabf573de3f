"""Training metrics: equal to plain NumPy loops, exact over long epochs, and safe to compile."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from rc_keras import metrics

ABSOLUTE = 1e-6  # float32 against float64, of values around 1
SHAPE = (3, 8, 9)
CLASSES = 5


def sigmoid(z):
    return 1 / (1 + np.exp(-z.astype("float64")))


def mean_iou(y_true, y_pred, ignore=255):
    predicted = np.argmax(y_pred, axis=-1)
    ious = []
    for c in range(y_pred.shape[-1]):
        if c == ignore:
            continue
        tp = fp = fn = 0
        for i in np.ndindex(y_true.shape):
            if y_true[i] == ignore:
                continue
            tp += y_true[i] == c and predicted[i] == c
            fp += y_true[i] != c and predicted[i] == c
            fn += y_true[i] == c and predicted[i] != c
        ious.append(tp / max(tp + fp + fn, 1e-8))
    return np.mean(ious)


def mean_iou_ignoring_a_class(y_true, y_pred):
    return mean_iou(y_true, y_pred, ignore=0)


def mean_angle(y_true, y_pred):
    angles = []
    for i in np.ndindex(y_true.shape[:-1]):
        t, p = y_true[i].astype("float64"), y_pred[i].astype("float64")
        if t.any():
            cosine = t @ p / np.linalg.norm(t) / np.linalg.norm(p)
            angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return np.mean(angles)


def rmse(y_true, y_pred):
    valid = y_true != 0
    errors = y_pred[..., 0][valid].astype("float64") - y_true[valid]
    return np.sqrt(np.mean(errors**2))


def max_f(y_true, y_pred):
    p, valid = sigmoid(y_pred[..., 0]), y_true != 255
    best = 0
    for threshold in np.arange(1, 100) / 100:
        tp = np.sum((p > threshold) & (y_true == 1) & valid)
        predicted = np.sum((p > threshold) & valid)
        precision, recall = tp / max(predicted, 1), tp / np.sum(y_true == 1)
        best = max(best, 2 * precision * recall / max(precision + recall, 1e-12))
    return best


def max_iou(y_true, y_pred):
    p, best = sigmoid(y_pred[..., 0]), 0
    for threshold in np.linspace(0.2, 0.9, 15):
        ious = []
        for label, probability in zip(y_true, p, strict=True):
            valid = label != 255
            if not valid.any():
                continue
            mask, truth = (probability > threshold)[valid], (label == 1)[valid]
            union = np.sum(mask | truth)
            ious.append(1.0 if union == 0 else np.sum(mask & truth) / union)
        best = max(best, np.mean(ious))
    return best


def accuracy(y_true, y_pred):
    valid = y_true != -1
    return np.mean(np.argmax(y_pred, axis=-1)[valid] == y_true[valid])


def class_ids(rng):
    return rng.choice([0, 1, 2, 3, 255], SHAPE).astype("uint8")  # class 4 is never labelled


def binary_maps(rng):
    return rng.choice([0, 1, 255], SHAPE, p=[0.5, 0.3, 0.2]).astype("uint8")


def vectors(rng):
    n = rng.normal(size=(*SHAPE, 3))
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    n[rng.random(SHAPE) < 0.4] = 0
    n[0, 0, :3] = np.eye(3)  # walls and floors: two components are zero
    return n.astype("float32")


def metres(rng):
    return np.where(rng.random(SHAPE) < 0.4, 0, rng.uniform(0.5, 10, SHAPE)).astype("float32")


def single_labels(rng):
    return rng.choice([-1, 0, 1, 2], 12)


# How to make the metric, its loop, labels, channels of the prediction, the ignored label.
CASES = {
    "mean_iou": (lambda: metrics.MeanIoU(CLASSES), mean_iou, class_ids, CLASSES, 255),
    "mean_iou_ignoring_a_class": (
        lambda: metrics.MeanIoU(CLASSES, ignore=0),
        mean_iou_ignoring_a_class,
        lambda rng: class_ids(rng) % 255,
        CLASSES,
        0,
    ),
    "mean_angle": (metrics.MeanAngle, mean_angle, vectors, 3, 0),
    "rmse": (metrics.RMSE, rmse, metres, 1, 0),
    "max_f": (metrics.MaxF, max_f, binary_maps, 1, 255),
    "max_iou": (metrics.MaxIoU, max_iou, binary_maps, 1, 255),
    "accuracy": (metrics.MaskedAccuracy, accuracy, single_labels, CLASSES, -1),
}


@pytest.fixture(params=CASES)
def case(request):
    make, loop, labels, channels, ignored = CASES[request.param]
    rng = np.random.default_rng(11)
    y_true = [labels(rng) for _ in range(3)]
    pixels = y_true[0].shape[:-1] if request.param == "mean_angle" else y_true[0].shape
    y_pred = [rng.normal(scale=2, size=(*pixels, channels)).astype("float32") for _ in range(3)]
    return make, loop, y_true, y_pred, ignored


def tolerance(value):
    return pytest.approx(value, rel=ABSOLUTE, abs=ABSOLUTE)


def run(metric, y_true, y_pred):
    for labels, prediction in zip(y_true, y_pred, strict=True):
        metric.update_state(labels, prediction)
    return float(metric.result())


def test_equals_loop_over_all_batches(case):
    make, loop, y_true, y_pred, _ = case
    expected = loop(np.concatenate(y_true), np.concatenate(y_pred))
    assert run(make(), y_true, y_pred) == tolerance(expected)


def test_channel_axis_of_labels_is_optional(case):
    make, loop, y_true, y_pred, _ = case
    if loop is not mean_angle:
        expected = run(make(), y_true, y_pred)
        assert run(make(), [y[..., None] for y in y_true], y_pred) == expected


def test_nothing_valid_is_zero_and_changes_nothing(case):
    make, _, y_true, y_pred, ignored = case
    empty = np.full_like(y_true[0], ignored)
    metric = make()
    assert run(metric, [empty], y_pred[:1]) == 0.0
    alone = run(make(), y_true, y_pred)
    assert run(metric, y_true, y_pred) == alone


def test_reset_state(case):
    make, _, y_true, y_pred, _ = case
    metric = make()
    first = run(metric, y_true[:1], y_pred[:1])
    metric.reset_state()
    assert run(metric, y_true[:1], y_pred[:1]) == first


def test_states_merge_by_adding(case):
    make, _, y_true, y_pred, _ = case
    together, parts = make(), [make(), make()]
    expected = run(together, y_true, y_pred)
    run(parts[0], y_true[:1], y_pred[:1])
    run(parts[1], y_true[1:], y_pred[1:])
    for variable, other in zip(parts[0].variables, parts[1].variables, strict=True):
        variable.assign(variable + other)
    assert float(parts[0].result()) == tolerance(expected)


def test_zero_weight_leaves_out(case):
    make, _, y_true, y_pred, ignored = case
    metric, expected = make(), make()
    weight = np.ones(len(y_true[0]), "float32")
    weight[1] = 0.0
    metric.update_state(y_true[0], y_pred[0], sample_weight=weight * 7)
    masked = y_true[0].copy()
    masked[1] = ignored
    expected.update_state(masked, y_pred[0])
    assert float(metric.result()) == float(expected.result())


def test_compiled(case):
    make, loop, y_true, y_pred, _ = case
    metric = make()
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # Shapes unknown while tracing, as in `fit` on crops of any size.
        rank = [len(x.shape) for x in (y_true[0], y_pred[0])]
        signature = [
            tf.TensorSpec([None] * rank[0], y_true[0].dtype),
            tf.TensorSpec([None] * (rank[1] - 1) + [y_pred[0].shape[-1]], "float32"),
        ]
        update = tf.function(metric.update_state, input_signature=signature)
        for labels, prediction in zip(y_true, y_pred, strict=True):
            update(labels, prediction)
        value = metric.result()
    elif backend == "jax":
        import jax

        state = [variable.value for variable in metric.variables]
        update = jax.jit(metric.stateless_update_state)
        for labels, prediction in zip(y_true, y_pred, strict=True):
            state = update(state, labels, prediction)
        value = jax.jit(metric.stateless_result)(state)
    else:
        value = run(metric, y_true, [ops.convert_to_tensor(p).requires_grad_() for p in y_pred])
        assert not any(variable.value.requires_grad for variable in metric.variables)
    expected = loop(np.concatenate(y_true), np.concatenate(y_pred))
    assert float(value) == tolerance(expected)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA under TensorFlow")
def test_compiled_by_xla(case):
    import tensorflow as tf

    make, loop, y_true, y_pred, _ = case
    metric = make()
    update = tf.function(metric.update_state, jit_compile=True)
    for labels, prediction in zip(y_true, y_pred, strict=True):
        update(tf.constant(labels), tf.constant(prediction))
    expected = loop(np.concatenate(y_true), np.concatenate(y_pred))
    assert float(metric.result()) == tolerance(expected)


def test_config_round_trip(case):
    make, _, y_true, y_pred, _ = case
    metric = make()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert again.get_config() == metric.get_config()
    assert run(again, y_true, y_pred) == run(metric, y_true, y_pred)


def test_names():
    made = [make().name for make, *_ in CASES.values()]
    assert made == ["mean_iou"] * 2 + ["mean_angle", "rmse", "max_f", "max_iou", "accuracy"]


def test_counts_stay_exact_beyond_two_to_the_24():
    # A float32 counter would stop at 16,777,216: the accuracy would drift towards 1/2.
    metric = metrics.MaskedAccuracy()
    metric.count.high.assign(2.0**13)  # 2^33 examples so far, all correct
    metric.correct.high.assign(2.0**13)
    for _ in range(3):
        metric.update_state(np.array([1, 0, 1]), np.array([[0.0, 1.0]] * 3, "float32"))
    for total, low in ((metric.count, 9), (metric.correct, 6)):
        assert int(total.high) * 2**20 + int(total.low) == 2**33 + low


def test_long_sums_carry():
    # The odd total needs 27 bits; a float32 has 24.
    metric = metrics.RMSE()
    for _ in range(99):
        metric.squares.add(ops.convert_to_tensor(998_001.0))
    assert int(metric.squares.high) * 2**20 + int(metric.squares.low) == 99 * 998_001


@pytest.mark.parametrize("make", [metrics.MaxF, metrics.MaxIoU])
def test_binary_labels_out_of_range_count_as_ignored(make):
    rng = np.random.default_rng(0)
    labels, z = binary_maps(rng), rng.normal(size=(*SHAPE, 1)).astype("float32")
    expected = run(make(), [labels], [z])
    assert run(make(), [np.where(labels == 255, 7, labels)], [z]) == expected


def test_absent_classes_count_as_zero():
    metric = metrics.MeanIoU(4)
    z = np.eye(4, dtype="float32")[[[0, 1]]]
    metric.update_state(np.array([[0, 1]])[None], z[None])
    assert float(metric.result()) == 0.5
    assert np.allclose(ops.convert_to_numpy(metric.class_iou()), [1, 1, 0, 0])


def test_small_angles_are_exact():
    # arccos of a float32 scalar product cannot tell 0.01 degrees from 0.
    angle = np.radians(0.01)
    t = np.array([0, 0, 1], "float32").reshape(1, 1, 1, 3)
    p = np.array([np.sin(angle), 0, np.cos(angle)], "float32").reshape(1, 1, 1, 3)
    metric = metrics.MeanAngle()
    metric.update_state(t, p)
    assert float(metric.result()) == pytest.approx(0.01, rel=1e-5)
    metric.update_state(t, -t)
    assert float(metric.result()) == pytest.approx((0.01 + 180) / 2, rel=1e-6)


def test_saliency_without_foreground_scores_one():
    metric = metrics.MaxIoU()
    metric.update_state(np.zeros((1, 2, 2)), np.full((1, 2, 2, 1), -9.0, "float32"))
    assert float(metric.result()) == 1.0


@pytest.mark.parametrize("make", [metrics.MaxF, metrics.MaxIoU])
def test_diverged_predictions_do_not_crash(make):
    metric = make()
    metric.update_state(np.ones((1, 2, 2)), np.full((1, 2, 2, 1), np.nan, "float32"))
    assert float(metric.result()) == 0.0


REPLICAS = """
import keras, numpy as np, tensorflow as tf
from rc_keras import losses, metrics

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
rng = np.random.default_rng(0)
images = rng.normal(size=(8, 4, 4, 3)).astype("float32")
labels = rng.integers(0, 5, (8, 4, 4)).astype("int32")
labels[:, 0] = 255
data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4, drop_remainder=True)

def logs(strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(5, 1)])
        model.compile(keras.optimizers.SGD(0.3), loss=losses.MaskedCrossentropy(),
                      metrics=[metrics.MeanIoU(5)])
    history = model.fit(data, epochs=2, verbose=0).history
    return [history["loss"], history["mean_iou"]], model.get_weights()

one = logs(tf.distribute.get_strategy())
two = logs(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
np.testing.assert_allclose(one[0], two[0], atol=1e-5)
for a, b in zip(one[1], two[1]):
    np.testing.assert_allclose(a, b, atol=1e-5)
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_two_replicas_train_and_measure_like_one():
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[1]))
    command = [sys.executable, "-c", textwrap.dedent(REPLICAS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
