"""Boundary scores: exact matchings, reference thinning, and the whole protocol against a naive implementation."""

import itertools
import math
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, sparse
from scipy.sparse.csgraph import maximum_bipartite_matching

from rc_keras.metrics.boundaries import BoundaryScores, match_boundaries, suppress_non_maxima, thin
from rc_keras.metrics.boundaries.boundary_scores import average_precision
from rc_keras.metrics.boundaries.counts import boundary_counts
from rc_keras.metrics.boundaries.matching import BoundaryMatching

ABSOLUTE = 1e-12  # float64, of values up to 1
CURVE = Path(__file__).with_name("bsds500_gpb_ucm_curve.txt")
PUBLISHED_AP = 0.726626
PUBLISHED = 1e-6  # six digits are published
OF_ROUNDED = 3e-6  # F of precision and recall of six digits
SCORES = ["ods_f", "ods_threshold", "ods_precision", "ods_recall", "ois_f", "ap"]


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def random_case(seed, shape=(24, 31)):
    """Closed outlines and a displaced, blurred, noisy map of them."""
    rng = np.random.default_rng(seed)
    label = np.zeros(shape, dtype="uint8")
    for _ in range(3):
        y, x = (rng.integers(2, size // 2) for size in shape)
        h, w = (rng.integers(4, size // 2) for size in shape)
        label[[y, y + h], x : x + w] = 1
        label[y : y + h, [x, x + w]] = 1
    blurred = ndimage.gaussian_filter(np.roll(label.astype(float), 1, axis=(0, 1)), 1.2)
    return label, np.clip(1.5 * blurred + 0.15 * rng.random(shape), 0, 1)


def straight_line(column=40, shape=(100, 120)):
    line = np.zeros(shape, dtype="uint8")
    line[20:80, column] = 1
    return line


def proximity(predicted, truth, radius):
    p, t = np.argwhere(predicted), np.argwhere(truth)
    return ((p[:, None] - t[None]) ** 2).sum(axis=-1) <= radius**2 + 1e-9


def full_solve(predicted, truth, radius):
    near = proximity(predicted, truth, radius)
    if not near.size:
        return 0
    return int((maximum_bipartite_matching(sparse.csr_matrix(near), perm_type="column") >= 0).sum())


def exhaustive(near):
    """The most rows that can be given a column each, by trying everything."""
    if not len(near):
        return 0
    best = exhaustive(near[1:])
    for column in np.flatnonzero(near[0]):
        best = max(best, 1 + exhaustive(np.delete(near[1:], column, axis=1)))
    return best


def naive_thin(binary):
    """The conditions of Guo and Hall, pixel by pixel."""
    current = np.pad(binary.astype(bool), 1)
    changed = True
    while changed:
        changed = False
        for first in (True, False):
            removed = []
            for i, j in np.argwhere(current):
                around = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]
                x = [None, *(bool(current[i + a, j + b]) for a, b in around)]
                x.append(x[1])
                crossings = sum(not x[2 * k - 1] and (x[2 * k] or x[2 * k + 1]) for k in range(1, 5))
                one = sum(x[2 * k - 1] or x[2 * k] for k in range(1, 5))
                two = sum(x[2 * k] or x[2 * k + 1] for k in range(1, 5))
                side = (x[2] or x[3] or not x[8]) and x[1] if first else (x[6] or x[7] or not x[4]) and x[5]
                if crossings == 1 and 2 <= min(one, two) <= 3 and not side:
                    removed.append((i, j))
            for place in removed:
                current[place] = False
                changed = True
    return current[1:-1, 1:-1]


def naive_scores(cases, thresholds, max_distance, suppress):
    """The whole protocol, written out, with a full matching for every threshold."""
    counts = np.zeros((len(cases), len(thresholds), 3), dtype=int)
    for n, (label, probability) in enumerate(cases):
        edge = suppress_non_maxima(probability) if suppress else probability
        truth = naive_thin(label == 1)
        for k, threshold in enumerate(thresholds):
            predicted = naive_thin((edge > threshold) & (label != 255))
            matched = full_solve(predicted, truth, max_distance * math.hypot(*label.shape))
            counts[n, k] = matched, predicted.sum(), truth.sum()

    def f(c):
        return 2 * c[0] / (c[1] + c[2]) if c[1] + c[2] else 0.0

    total = counts.sum(axis=0)
    ods = max(range(len(thresholds)), key=lambda k: (f(total[k]), k))
    best = sum(max(enumerate(c), key=lambda kc: (f(kc[1]), kc[0]))[1] for c in counts)
    points = {}
    for matched, predicted, true in total:
        points[matched / true] = matched / predicted if predicted else 0.0
    recalls = sorted(points)
    precisions = []
    for recall in np.linspace(0, 1, 101):
        if recalls[0] <= recall <= recalls[-1]:
            high = next(r for r in recalls if r >= recall)
            low = recalls[max(recalls.index(high) - 1, 0)]
            share = (recall - low) / (high - low) if high > low else 1.0
            precisions.append(points[low] + share * (points[high] - points[low]))
    return {
        "ods_f": f(total[ods]),
        "ods_threshold": thresholds[ods],
        "ods_precision": total[ods][0] / total[ods][1],
        "ods_recall": total[ods][0] / total[ods][2],
        "ois_f": f(best),
        "ap": sum(precisions) * 0.01,
    }, counts.sum(axis=0)


def test_average_precision_is_the_published_one():
    _, recall, precision, f = np.loadtxt(CURVE).T
    assert average_precision(precision, recall) == pytest.approx(PUBLISHED_AP, rel=0, abs=PUBLISHED)
    np.testing.assert_allclose(2 * precision * recall / (precision + recall), f, rtol=0, atol=OF_ROUNDED)


@pytest.mark.parametrize(
    ("recalls", "precisions", "expected"),
    [
        ([0.5], [1.0], 0.0),
        ([0.5, 0.5], [0.4, 1.0], 0.0),
        ([0.75, 0.25], [1.0, 1.0], 0.51),
        ([1.0, 0.0], [1.0, 1.0], 1.01),
        ([0.75, 0.25, 0.25], [1.0, 0.2, 1.0], 0.51),
    ],
    ids=["one", "equal", "nothing_beyond", "whole", "highest_threshold"],
)
def test_average_precision_counts_measured_recalls_alone(recalls, precisions, expected):
    assert average_precision(np.array(precisions), np.array(recalls)) == pytest.approx(expected, abs=ABSOLUTE)


LAYOUTS = {
    "fortran": np.asfortranarray,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "strided": lambda x: x.repeat(2, axis=0).repeat(3, axis=1)[::2, ::3],
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "reversed_fortran": lambda x: np.asfortranarray(x[::-1])[::-1],
    "read_only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
}


@pytest.mark.parametrize("arrange", LAYOUTS.values(), ids=LAYOUTS)
def test_memory_order_changes_nothing(arrange):
    label, probability = random_case(5)
    binary = probability > 0.3
    arranged_label, arranged, arranged_binary = map(arrange, (label, probability, binary))
    np.testing.assert_array_equal(arranged, probability)
    for kind in (bool, "uint8", "float64"):
        np.testing.assert_array_equal(thin(arrange(binary.astype(kind))), naive_thin(binary))
    np.testing.assert_array_equal(suppress_non_maxima(arranged), suppress_non_maxima(probability))
    expected = full_solve(binary, label, 2.5)
    assert match_boundaries(arranged_binary, arranged_label, 2.5) == expected
    assert match_boundaries(arranged_binary, label, 2.5) == match_boundaries(binary, arranged_label, 2.5) == expected
    matching = BoundaryMatching(arranged_label, 2.5)
    assert matching.update(arrange(probability > 0.6)) == full_solve(probability > 0.6, label, 2.5)
    assert matching.update(arranged_binary) == expected
    np.testing.assert_array_equal(
        boundary_counts(arranged_label, arranged, (0.2, 0.5), 0.06, True),
        boundary_counts(label, probability, (0.2, 0.5), 0.06, True),
    )
    wanted = BoundaryScores(0.06, thresholds=(0.2, 0.5), workers=0)
    wanted.add(label, probability)
    for workers in (0, 2):
        with BoundaryScores(0.06, thresholds=(0.2, 0.5), workers=workers) as scores:
            scores.add(arranged_label, arranged)
            np.testing.assert_array_equal(scores.counts, wanted.counts)


@pytest.mark.parametrize("suppress", [False, True])
def test_equal_maps_score_one(suppress):
    label = straight_line()
    scores = BoundaryScores(suppress=suppress, workers=0)
    scores.add(label, label * 0.6)
    result = scores.result()
    assert (result["ods_f"], result["ois_f"]) == (1.0, 1.0)
    assert result["ap"] == pytest.approx(0.505)  # on the line from (0, 0), where nothing is predicted, to (1, 1)
    assert (result["ods_precision"], result["ods_recall"]) == (1.0, 1.0)
    assert list(result) == SCORES


@pytest.mark.parametrize(("shift", "expected"), [(4, 1.0), (5, 1.0), (6, 0.0)])
def test_a_line_counts_up_to_the_tolerance(shift, expected):
    label = straight_line()
    scores = BoundaryScores(max_distance=5 / math.hypot(*label.shape), suppress=False, workers=0)
    scores.add(label, straight_line(40 + shift).astype(float))
    result = scores.result()
    assert (result["ods_f"], result["ois_f"]) == (expected,) * 2
    assert result["ap"] == 0.0  # of a single measured recall


def test_matching_is_maximum_on_small_cases():
    rng = np.random.default_rng(0)
    for _ in range(200):
        predicted, truth = np.zeros((2, 5, 6), dtype=bool)
        for side in (predicted, truth):
            side.reshape(-1)[rng.choice(30, rng.integers(0, 7), replace=False)] = True
        radius = rng.choice([0, 1, math.sqrt(2), 2, math.sqrt(5), 3])
        assert match_boundaries(predicted, truth, radius) == exhaustive(proximity(predicted, truth, radius))


@pytest.mark.parametrize(("density", "radius"), [(0.02, 4.7), (0.1, 2.0), (0.3, 1.0)])
def test_matching_is_maximum_while_the_map_changes(density, radius):
    rng = np.random.default_rng(1)
    truth = rng.random((60, 70)) < density
    level = rng.random((60, 70))
    matching = BoundaryMatching(truth, radius)
    for share in (0.01, 0.03, 0.1, 0.2, 0.15, 0.0, 0.12):
        predicted = (level < share) & (rng.random((60, 70)) < 0.9)
        assert matching.update(predicted) == full_solve(predicted, truth, radius)


def test_distance_is_euclidean_and_inclusive():
    predicted, truth = np.zeros((2, 9, 9), dtype=bool)
    predicted[1, 1], truth[4, 5] = True, True
    assert match_boundaries(predicted, truth, 5) == 1
    assert match_boundaries(predicted, truth, 4.99) == 0


def test_thinning_equals_the_conditions():
    for seed in range(6):
        binary = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(20, 26)), 1 + seed / 4) > 0
        np.testing.assert_array_equal(thin(binary), naive_thin(binary))


def test_thinning_equals_scikit_image():
    morphology = pytest.importorskip("skimage.morphology")
    rng = np.random.default_rng(0)
    for sigma in (0, 1, 3, 8):
        binary = ndimage.gaussian_filter(rng.normal(size=(90, 120)), sigma) > 0
        np.testing.assert_array_equal(thin(binary), morphology.thin(binary))
    for binary in (np.ones((30, 41)), np.zeros((5, 5)), np.ones((1, 9)), np.ones((2, 2)), np.ones((1, 1))):
        np.testing.assert_array_equal(thin(binary), morphology.thin(binary))


def test_suppression_equals_its_formulas():
    edge = random_case(3)[1]
    height, width = edge.shape
    triangle = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1]) / 25
    smooth = np.pad(edge, 4, mode="symmetric")
    smooth = np.array([np.convolve(row, triangle, mode="valid") for row in smooth])
    smooth = np.array([np.convolve(column, triangle, mode="valid") for column in smooth.T]).T
    s_y, s_x = np.gradient(smooth)
    s_xx, (s_yy, s_xy) = np.gradient(s_x)[1], np.gradient(s_y)
    expected = np.zeros_like(edge)

    def value(y, x):
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        i, j = min(int(y), height - 2), min(int(x), width - 2)
        a, b = y - i, x - j
        upper = (1 - b) * edge[i, j] + b * edge[i, j + 1]
        lower = (1 - b) * edge[i + 1, j] + b * edge[i + 1, j + 1]
        return (1 - a) * upper + a * lower

    for y, x in itertools.product(range(height), range(width)):
        angle = math.atan(s_yy[y, x] * np.sign(-s_xy[y, x]) / (s_xx[y, x] + 1e-5)) % math.pi
        if all(1.01 * edge[y, x] >= value(y + d * math.sin(angle), x + d * math.cos(angle)) for d in (-1, 1)):
            distance = min(y, x, height - 1 - y, width - 1 - x)
            expected[y, x] = edge[y, x]
            if distance < 5:
                expected[y, x] *= min(y, height - 1 - y, 5) / 5 * min(x, width - 1 - x, 5) / 5
    np.testing.assert_allclose(suppress_non_maxima(edge), expected, rtol=0, atol=ABSOLUTE)


