"""Losses and metrics agree with scikit-learn, SciPy and scikit-image, also where labels are missing."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import special, stats
from scipy.spatial import transform

from rc_keras import losses, metrics

TOLERANCE = 1e-6  # float32 against float64, relative and absolute
IMAGES, HEIGHT, WIDTH, CLASSES = 4, 9, 11, 6
SHAPE = (IMAGES, HEIGHT, WIDTH)
MISSING = ("some", "a corner", "an image", "a class")


@pytest.fixture(scope="module")
def sklearn_metrics():
    return pytest.importorskip(
        "sklearn.metrics", reason="scikit-learn is the reference here: pip install rc_keras[dev]"
    )


@pytest.fixture(scope="module")
def skimage_metrics():
    return pytest.importorskip(
        "skimage.metrics", reason="scikit-image is the reference here: pip install rc_keras[dev]"
    )


@pytest.fixture
def rng():
    return np.random.default_rng(17)


@pytest.fixture(params=MISSING)
def missing(request, rng):
    """A map of the pixels without a label; `"a class"` misses all of class 1 besides."""
    where = rng.random(SHAPE) < 0.2
    if request.param == "a corner":
        where[:, :4, :5] = True
    if request.param == "an image":
        where[1] = True
    return where, request.param == "a class"


def close(value):
    if isinstance(value, dict):
        return {key: close(number) for key, number in value.items()}
    return pytest.approx(value, rel=TOLERANCE, abs=TOLERANCE)


def measured(metric, y_true, y_pred):
    """The result after two updates, images halved between them."""
    for half in (slice(0, 2), slice(2, None)):
        metric.update_state(y_true[half], y_pred[half])
    result = metric.result()
    return {key: float(v) for key, v in result.items()} if isinstance(result, dict) else float(result)


def segmentation(rng, missing, ignore=255):
    where, without_a_class = missing
    labels = rng.integers(1 if ignore == 0 else 0, CLASSES - 1, SHAPE)  # the last class is never labelled
    if without_a_class:
        labels[labels == 1] = 2
    labels[where] = ignore
    logits = rng.normal(scale=2, size=(*SHAPE, CLASSES)).astype("float32")
    return labels, logits, labels != ignore


def binary(rng, missing):
    where, without_a_class = missing
    labels = rng.integers(0, 2, SHAPE)
    if without_a_class:
        labels[:] = 0
    labels[where] = 255
    return labels, rng.normal(scale=2, size=(*SHAPE, 1)).astype("float32"), labels != 255


def normals(rng, missing):
    labels = transform.Rotation.random(np.prod(SHAPE), rng=rng).apply([0.0, 0.0, 1.0]).reshape(*SHAPE, 3)
    labels[missing[0]] = 0
    return labels.astype("float32"), rng.normal(size=(*SHAPE, 3)).astype("float32"), ~missing[0]


def depth(rng, missing):
    labels = rng.uniform(0.5, 10, SHAPE).astype("float32")
    prediction = (labels * rng.lognormal(sigma=0.3, size=SHAPE)).astype("float32")
    labels[missing[0]] = 0
    return labels, prediction[..., None], ~missing[0]


@pytest.mark.parametrize("ignore", [255, 0])
def test_crossentropy(rng, missing, ignore, sklearn_metrics):
    labels, logits, valid = segmentation(rng, missing, ignore)
    value = float(losses.MaskedCrossentropy(ignore=ignore)(labels, logits))
    log_p = special.log_softmax(logits[valid].astype("float64"), axis=-1)
    assert value == close(-np.mean(np.take_along_axis(log_p, labels[valid][:, None], axis=-1)))
    p = special.softmax(logits[valid].astype("float64"), axis=-1)
    assert value == close(sklearn_metrics.log_loss(labels[valid], p, labels=range(CLASSES)))


def test_crossentropy_of_classification(rng, sklearn_metrics):
    labels = rng.integers(-1, CLASSES, 50)
    logits = rng.normal(scale=2, size=(50, CLASSES)).astype("float32")
    p = special.softmax(logits[labels >= 0].astype("float64"), axis=-1)
    expected = sklearn_metrics.log_loss(labels[labels >= 0], p, labels=range(CLASSES))
    assert float(losses.MaskedCrossentropy(ignore=-1)(labels, logits)) == close(expected)


def test_binary_crossentropy(rng, missing, sklearn_metrics):
    labels, logits, valid = binary(rng, missing)
    p = special.expit(logits[..., 0][valid].astype("float64"))
    expected = sklearn_metrics.log_loss(labels[valid], p, labels=[0, 1])
    assert float(losses.MaskedBinaryCrossentropy()(labels, logits)) == close(expected)


def test_balanced_binary_crossentropy(rng, missing, sklearn_metrics):
    labels, logits, valid = binary(rng, missing)
    p = special.expit(logits[..., 0][valid].astype("float64"))
    # Divided by the number of valid pixels, not by the sum of their weights.
    weight = np.where(labels[valid] == 1, 0.95, 0.05)
    total = sklearn_metrics.log_loss(labels[valid], p, labels=[0, 1], sample_weight=weight, normalize=False)
    assert float(losses.BalancedBinaryCrossentropy()(labels, logits)) == close(total / valid.sum())


def test_normals_l1(rng, missing, sklearn_metrics):
    labels, prediction, valid = normals(rng, missing)
    expected = sklearn_metrics.mean_absolute_error(labels[valid].astype("float64"), prediction[valid])
    assert float(losses.NormalsL1()(labels, prediction)) == close(expected)


def test_depth_l1(rng, missing, sklearn_metrics):
    labels, prediction, valid = depth(rng, missing)
    expected = sklearn_metrics.mean_absolute_error(labels[valid].astype("float64"), prediction[..., 0][valid])
    assert float(losses.DepthL1()(labels, prediction)) == close(expected)


LOSSES = {
    "crossentropy": (losses.MaskedCrossentropy(), segmentation, 255),
    "binary": (losses.MaskedBinaryCrossentropy(), binary, 255),
    "balanced": (losses.BalancedBinaryCrossentropy(), binary, 255),
    "normals": (losses.NormalsL1(), normals, 0),
    "depth": (losses.DepthL1(), depth, 0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_divided_by_the_valid_pixels(name, rng):
    loss, make, ignored = LOSSES[name]
    labels, prediction, _ = make(rng, (np.zeros(SHAPE, bool), False))
    everything = float(loss(labels, prediction))
    # The same images again, unlabelled: neither the sum nor the number of valid pixels changes.
    labels = np.concatenate([labels, np.full_like(labels, ignored)])
    assert float(loss(labels, np.concatenate([prediction, prediction]))) == close(everything)
    labels[: IMAGES // 2] = ignored
    half = float(loss(labels[IMAGES // 2 : IMAGES], prediction[IMAGES // 2 :]))
    assert float(loss(labels[:IMAGES], prediction)) == close(half)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_without_labels_are_zero_and_so_is_their_gradient(name, rng):
    loss, make, ignored = LOSSES[name]
    labels, prediction, _ = make(rng, (np.ones(SHAPE, bool), False))
    assert np.all(labels == ignored)
    value, gradient = value_and_gradient(loss, labels, prediction)
    assert value == 0.0 and np.array_equal(gradient, np.zeros_like(prediction))


def value_and_gradient(loss, labels, prediction):
    prediction = ops.convert_to_tensor(prediction)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(prediction)
            value = loss(labels, prediction)
        gradient = tape.gradient(value, prediction)
    elif backend == "jax":
        import jax

        value, gradient = jax.value_and_grad(lambda p: loss(labels, p))(prediction)
    else:
        prediction = prediction.detach().requires_grad_(True)
        value = loss(labels, prediction)
        value.backward()
        value, gradient = value.detach(), prediction.grad
    return float(value), ops.convert_to_numpy(gradient)


@pytest.mark.parametrize("ignore", [255, 0])
def test_segmentation_scores(rng, missing, ignore, sklearn_metrics):
    labels, logits, valid = segmentation(rng, missing, ignore)
    truth, predicted = labels[valid], np.argmax(logits, axis=-1)[valid]
    classes = [c for c in range(CLASSES) if c != ignore]
    ious = sklearn_metrics.jaccard_score(truth, predicted, labels=classes, average=None, zero_division=0)
    metric = metrics.SegmentationScores(CLASSES, ignore=ignore, without=(5, 1))
    expected = {
        "mean_iou": np.mean(ious),
        "mean_iou_without_5_1": np.mean([i for c, i in zip(classes, ious, strict=True) if c not in (5, 1)]),
        "pixel_accuracy": sklearn_metrics.accuracy_score(truth, predicted),
    }
    assert measured(metric, labels, logits) == close(expected)
    assert measured(metrics.MeanIoU(CLASSES, ignore=ignore), labels, logits) == close(expected["mean_iou"])
    assert ops.convert_to_numpy(metric.class_iou())[classes] == close(ious)
    confusion = sklearn_metrics.confusion_matrix(truth, predicted, labels=range(CLASSES))
    assert np.array_equal(ops.convert_to_numpy(metric.confusion.value()), confusion)


def test_accuracy(rng, sklearn_metrics):
    labels = rng.integers(-1, CLASSES, 50)
    logits = rng.normal(size=(50, CLASSES)).astype("float32")
    valid = labels >= 0
    expected = sklearn_metrics.accuracy_score(labels[valid], np.argmax(logits, axis=-1)[valid])
    assert measured(metrics.MaskedAccuracy(), labels, logits) == close(expected)


def test_max_f(rng, missing, sklearn_metrics):
    labels, logits, valid = binary(rng, missing)
    truth, p = labels[valid], special.expit(logits[..., 0][valid].astype("float64"))
    scores = [sklearn_metrics.f1_score(truth, p > t, zero_division=0) for t in np.arange(1, 100) / 100]
    assert measured(metrics.MaxF(), labels, logits) == close(max(scores))


def test_saliency_scores(rng, missing, sklearn_metrics):
    labels, logits, valid = binary(rng, missing)
    thresholds = np.linspace(0.2, 0.9, 15)
    rows = []
    for image in range(IMAGES):
        truth, p = labels[image][valid[image]], special.expit(logits[image, ..., 0][valid[image]].astype("float64"))
        if truth.size:
            rows.append([foreground_scores(sklearn_metrics, truth, p > threshold) for threshold in thresholds])
    iou, precision, recall = np.moveaxis(np.mean(rows, axis=0), -1, 0)
    f = stats.hmean([np.maximum(precision, 1e-12), np.maximum(recall, 1e-12)], axis=0)
    expected = {
        "max_iou": np.max(iou),
        "max_iou_threshold": thresholds[np.argmax(iou)],
        "max_f": np.max(f),
        "max_f_threshold": thresholds[np.argmax(f)],
    }
    assert measured(metrics.SaliencyScores(), labels, logits) == close(expected)
    assert measured(metrics.MaxIoU(), labels, logits) == close(expected["max_iou"])


def foreground_scores(sklearn_metrics, truth, mask):
    if not truth.any() and not mask.any():
        return 1.0, 0.0, 0.0
    return (
        sklearn_metrics.jaccard_score(truth, mask, zero_division=0),
        sklearn_metrics.precision_score(truth, mask, zero_division=0),
        sklearn_metrics.recall_score(truth, mask, zero_division=0),
    )


def test_normals_errors(rng, missing):
    labels, prediction, valid = normals(rng, missing)
    rotations = [
        transform.Rotation.align_vectors(t[None].astype("float64"), p[None].astype("float64"))[0]
        for t, p in zip(labels[valid], prediction[valid], strict=True)
    ]
    angles = np.degrees([rotation.magnitude() for rotation in rotations])
    expected = {
        "mean_angle": np.mean(angles),
        "median_angle": pytest.approx(np.median(angles), abs=0.01),
        "rmse_angle": np.sqrt(np.mean(angles**2)),
        **{key: np.mean(angles < limit) for key, limit in (("within_11_25", 11.25), ("within_22_5", 22.5))},
        "within_30": np.mean(angles < 30.0),
    }
    median = expected.pop("median_angle")
    result = measured(metrics.NormalsErrors(), labels, prediction)
    assert result.pop("median_angle") == median
    assert result == close(expected)
    assert measured(metrics.MeanAngle(), labels, prediction) == close(expected["mean_angle"])


def test_normals_agree_with_arccos(rng, missing):
    labels, prediction, valid = normals(rng, missing)
    t, p = labels[valid].astype("float64"), prediction[valid].astype("float64")
    cosine = np.sum(t * p, axis=-1) / np.linalg.norm(t, axis=-1) / np.linalg.norm(p, axis=-1)
    expected = np.mean(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    assert measured(metrics.MeanAngle(), labels, prediction) == close(expected)


def test_depth_errors(rng, missing, sklearn_metrics, skimage_metrics):
    labels, prediction, valid = depth(rng, missing)
    labelled = [i for i in range(IMAGES) if valid[i].any()]
    t, p = labels[valid].astype("float64"), prediction[..., 0][valid].astype("float64")
    pairs = [(labels[i][valid[i]].astype("float64"), prediction[i, ..., 0][valid[i]]) for i in labelled]
    ratio = np.exp(np.abs(np.log(p / t)))
    expected = {
        "rmse": np.sqrt(skimage_metrics.mean_squared_error(t, p)),
        "rmse_per_image": np.mean([sklearn_metrics.root_mean_squared_error(*pair) for pair in pairs]),
        "log_rmse": sklearn_metrics.root_mean_squared_error(np.log(t), np.log(p)),
        "abs_rel": sklearn_metrics.mean_absolute_percentage_error(t, p),
        **{f"delta_{k}": np.mean(ratio < 1.25**k) for k in (1, 2, 3)},
    }
    result = measured(metrics.DepthErrors(), labels, prediction)
    logs = [sklearn_metrics.root_mean_squared_error(*np.log(pair)) for pair in pairs]
    assert result.pop("log_rmse_median") == pytest.approx(np.median(logs), abs=2.0**-12)
    assert result == close(expected)
    assert measured(metrics.RMSE(), labels, prediction) == close(expected["rmse"])


METRICS = {
    "mean_iou": (lambda: metrics.MeanIoU(CLASSES), segmentation),
    "segmentation": (lambda: metrics.SegmentationScores(CLASSES, without=(1,)), segmentation),
    "max_f": (metrics.MaxF, binary),
    "max_iou": (metrics.MaxIoU, binary),
    "saliency": (metrics.SaliencyScores, binary),
    "mean_angle": (metrics.MeanAngle, normals),
    "normals": (metrics.NormalsErrors, normals),
    "rmse": (metrics.RMSE, depth),
    "depth": (metrics.DepthErrors, depth),
}


@pytest.mark.parametrize("name", METRICS)
def test_scores_without_labels_are_zero_and_errors_nan(name, rng):
    make, data = METRICS[name]
    labels, prediction, _ = data(rng, (np.ones(SHAPE, bool), False))
    result = measured(make(), labels, prediction)
    values = list(result.values() if isinstance(result, dict) else [result])
    is_error = name in ("mean_angle", "normals", "rmse", "depth")
    np.testing.assert_array_equal(values, np.full(len(values), np.nan if is_error else 0.0))
