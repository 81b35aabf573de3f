"""Metrics: equal to plain NumPy loops, exact over long epochs, and safe to compile."""

import dataclasses
import functools
import math
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from keras import ops
from support.folders import environment

from rc_keras import metrics
from rc_keras.metrics.histogram import histogram_median
from rc_keras.tasks.task import Task, nyud, pascal_context
from rc_keras.zoo.evaluation_metrics import evaluation_metrics

TOLERANCE = 1e-6  # float32 against float64, relative and absolute
# Medians are read off a histogram; these are the bounds that the docstrings promise.
BOUNDS = {"median_angle": 0.01, "log_rmse_median": 2.0**-12}
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


def segmentation_scores(y_true, y_pred, ignore=255, without=(), skip=False):
    if skip:
        kept = [i for i, label in enumerate(y_true) if set(np.unique(label)) - {0, ignore}]
        y_true, y_pred = y_true[kept], y_pred[kept]
    valid = y_true != ignore
    scores = {
        "mean_iou": mean_iou(y_true, y_pred, ignore),
        "pixel_accuracy": np.mean(np.argmax(y_pred, axis=-1)[valid] == y_true[valid]),
    }
    if without:
        ious = []
        for c in set(range(y_pred.shape[-1])) - {ignore, *without}:
            truth, predicted = y_true == c, np.argmax(y_pred, axis=-1) == c
            union = np.sum((truth | predicted) & valid)
            ious.append(np.sum(truth & predicted & valid) / max(union, 1e-8))
        scores["mean_iou_without_" + "_".join(map(str, without))] = np.mean(ious)
    return scores


def saliency_scores(y_true, y_pred):
    p, ious, fs = sigmoid(y_pred[..., 0]), [], []
    thresholds = np.linspace(0.2, 0.9, 15)
    for threshold in thresholds:
        rows = []
        for label, probability in zip(y_true, p, strict=True):
            valid = label != 255
            if not valid.any():
                continue
            mask, truth = (probability > threshold)[valid], (label == 1)[valid]
            if not mask.any() and not truth.any():
                rows.append((1, 0, 0))
                continue
            tp = np.sum(mask & truth)
            precision = tp / mask.sum() if mask.any() else 0
            recall = tp / truth.sum() if truth.any() else 0
            rows.append((tp / np.sum(mask | truth), precision, recall))
        iou, precision, recall = np.mean(rows, axis=0)
        ious.append(iou)
        fs.append(2 * precision * recall / (precision + recall))
    return {
        "max_iou": max(ious),
        "max_iou_threshold": thresholds[np.argmax(ious)],
        "max_f": max(fs),
        "max_f_threshold": thresholds[np.argmax(fs)],
    }


def normals_errors(y_true, y_pred):
    angles = []
    for i in np.ndindex(y_true.shape[:-1]):
        t, p = y_true[i].astype("float64"), y_pred[i].astype("float64")
        if t.any():
            angles.append(np.degrees(np.arctan2(np.linalg.norm(np.cross(t, p)), t @ p)))
    angles = np.array(angles)
    return {
        "mean_angle": np.mean(angles),
        "median_angle": np.median(angles),
        "rmse_angle": np.sqrt(np.mean(angles**2)),
        "within_11_25": np.mean(angles < 11.25),
        "within_22_5": np.mean(angles < 22.5),
        "within_30": np.mean(angles < 30),
    }


def depth_errors(y_true, y_pred):
    roots, log_roots, errors, log_errors, relative, ratios = [], [], [], [], [], []
    for label, prediction in zip(y_true.astype("float64"), y_pred[..., 0].astype("float64"), strict=True):
        t, p = label[label != 0], prediction[label != 0]
        if not t.size:
            continue
        positive = np.where(p <= 0, 1e-9, p)
        error, log_error = p - t, np.log(positive) - np.log(t)
        roots.append(np.sqrt(np.mean(error**2)))
        log_roots.append(np.sqrt(np.mean(log_error**2)))
        errors.extend(error)
        log_errors.extend(log_error)
        relative.extend(np.abs(error) / t)
        ratios.extend(np.maximum(positive / t, t / positive))
    return {
        "rmse": np.sqrt(np.mean(np.square(errors))),
        "rmse_per_image": np.mean(roots),
        "log_rmse": np.sqrt(np.mean(np.square(log_errors))),
        "log_rmse_median": np.median(log_roots),
        "abs_rel": np.mean(relative),
        "delta_1": np.mean(np.array(ratios) < 1.25),
        "delta_2": np.mean(np.array(ratios) < 1.25**2),
        "delta_3": np.mean(np.array(ratios) < 1.25**3),
    }


