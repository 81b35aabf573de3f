"""Comparison of an exported file with the model, in the runtime the file is meant for."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """What a file of some precision must keep.

    Attributes:
        relative: largest difference allowed, of the range of the output; `None`: any.
        correlation: smallest correlation allowed; `None`: any. An output that hardly varies has none to speak of.
        agreement: smallest share of class ids that must be the same, where class ids are exported.
        logits_agreement: the same of the largest logits; lower, since a network that is not sure may be tied.
    """

    relative: float | None
    correlation: float | None
    agreement: float
    logits_agreement: float


# Above what was measured on ResNet-18s with three and five tasks. float32: 8e-6. float16: 6e-3, but for unit vectors,
# whose direction means little where the network's own vector is short: 1e-2 at the worst of a million pixels. Eight
# bits move single numbers by much and most by little, so there it is the correlation that tells: 0.99 at the worst.
TOLERANCES = {
    "float32": Tolerance(relative=1e-4, correlation=None, agreement=0.999, logits_agreement=0.99),
    "float16": Tolerance(relative=5e-2, correlation=0.9999, agreement=0.98, logits_agreement=0.95),
    "dynamic_int8": Tolerance(relative=None, correlation=0.98, agreement=0.9, logits_agreement=0.75),
    "int8": Tolerance(relative=None, correlation=0.98, agreement=0.9, logits_agreement=0.75),
}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How far one output of a file is from the model's, over all images compared.

    Attributes:
        shape: shape of the output of the last image.
        maximum, mean: largest and mean absolute difference.
        scale: range of the model's output, `max - min`; at least 1 % of the largest absolute value, since an output
            that hardly varies is only as exact as float32.
        correlation: Pearson's, over all numbers; of a constant 1 with the same constant, to 1 %, and else 0.
        agreement: share of the pixels with the same largest channel, or the same class id; `None` where there are no
            classes.
    """

    shape: tuple[int, ...]
    maximum: float
    mean: float
    scale: float
    correlation: float
    agreement: float | None

    @property
    def relative(self) -> float:
        """The largest difference, of the range."""
        if self.maximum == 0.0:
            return 0.0
        return self.maximum / self.scale if self.scale > 0.0 else np.inf

    def passes(self, tolerance: Tolerance, class_ids: bool = False) -> bool:
        """Whether the differences are within a `Tolerance`; of class ids only their agreement counts."""
        if class_ids:
            return self.agreement is not None and self.agreement >= tolerance.agreement
        within = tolerance.relative is None or self.relative <= tolerance.relative
        agrees = self.agreement is None or self.agreement >= tolerance.logits_agreement
        return (
            within and agrees and (tolerance.correlation is None or self.correlation >= tolerance.correlation)
        )  # NaN fails


def compare(
    expected: Callable[[np.ndarray], np.ndarray],
    received: Callable[[np.ndarray], np.ndarray],
    images: Iterable[np.ndarray],
    classes: bool = False,
) -> Comparison:
    """Compares two functions from images to an output.

    Args:
        expected, received: take a float32 array `(1, height, width, channels)`, return an array.
        images: arrays of that shape.
        classes: whether the output says which class a pixel is of: logits in the last axis, or uint8 class ids.

    Returns:
        The `Comparison`.
    """
    maximum, total, low, high, count, agreeing, pixels = 0.0, 0.0, np.inf, -np.inf, 0, 0, 0
    moments = np.zeros(5)  # sums of x, y, x², y², xy
    for image in images:
        wanted, got = np.asarray(expected(image)), np.asarray(received(image))
        if wanted.shape != got.shape:
            return Comparison(got.shape, np.inf, np.inf, 1.0, 0.0, 0.0 if classes else None)
        if classes:
            same = wanted == got if wanted.dtype == np.uint8 else wanted.argmax(-1) == got.argmax(-1)
            agreeing, pixels = agreeing + int(same.sum()), pixels + same.size
        x, y = wanted.astype("float64"), got.astype("float64")
        difference = np.abs(x - y)
        maximum = np.maximum(maximum, difference.max())  # np.maximum keeps a NaN
        total, count = total + difference.sum(), count + x.size
        low, high = min(low, x.min()), max(high, x.max())
        moments += [x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()]
    scale = max(high - low, 0.01 * max(abs(low), abs(high)))
    return Comparison(
        shape=tuple(got.shape),
        maximum=float(maximum),
        mean=float(total / count),
        scale=float(scale),
        correlation=_correlation(moments / count),
        agreement=agreeing / pixels if classes else None,
    )


def _correlation(moments: np.ndarray) -> float:
    x, y, xx, yy, xy = moments
    variances = np.array([xx - x * x, yy - y * y])
    if not np.all(np.isfinite(variances)):
        return float("nan")
    # What is left of a constant's variance is rounding, far below any that matters.
    constant = variances <= 1e-12 * (np.array([xx, yy]) + 1e-30)
    if constant.any():
        return float(constant.all() and abs(x - y) <= 0.01 * max(abs(x), abs(y)))
    return float((xy - x * y) / np.sqrt(variances.prod()))
