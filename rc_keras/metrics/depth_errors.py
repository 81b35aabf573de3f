"""The published set of errors of depth."""

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses.pixels import label_map
from rc_keras.metrics.histogram import bins_of, histogram, histogram_median
from rc_keras.metrics.rmse import RMSE
from rc_keras.metrics.running_sum import RunningSum

RATIOS = (1.25, 1.25**2, 1.25**3)
BIN = 2.0**-12  # of the histogram of log errors
_BINS = round(24 / BIN)  # 1e-9 m predicted at 10 m is an error of 23
_LEAST = 1e-9  # metres


@keras.saving.register_keras_serializable(package="rc_keras")
class DepthErrors(RMSE):
    """Errors of depth over the pixels with a label t, prediction p; p ≤ 0 counts as 1e-9 m in logarithms and ratios.

        rmse             sqrt(Σ (p − t)² / N), pooled over all pixels (m)
        rmse_per_image   the same of each image, mean over images (m)
        log_rmse         sqrt(Σ (ln p − ln t)² / N), pooled
        log_rmse_median  the same of each image, median over images, off by less than 2⁻¹² = 0.00025
        abs_rel          1/N Σ |p − t| / t
        delta_k          share of pixels with max(p / t, t / p) < 1.25^k, k = 1, 2, 3

    The published code takes rmse per image and the median of log_rmse, and counts unlabelled pixels as 1e-9 m; here
    they are left out, so numbers differ where labels are missing. Images without any label are not counted. A NaN is
    within no ratio, counts as 24 in the median, and makes the others NaN. All are NaN when nothing is labelled.

    Args:
        name: name of the metric.

    Call arguments:
        y_true, y_pred, sample_weight: see `RMSE`.

    Returns:
        `result()` is a dictionary with the keys above.
    """

    def __init__(self, name: str = "errors") -> None:
        super().__init__(name=name)
        self.log_squares = RunningSum(self, (), "log_squares")
        self.relative = RunningSum(self, (), "relative")
        self.within = RunningSum(self, (len(RATIOS),), "within")
        self.images = RunningSum(self, (), "images")
        self.image_rmse = RunningSum(self, (), "image_rmse")
        self.image_log_rmse = RunningSum(self, (_BINS,), "image_log_rmse")

    def update_pixels(self, y_true: Tensor, y_pred: Tensor, kept: Tensor | bool) -> None:
        super().update_pixels(y_true, y_pred, kept)
        labels = label_map(y_true, y_pred)
        valid = (labels != 0.0) & kept
        t = ops.where(valid, labels, 1.0)
        p = ops.where(valid, ops.squeeze(y_pred, axis=-1), 1.0)
        positive = ops.maximum(p, _LEAST)
        log_squares = ops.square(ops.log(positive) - ops.log(t))
        ratio = ops.maximum(positive / t, t / positive)
        self.log_squares.add(ops.sum(log_squares))
        self.relative.add(ops.sum(ops.abs(p - t) / t))
        self.within.add(ops.stack([ops.sum(ops.cast(valid & (ratio < r), "float32")) for r in RATIOS]))

        pixels = ops.sum(ops.cast(valid, "float32"), axis=(1, 2))
        counted = pixels > 0.0
        rmse = ops.sqrt(ops.sum(ops.square(p - t), axis=(1, 2)) / ops.maximum(pixels, 1.0))
        log_rmse = ops.sqrt(ops.sum(log_squares, axis=(1, 2)) / ops.maximum(pixels, 1.0))
        self.images.add(ops.sum(ops.cast(counted, "float32")))
        self.image_rmse.add(ops.sum(ops.where(counted, rmse, 0.0)))
        self.image_log_rmse.add(histogram(bins_of(log_rmse, BIN, _BINS), counted, _BINS))

    def result(self) -> dict[str, Tensor]:
        count = self.count.value()
        within = self.within.value() / count
        return {
            "rmse": super().result(),
            "rmse_per_image": self.image_rmse.value() / self.images.value(),
            "log_rmse": ops.sqrt(self.log_squares.value() / count),
            "log_rmse_median": histogram_median(self.image_log_rmse.value(), BIN),
            "abs_rel": self.relative.value() / count,
            "delta_1": within[0],
            "delta_2": within[1],
            "delta_3": within[2],
        }