def accuracy(y_true, y_pred):
    valid = y_true != -1
    return np.mean(np.argmax(y_pred, axis=-1)[valid] == y_true[valid])


def class_ids(rng):
    return rng.choice([0, 1, 2, 3, 255], SHAPE).astype("uint8")  # class 4 is never labelled


def human_parts(rng):
    labels = rng.choice([0, 1, 2, 255], SHAPE).astype("uint8")
    labels[0] = 0  # an image without people
    labels[1] = np.where(labels[1] == 255, 255, 0)  # the same, padded
    return labels


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


def saliency_maps(rng):
    labels = binary_maps(rng)
    labels[1][labels[1] == 1] = 0  # nothing is salient
    return labels


def single_labels(rng):
    return rng.choice([-1, 0, 1, 2], 12)


# How to make the metric, its loop, labels, channels of the prediction, the ignored label.
def vectors_or_no_data(rng):
    labels = rng.normal(scale=3, size=(*SHAPE, 3)).astype("float32")
    labels[rng.random(SHAPE) < 0.3] = -9999
    return labels


def regression_rmse(y_true, y_pred):
    known = ~np.all(y_true == -9999, axis=-1)
    errors = y_pred[known].astype("float64") - y_true[known]
    return math.sqrt(np.mean(errors**2))


def regression_errors(y_true, y_pred):
    errors = (y_pred[..., 0].astype("float64") - y_true)[y_true != 0]
    return {"root_mean_squared_error": math.sqrt(np.mean(errors**2)), "mean_absolute_error": np.mean(np.abs(errors))}


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
    "segmentation_scores": (lambda: metrics.SegmentationScores(CLASSES), segmentation_scores, class_ids, CLASSES, 255),
    "segmentation_scores_without": (
        lambda: metrics.SegmentationScores(CLASSES, ignore=0, without=(4, 2)),
        functools.partial(segmentation_scores, ignore=0, without=(4, 2)),
        lambda rng: class_ids(rng) % 255,
        CLASSES,
        0,
    ),
    "segmentation_scores_of_human_parts": (
        lambda: metrics.SegmentationScores(CLASSES, skip_unlabelled_images=True),
        functools.partial(segmentation_scores, skip=True),
        human_parts,
        CLASSES,
        255,
    ),
    "saliency_scores": (metrics.SaliencyScores, saliency_scores, saliency_maps, 1, 255),
    "normals_errors": (metrics.NormalsErrors, normals_errors, vectors, 3, 0),
    "depth_errors": (metrics.DepthErrors, depth_errors, metres, 1, 0),
    "accuracy": (metrics.MaskedAccuracy, accuracy, single_labels, CLASSES, -1),
    "regression_rmse": (metrics.RegressionRMSE, regression_rmse, vectors_or_no_data, 3, -9999),
    "regression_errors": (lambda: metrics.RegressionErrors(ignore=0), regression_errors, metres, 1, 0),
}


@pytest.fixture
def sklearn_metrics():
    return pytest.importorskip("sklearn.metrics")


@pytest.fixture(params=CASES)
def case(request):
    make, loop, labels, channels, ignored = CASES[request.param]
    rng = np.random.default_rng(11)
    y_true = [labels(rng) for _ in range(3)]
    pixels = y_true[0].shape[: len(SHAPE)]
    y_pred = [rng.normal(scale=2, size=(*pixels, channels)).astype("float32") for _ in range(3)]
    return make, loop, y_true, y_pred, ignored


def tolerance(value):
    """What compares with a number, or a dict of numbers, within the tolerance of each."""
    if isinstance(value, dict):
        return {key: pytest.approx(v, rel=TOLERANCE, abs=BOUNDS.get(key, TOLERANCE)) for key, v in value.items()}
    return pytest.approx(value, rel=TOLERANCE, abs=TOLERANCE)


