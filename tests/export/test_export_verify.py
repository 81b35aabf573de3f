"""The comparison every export must pass, against NumPy over all numbers at once; what must fail it does."""

import dataclasses

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
if keras.backend.backend() == "tensorflow":
    from rc_keras.export.comparison import TOLERANCES, Comparison, Tolerance, compare
    from rc_keras.export.images.generated import generate_images

ROUNDING = 1e-12  # of float64 sums in another order


def compared(wanted, got, classes=False):
    """Arrays `(image, …)` compared image by image."""
    return compare(lambda i: wanted[i][None], lambda i: got[i][None], range(len(wanted)), classes)


def outputs(seed=0):
    generator = np.random.default_rng(seed)
    wanted = generator.normal(3.0, 2.0, (4, 5, 6, 3)).astype("float32")
    return wanted, wanted + generator.normal(0.0, 0.5, wanted.shape).astype("float32")


def test_figures_are_those_of_all_images_together():
    wanted, got = outputs()
    result = compared(wanted, got, classes=True)
    difference = np.abs(wanted.astype("float64") - got)
    assert result.shape == (1, 5, 6, 3)
    assert result.maximum == difference.max()
    assert result.mean == pytest.approx(difference.mean(), rel=ROUNDING)
    assert result.scale == pytest.approx(np.ptp(wanted.astype("float64")), rel=ROUNDING)
    assert result.relative == pytest.approx(difference.max() / np.ptp(wanted), rel=1e-6)
    wide = wanted.astype("float64").ravel(), got.astype("float64").ravel()
    assert result.correlation == pytest.approx(np.corrcoef(*wide)[0, 1], rel=1e-9)
    assert result.agreement == (wanted.argmax(-1) == got.argmax(-1)).mean()
    assert compared(wanted, got).agreement is None


def test_class_ids_are_compared_as_such():
    wanted = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype("uint8")
    got = wanted.copy()
    got[2, 1, :3] += 1
    assert compared(wanted, got, classes=True).agreement == 1 - 3 / wanted.size


@pytest.mark.parametrize("image", range(4))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_passes_nothing(image, value):
    wanted, _ = outputs()
    got = wanted.copy()
    got[image, 2, 3, 1] = value
    with np.errstate(invalid="ignore"):
        result = compared(wanted, got)
    for tolerance in TOLERANCES.values():
        assert not result.passes(tolerance)


def test_another_shape_passes_nothing():
    wanted, got = outputs()
    for classes in (False, True):
        result = compared(wanted, got[..., :2], classes)
        assert result.shape == (1, 5, 6, 2)
        for tolerance in TOLERANCES.values():
            assert not result.passes(tolerance) and not (classes and result.passes(tolerance, class_ids=True))


def test_an_output_that_hardly_varies_is_as_exact_as_its_size():
    wanted = 100.0 + 1e-4 * outputs()[0].astype("float64")
    assert compared(wanted, wanted + 1e-5).scale == pytest.approx(0.01 * wanted.max(), rel=ROUNDING)
    assert compared(-wanted, -wanted).scale == pytest.approx(0.01 * wanted.max(), rel=ROUNDING)
    assert compared(wanted, wanted).relative == 0.0
    assert compared(0 * wanted, 0 * wanted + 1).relative == np.inf
    assert compared(0 * wanted, 0 * wanted).relative == 0.0


@pytest.mark.parametrize(("value", "other", "expected"), [(5.0, 5.0, 1), (5.0, 5.04, 1), (5.0, 5.06, 0), (0.0, 0.0, 1)])
def test_a_constant_correlates_with_the_same_constant(value, other, expected):
    shape = (2, 4, 4, 1)
    assert compared(np.full(shape, value), np.full(shape, other)).correlation == expected


def test_a_constant_does_not_correlate_with_what_varies():
    wanted, _ = outputs()
    for pair in ((wanted, np.full_like(wanted, wanted.mean())), (np.full_like(wanted, wanted.mean()), wanted)):
        assert compared(*pair).correlation == 0


def test_each_bound_of_a_tolerance_is_kept():
    tolerance = {"relative": 0.25, "correlation": 0.5, "agreement": 0.75, "logits_agreement": 0.5}
    exact = {"shape": (1,), "maximum": 0.5, "mean": 0.1, "scale": 2.0, "correlation": 0.5, "agreement": 0.5}
    at_the_bounds = Comparison(**exact)
    assert at_the_bounds.passes(Tolerance(**tolerance))
    assert not at_the_bounds.passes(Tolerance(**tolerance), class_ids=True)
    assert dataclasses.replace(at_the_bounds, agreement=0.75).passes(Tolerance(**tolerance), class_ids=True)
    for change in ({"maximum": 0.51}, {"correlation": 0.49}, {"agreement": 0.49}):
        worse = dataclasses.replace(at_the_bounds, **change)
        assert not worse.passes(Tolerance(**tolerance))
        (name,) = change
        loosened = {"maximum": {"relative": None}, "correlation": {"correlation": None}, "agreement": {}}[name]
        assert worse.passes(Tolerance(**{**tolerance, **loosened})) == bool(loosened)
    without_classes = dataclasses.replace(at_the_bounds, agreement=None)
    assert without_classes.passes(Tolerance(**tolerance))


def test_generated_images_are_the_same_pictures_every_time():
    for shape in ((24, 40, 3), (None, None, 3), (None, 40, 1)):
        images = generate_images(shape)
        sizes = [image.shape for image in images]
        assert sizes == [(1, shape[0] or free[0], shape[1] or free[1], shape[2]) for free in ((160, 128), (96, 192))]
        for image, again in zip(images, generate_images(shape), strict=True):
            np.testing.assert_array_equal(image, again)
            assert image.dtype == "float32" and image.min() >= 0 and image.max() <= 255 and image.std() > 20