@pytest.mark.parametrize("slope", [-2.0, -0.7, 0.7, 2.0])
def test_suppression_keeps_the_crest_of_a_wide_line(slope):
    y, x = np.mgrid[:61, :61] - 30.0
    distance = (y - slope * x) / math.hypot(1, slope)
    kept = suppress_non_maxima(np.exp(-(distance**2) / 18))[8:-8, 8:-8] > 0
    distance = np.abs(distance[8:-8, 8:-8])
    assert kept[distance < 0.3].all()
    assert not kept[(distance > 1.5) & (distance < 8)].any()


@pytest.mark.parametrize("suppress", [False, True])
def test_scores_equal_the_naive_protocol(suppress):
    thresholds = (0.05, 0.15, 0.2, 0.3, 0.45, 0.6, 0.8, 0.99)
    cases = [random_case(seed) for seed in range(4)]
    cases[1][0][:6, 3:20] = 255
    scores = BoundaryScores(0.06, suppress=suppress, thresholds=thresholds, workers=1)
    for case in cases:
        scores.add(*case)
    expected, counts = naive_scores(cases, thresholds, 0.06, suppress)
    np.testing.assert_array_equal(scores.counts, counts[:, [0, 1, 0, 2]])
    result = scores.result()
    assert 0.2 < result["ods_f"] < 1
    assert result["ods_f"] < result["ois_f"]
    for name in SCORES:
        assert result[name] == pytest.approx(expected[name], rel=0, abs=ABSOLUTE), name