def plain(result):
    """A result as a number, or a dict of numbers."""
    return {key: float(v) for key, v in result.items()} if isinstance(result, dict) else float(result)


def run(metric, y_true, y_pred):
    for labels, prediction in zip(y_true, y_pred, strict=True):
        metric.update_state(labels, prediction)
    return plain(metric.result())


def test_equals_loop_over_all_batches(case):
    make, loop, y_true, y_pred, _ = case
    expected = loop(np.concatenate(y_true), np.concatenate(y_pred))
    assert run(make(), y_true, y_pred) == tolerance(expected)


def test_channel_axis_of_labels_is_optional(case):
    make, loop, y_true, y_pred, _ = case
    if y_true[0].shape != y_pred[0].shape:  # as those of normals have
        expected = run(make(), y_true, y_pred)
        assert run(make(), [y[..., None] for y in y_true], y_pred) == expected


def test_scores_of_nothing_are_zero_errors_nan_and_nothing_changes(case):
    make, _, y_true, y_pred, ignored = case
    empty = np.full_like(y_true[0], ignored)
    metric = make()
    worst = math.nan if isinstance(metric, (metrics.RMSE, metrics.MeanAngle, metrics.RegressionRMSE)) else 0.0
    for nothing in (plain(metric.result()), run(metric, [empty], y_pred[:1])):
        expected = dict.fromkeys(nothing, worst) if isinstance(nothing, dict) else worst
        assert nothing == pytest.approx(expected, abs=0.0, nan_ok=True)
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
    assert plain(parts[0].result()) == tolerance(expected)


def test_one_update_or_several(case):
    make, _, y_true, y_pred, _ = case
    several = run(make(), y_true, y_pred)
    assert run(make(), [np.concatenate(y_true)], [np.concatenate(y_pred)]) == tolerance(several)


def test_zero_weight_leaves_out(case):
    make, _, y_true, y_pred, ignored = case
    metric, expected = make(), make()
    weight = np.ones(len(y_true[0]), "float32")
    weight[1] = 0.0
    metric.update_state(y_true[0], y_pred[0], sample_weight=weight * 7)
    masked = y_true[0].copy()
    masked[1] = ignored
    expected.update_state(masked, y_pred[0])
    assert plain(metric.result()) == plain(expected.result())


def test_half_precision_predictions_are_measured_in_float32(case):
    make, _, y_true, y_pred, _ = case
    half = [ops.cast(prediction, "bfloat16") for prediction in y_pred]
    metric = make()
    assert run(metric, y_true, half) == run(make(), y_true, [ops.cast(p, "float32") for p in half])
    assert {variable.dtype for variable in metric.variables} == {"float32"}


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
    assert plain(value) == tolerance(expected)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA under TensorFlow")
def test_compiled_by_xla(case):
    import tensorflow as tf

    make, loop, y_true, y_pred, _ = case
    metric = make()
    update = tf.function(metric.update_state, jit_compile=True)
    for labels, prediction in zip(y_true, y_pred, strict=True):
        update(tf.constant(labels), tf.constant(prediction))
    expected = loop(np.concatenate(y_true), np.concatenate(y_pred))
    assert plain(tf.function(metric.result, jit_compile=True)()) == tolerance(expected)


def test_config_round_trip(case):
    make, _, y_true, y_pred, _ = case
    metric = make()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert again.get_config() == metric.get_config()
    assert run(again, y_true, y_pred) == run(metric, y_true, y_pred)


def test_names():
    made = [make().name for make, *_ in CASES.values()]
    assert made == [
        *["mean_iou"] * 2,
        *["mean_angle", "rmse", "max_f", "max_iou"],
        *["scores"] * 4,
        *["errors"] * 2,
        *["accuracy", "root_mean_squared_error", "errors"],
    ]


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


@pytest.mark.parametrize("make", [metrics.MaxF, metrics.MaxIoU, metrics.SaliencyScores])
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
    metric, scores = metrics.MaxIoU(), metrics.SaliencyScores()
    for either in (metric, scores):
        either.update_state(np.zeros((1, 2, 2)), np.full((1, 2, 2, 1), -9.0, "float32"))
    assert float(metric.result()) == 1.0
    assert plain(scores.result()) == tolerance(
        {"max_iou": 1.0, "max_iou_threshold": 0.2, "max_f": 0.0, "max_f_threshold": 0.2}
    )


