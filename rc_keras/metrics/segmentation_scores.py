"""Mean intersection over union, with and without some classes, and pixel accuracy."""

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.metrics.mean_iou import MeanIoU


@keras.saving.register_keras_serializable(package="rc_keras")
class SegmentationScores(MeanIoU):
    """`mean_iou` of `MeanIoU`, the same without some classes, and the share of pixels that are right.

    NYUD's 40 classes are `SegmentationScores(41, ignore=0)`, its 41, of which 0 is "unlabelled", are
    `SegmentationScores(41, ignore=255)`.

    Args:
        num_classes: C.
        ignore: label of the pixels to leave out.
        without: class ids that the second mean leaves out, for classes that a split lacks; empty: no second mean.
            Their pixels stay valid: they are false alarms of the classes that they are taken for.
        skip_unlabelled_images: see `MeanIoU`.
        name: name of the metric.

    Call arguments:
        y_true, y_pred, sample_weight: see `MeanIoU`.

    Returns:
        `result()` is `{"mean_iou": …, "mean_iou_without_<ids>": …, "pixel_accuracy": …}`; `class_iou()` has the single
        classes. All are 0 when nothing is valid.

    Raises:
        ValueError: if `without` holds something that is no class, or leaves no class.
    """

    def __init__(
        self,
        num_classes: int,
        ignore: int = 255,
        without: Iterable[int] = (),
        skip_unlabelled_images: bool = False,
        name: str = "scores",
    ) -> None:
        super().__init__(num_classes, ignore=ignore, skip_unlabelled_images=skip_unlabelled_images, name=name)
        unknown = set(without) - set(range(num_classes))
        if unknown or not set(range(num_classes)) - {ignore, *without}:
            raise ValueError(
                f"`without` must hold class ids of 0 … {num_classes - 1} and leave a class for the mean. "
                f"Received: without={tuple(without)}, ignore={ignore}"
            )
        self.without = tuple(without)

    def result(self) -> dict[str, Tensor]:
        confusion = self.confusion.value()
        results = {"mean_iou": super().result()}
        if self.without:
            left = [c for c in range(self.num_classes) if c != self.ignore and c not in self.without]
            key = "_".join(map(str, self.without))
            results[f"mean_iou_without_{key}"] = ops.mean(ops.take(self.class_iou(), left, axis=0))
        pixels = ops.sum(confusion) + ops.sum(self.undecided.value())
        results["pixel_accuracy"] = ops.sum(ops.diagonal(confusion)) / ops.maximum(pixels, 1.0)
        return results

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "without": list(self.without)}