def test_workers_and_merging_change_nothing():
    cases = [random_case(seed) for seed in range(7)]
    alone, left, right = (BoundaryScores(0.05, workers=0) for _ in range(3))
    for case in cases:
        alone.add(*case)
    with BoundaryScores(0.05, workers=2) as together:
        for case in cases:
            together.add(*case)
    for case in cases[:3]:
        left.add(*case)
    for case in cases[3:]:
        right.add(*case)
    left.merge(right)
    for other in (together, left):
        np.testing.assert_array_equal(other.counts, alone.counts)
        np.testing.assert_array_equal(other.best_counts, alone.best_counts)
        assert other.result() == alone.result()
    with pytest.raises(ValueError, match="same max_distance"):
        left.merge(BoundaryScores(0.06, workers=0))


def test_a_dead_worker_is_reported():
    with BoundaryScores(workers=2) as scores:
        scores.add(*random_case(0))
        for process in scores._processes:
            process.process.kill()
            process.process.wait()
        with pytest.raises(RuntimeError, match="worker process"):
            for seed in range(3):
                scores.add(*random_case(seed))
            scores.result()
        scores._pending.clear()


def test_workers_do_not_load_keras():
    from rc_keras.metrics.boundaries import worker_process

    code = "import runpy, sys; runpy.run_path(sys.argv[1])['_load_counts'](); print(*sys.modules)"
    command = [sys.executable, "-c", code, worker_process.__file__]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert "boundaries.counts" in loaded
    assert not {"keras", "tensorflow", "jax", "torch", "rc_keras"} & set(loaded)