def test_images_without_foreground_score_zero_in_f():
    # 24 images, 4 of them empty in label and prediction; P and R are 1 in the others.
    truth = np.zeros((24, 2, 3))
    truth[4:, 0] = 1
    z = np.where(truth == 1, 9.0, -9.0).astype("float32")[..., None]
    metric = metrics.SaliencyScores()
    metric.update_state(truth, z)
    assert float(metric.result()["max_f"]) == tolerance(20 / 24)
    assert float(metric.result()["max_iou"]) == 1.0


def test_precision_and_recall_are_averaged_before_f():
    # Image 1: P = 1, R = 1/2. Image 2: P = 1/2, R = 1. F of the means is 3/4; the mean of F is 2/3.
    truth = np.array([[[1, 1, 0, 0]], [[1, 0, 0, 0]]])
    z = np.where([[[1, 0, 0, 0]], [[1, 1, 0, 0]]], 9.0, -9.0).astype("float32")[..., None]
    metric = metrics.SaliencyScores()
    metric.update_state(truth, z)
    assert float(metric.result()["max_f"]) == tolerance(0.75)
    assert float(metric.result()["max_iou"]) == tolerance(0.5)


def test_thresholds_of_saliency_are_told():
    # P(salient) of 0.62 where it is right and of 0.37 where it is wrong: 0.40 is the lowest threshold between.
    p = np.array([[[0.62, 0.37]]])
    metric = metrics.SaliencyScores()
    metric.update_state(np.array([[[1, 0]]]), np.log(p / (1 - p)).astype("float32")[..., None])
    expected = {"max_iou": 1.0, "max_iou_threshold": 0.4, "max_f": 1.0, "max_f_threshold": 0.4}
    assert plain(metric.result()) == tolerance(expected)


@pytest.mark.parametrize("count", [1, 2, 7, 4000, 4001])
@pytest.mark.parametrize("width", [0.01, 2.0**-12])
def test_median_of_a_histogram_is_off_by_less_than_a_bin(count, width):
    values = np.random.default_rng(count).gamma(2.0, 10.0, count) % 24
    counts = np.histogram(values, bins=np.arange(round(24 / width) + 1) * width)[0].astype("float32")
    median = float(histogram_median(ops.convert_to_tensor(counts), width))
    assert abs(median - np.median(values)) < width


def test_values_lie_evenly_in_the_bin_of_the_median():
    for counts, median in (([0, 100, 0], 3.0), ([4, 2, 0], 1.5), ([1, 0, 1], 3.0)):
        assert float(histogram_median(ops.convert_to_tensor(counts, "float32"), 2.0)) == tolerance(median)


def test_median_of_a_whole_data_set():
    # 654 images of 425 x 560: far beyond 2^24, where a float32 stops counting.
    pixels = 654 * 425 * 560
    density = np.exp(-np.arange(18_000) * 0.01 / 20)
    counts = np.round(density / density.sum() * pixels)
    expected = 20 * np.log(2)  # of an exponential distribution
    assert float(histogram_median(ops.convert_to_tensor(counts, "float32"), 0.01)) == pytest.approx(expected, abs=0.01)


def test_a_whole_data_set_of_normals():
    # The same image again and again, as if 654 of them had been measured: no statistic may drift.
    rng = np.random.default_rng(2)
    t, p = rng.normal(size=(2, 1, 425, 560, 3)).astype("float32")
    metric = metrics.NormalsErrors()
    metric.update_state(t, p)
    once = plain(metric.result())
    for total in (metric.angle, metric.squares, metric.within, metric.count, metric.angles):
        for variable in (total.high, total.low):
            variable.assign(variable * 653.0)
        total.add(ops.zeros(total.low.shape))  # carries
    metric.update_state(t, p)
    assert plain(metric.result()) == tolerance(once)


def test_right_and_opposite_normals():
    n = np.zeros((1, 1, 2, 3), "float32")
    n[..., 2] = 1
    metric = metrics.NormalsErrors()
    metric.update_state(n, n)
    assert plain(metric.result()) == tolerance(
        {"mean_angle": 0, "median_angle": 0, "rmse_angle": 0, "within_11_25": 1, "within_22_5": 1, "within_30": 1}
    )
    metric.reset_state()
    metric.update_state(n, -n)
    assert plain(metric.result()) == tolerance(
        {"mean_angle": 180, "median_angle": 180, "rmse_angle": 180, "within_11_25": 0, "within_22_5": 0, "within_30": 0}
    )


def test_depth_is_pooled_or_taken_per_image_as_the_key_says():
    # Errors of 1 m in three pixels of one image, of 4 m in the one labelled pixel of another.
    t = np.array([[[2.0, 2.0, 2.0]], [[4.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]])
    p = np.array([[[3.0, 3.0, 3.0]], [[8.0, 9.0, 9.0]], [[9.0, 9.0, 9.0]]])[..., None]
    metric = metrics.DepthErrors()
    metric.update_state(t, p)
    logs = np.log([1.5, 2.0])
    expected = {
        "rmse": np.sqrt((3 * 1 + 16) / 4),
        "rmse_per_image": (1 + 4) / 2,
        "log_rmse": np.sqrt((3 * logs[0] ** 2 + logs[1] ** 2) / 4),
        "log_rmse_median": np.mean(logs),
        "abs_rel": (3 * 0.5 + 1) / 4,
        "delta_1": 0.0,
        "delta_2": 0.75,  # 1.5 < 1.5625
        "delta_3": 0.75,  # 2 > 1.953
    }
    assert plain(metric.result()) == tolerance(expected)


def test_depth_that_is_not_positive_is_a_billionth_in_logarithms_and_ratios():
    metric = metrics.DepthErrors()
    metric.update_state(np.full((1, 1, 2), 2.0), np.array([[[[-3.0], [0.0]]]]))
    result = plain(metric.result())
    assert result["log_rmse"] == tolerance(np.log(2e9))
    assert result["log_rmse_median"] == pytest.approx(np.log(2e9), abs=BOUNDS["log_rmse_median"])
    assert result["rmse"] == tolerance(np.sqrt((25 + 4) / 2))
    assert result["abs_rel"] == tolerance((2.5 + 1) / 2)
    assert result["delta_3"] == 0.0


@pytest.mark.parametrize("make", [metrics.MeanIoU, metrics.SegmentationScores])
@pytest.mark.parametrize("name", ["mean_iou", "scores"])
def test_skipping_is_configured(make, name):
    config = make(3, skip_unlabelled_images=True, name=name).get_config()
    assert config["skip_unlabelled_images"] and make.from_config(config).skip_unlabelled_images
    assert not make(3).skip_unlabelled_images


def test_human_parts_are_one_number_in_training_and_evaluation():
    rng = np.random.default_rng(4)
    labels = np.stack([human_parts(rng) for _ in range(2)]).reshape(-1, *SHAPE[1:]) % 255
    z = rng.normal(size=(*labels.shape, 7)).astype("float32")
    task = Task.get("human_parts")
    (training,), (evaluation,) = task.make_metrics(), evaluation_metrics(task)
    assert run(training, [labels], [z]) == run(evaluation, [labels], [z])["mean_iou"]
    counting_all = metrics.MeanIoU(7)
    assert run(counting_all, [labels], [z]) < run(training, [labels], [z])
    assert not dataclasses.replace(task, name="parts").make_metrics()[0].skip_unlabelled_images


def test_human_parts_skip_images_without_people():
    labels = np.zeros((3, 2, 2))
    labels[0] = [[1, 0], [0, 0]]
    labels[2, 0] = 255  # padded
    z = np.eye(2, dtype="float32")[np.ones((3, 2, 2), int)]  # all is person
    skipping, plainly = metrics.SegmentationScores(2, skip_unlabelled_images=True), metrics.SegmentationScores(2)
    mean = metrics.MeanIoU(2, skip_unlabelled_images=True)
    for metric in (skipping, plainly, mean):
        metric.update_state(labels, z)
    assert plain(mean.result()) == tolerance(1 / 8)
    assert plain(skipping.result()) == tolerance({"mean_iou": 1 / 8, "pixel_accuracy": 1 / 4})
    assert plain(plainly.result()) == tolerance({"mean_iou": 1 / 20, "pixel_accuracy": 1 / 10})


@pytest.mark.parametrize("without", [(5,), (-1,), (0, 1, 2, 3, 4)])
def test_classes_to_go_without_must_exist_and_leave_some(without):
    with pytest.raises(ValueError, match="`without` must hold class ids of 0 … 4 and leave a class.*Received"):
        metrics.SegmentationScores(CLASSES, without=without)


@pytest.mark.parametrize("make", [metrics.MaxF, metrics.MaxIoU, metrics.SaliencyScores])
@pytest.mark.parametrize("label", [0, 1])
def test_foreground_that_is_nan_is_wrong(make, label):
    metric = make()
    metric.update_state(np.full((1, 2, 2), label), np.full((1, 2, 2, 1), np.nan, "float32"))
    result = metric.result()
    scores = [result] if not isinstance(result, dict) else [result["max_iou"], result["max_f"]]
    assert all(float(score) == 0.0 for score in scores)


def test_a_nan_pixel_is_a_false_alarm_or_a_miss():
    rng = np.random.default_rng(6)
    labels, z = binary_maps(rng), rng.normal(size=(*SHAPE, 1)).astype("float32")
    nan = rng.random(SHAPE) < 0.2
    wrong = np.where(nan, np.where(labels == 1, -9, 9), z[..., 0]).astype("float32")[..., None]
    broken = np.where(nan, np.nan, z[..., 0]).astype("float32")[..., None]
    for make in (metrics.MaxF, metrics.MaxIoU, metrics.SaliencyScores):
        assert run(make(), [labels], [broken]) == run(make(), [labels], [wrong])


@pytest.mark.parametrize("channel", [0, 1, 2, slice(None)])
def test_classes_that_are_nan_are_wrong(channel):
    labels = np.array([[[0, 0, 1, 1]]])
    z = np.eye(3, dtype="float32")[labels]
    z[0, 0, (0, 2), channel] = np.nan
    expected = {"mean_iou": (0.5 + 0.5 + 0) / 3, "pixel_accuracy": 0.5}  # hits 1 of 2, and no false alarm
    assert run(metrics.SegmentationScores(3), [labels], [z]) == tolerance(expected)
    assert run(metrics.MeanIoU(3), [labels], [z]) == tolerance(expected["mean_iou"])
    assert run(metrics.MaskedAccuracy(), [labels[0, 0]], [z[0, 0]]) == tolerance(0.5)
    labels[0, 0, 0] = 255  # an ignored pixel may be anything
    assert run(metrics.SegmentationScores(3), [labels], [z]) == tolerance({"mean_iou": 0.5, "pixel_accuracy": 2 / 3})
    assert run(metrics.MaskedAccuracy(ignore=255), [labels[0, 0]], [z[0, 0]]) == tolerance(2 / 3)


def test_diverged_predictions_do_not_score():
    nan = np.full((1, 2, 2, 3), np.nan, "float32")
    saliency, normals, depth = metrics.SaliencyScores(), metrics.NormalsErrors(), metrics.DepthErrors()
    saliency.update_state(np.ones((1, 2, 2)), nan[..., :1])
    normals.update_state(np.ones((1, 2, 2, 3)), nan)
    depth.update_state(np.ones((1, 2, 2)), nan[..., :1])
    assert float(saliency.result()["max_iou"]) == float(saliency.result()["max_f"]) == 0.0
    result = plain(normals.result())
    assert np.isnan(result["mean_angle"]) and np.isnan(result["rmse_angle"])
    assert result["median_angle"] == pytest.approx(180, abs=BOUNDS["median_angle"])
    assert result["within_30"] == 0.0
    result = plain(depth.result())
    assert all(np.isnan(result[key]) for key in ("rmse", "rmse_per_image", "log_rmse", "abs_rel"))
    assert result["log_rmse_median"] == pytest.approx(24, abs=BOUNDS["log_rmse_median"])
    assert result["delta_3"] == 0.0


def test_evaluation_measures_what_training_watches():
    for task in (*pascal_context(), *nyud(), Task("animals", 3, "classification")):
        numbers = {}
        for metric in evaluation_metrics(task):
            result = metric.result()
            numbers |= result if isinstance(result, dict) else {metric.name: result}
        assert {metric.name for metric in task.make_metrics()} <= set(numbers)
    human_parts, semseg = (evaluation_metrics(task)[0] for task in (Task.get("human_parts"), nyud()[1]))
    assert human_parts.skip_unlabelled_images and not semseg.skip_unlabelled_images
    assert evaluation_metrics(nyud()[1])[0] is not semseg


def test_means_of_nyud_are_of_that_data_set_alone():
    own = Task("semseg", 41, "segmentation")
    for task, dataset in ((own, None), (own, "folder"), (nyud()[1], None), (nyud()[0], "nyud_mt")):
        results = evaluation_metrics(task, dataset)[0].result()
        assert not isinstance(results, dict) or list(results) == ["mean_iou", "pixel_accuracy"]
        assert len(evaluation_metrics(task, dataset)) == 1


def test_nyud_is_reported_over_40_and_41_classes(sklearn_metrics):
    rng = np.random.default_rng(8)
    labels = rng.integers(0, 41, (2, 40, 41))
    predicted = np.where(rng.random(labels.shape) < 0.6, labels, rng.integers(0, 41, labels.shape))
    z = np.eye(41, dtype="float32")[predicted]
    for ignore in (0, 255):
        task = dataclasses.replace(nyud()[1], ignore=ignore)
        results = {}
        for metric in evaluation_metrics(task, "nyud_mt"):
            value = run(metric, [labels], [z])
            results |= value if isinstance(value, dict) else {metric.name: value}
        all_classes = sklearn_metrics.jaccard_score(labels.ravel(), predicted.ravel(), average="macro")
        named = labels > 0
        ious = sklearn_metrics.jaccard_score(
            labels[named], predicted[named], labels=range(1, 41), average=None, zero_division=0
        )
        assert results["mean_iou_without_40"] == tolerance(
            np.mean(ious[:-1])
            if ignore == 0
            else np.mean(
                sklearn_metrics.jaccard_score(labels.ravel(), predicted.ravel(), labels=range(40), average="macro")
            )
        )
        own, other = ("mean_iou", "mean_iou_41") if ignore == 0 else ("mean_iou_40", "mean_iou")
        assert results[own] == tolerance(np.mean(ious))
        assert results[other] == tolerance(all_classes)
    assert len(evaluation_metrics(nyud()[1], "nyud_mt", padded=True)) == 1
    assert len(evaluation_metrics(dataclasses.replace(nyud()[1], ignore=255), "nyud_mt", padded=True)) == 2


class Epochs(keras.callbacks.Callback):
    """Puts numbers of a metric into the logs, as `evaluate` would."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs["val_depth_rmse"] = self.values[epoch]


def fit_with(values, *callbacks):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.5), "mae")  # the weight grows by 0.5 each epoch
    x = np.ones((1, 1), "float32")
    model.fit(x, 100 * x, epochs=len(values), verbose=0, callbacks=[Epochs(values), *callbacks])
    return model


def kept_epoch(model):
    return float(ops.convert_to_numpy(model.layers[-1].kernel)[0, 0]) / 0.5 - 1


@pytest.mark.parametrize(
    ("values", "start", "best"),
    [([None, None, 0.7, None, 0.9], math.inf, 2), ([0.7, None, 0.9, 0.5, None], None, 3), ([0.7, None], None, 0)],
)
def test_callbacks_do_not_keep_an_epoch_that_measured_nothing(values, start, best, tmp_path):
    nothing = float(metrics.RMSE().result())
    values = [nothing if value is None else value for value in values]
    settings = {"monitor": "val_depth_rmse", "mode": "min"}
    path = tmp_path / "best.weights.h5"
    callbacks = [
        keras.callbacks.ModelCheckpoint(
            path, save_best_only=True, save_weights_only=True, initial_value_threshold=start, **settings
        )
    ]
    if start is None:  # EarlyStopping has no such argument: it takes any first epoch for the best so far
        callbacks.append(keras.callbacks.EarlyStopping(patience=9, restore_best_weights=True, **settings))
    model = fit_with(values, *callbacks)
    assert kept_epoch(model) == (best if start is None else len(values) - 1)
    model.load_weights(path)
    assert kept_epoch(model) == best


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
    command = [sys.executable, "-c", textwrap.dedent(REPLICAS)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