def test_ignored_pixels_count_on_neither_side():
    label, clean = straight_line(), straight_line().astype(float)
    noisy = clean.copy()
    noisy[10:90, 100] = 1.0
    ignoring = label.copy()
    ignoring[:, 95:105] = 255
    scores = [BoundaryScores(suppress=False, workers=0) for _ in range(2)]
    scores[0].add(label, clean)
    scores[1].add(ignoring[..., None], noisy[..., None])
    np.testing.assert_array_equal(scores[0].counts, scores[1].counts)
    scores[1].add(np.full_like(label, 255), noisy)
    np.testing.assert_array_equal(scores[0].counts, scores[1].counts)


def test_a_thick_label_is_thinned():
    label = straight_line()
    label[:, 41] = label[:, 40]
    scores = BoundaryScores(suppress=False, workers=0)
    scores.add(label, straight_line().astype(float))
    assert scores.counts[50, 3] == thin(label).sum() <= 61


@pytest.mark.parametrize(("predicted", "true"), [(False, True), (True, False), (False, False)])
def test_nothing_there_scores_zero(predicted, true):
    scores = BoundaryScores(workers=0)
    assert scores.result()["ods_f"] == 0.0
    scores.add(straight_line() * true, straight_line() * float(predicted))
    result = scores.result()
    assert [result[name] for name in SCORES if name != "ods_threshold"] == [0.0] * 5
    assert match_boundaries(straight_line() * predicted, straight_line() * true, 3) == 0


def test_bad_input_is_refused():
    label, probability = random_case(0)
    scores = BoundaryScores(workers=0)
    holed, high, wrong = probability.copy(), probability.copy(), label.copy()
    holed[3, 3], high[3, 3], wrong[3, 3] = np.nan, 1.5, 7
    for bad_label, bad_probability, message in [
        (label[:-1], probability, "of one shape"),
        (label[None], probability[None], "of one shape"),
        (label, holed, "floats in 0..1"),
        (label, high, "floats in 0..1"),
        (label, label, "floats in 0..1"),
        (wrong, probability, r"must be 0, 1 or 255.*\[7\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            scores.add(bad_label, bad_probability)
    assert not scores.counts.any()
    for arguments, message in [
        ({"max_distance": -1}, "`max_distance` must be"),
        ({"thresholds": [0.5, 0.5]}, "`thresholds` must be"),
        ({"thresholds": []}, "`thresholds` must be"),
        ({"workers": -1}, "`workers` must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            BoundaryScores(**arguments)
    with pytest.raises(ValueError, match="`max_distance_pixels` must be"):
        match_boundaries(label, label, math.nan)
