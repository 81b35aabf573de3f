"""How stored examples become what a network is trained on."""

import dataclasses
import math
import operator
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Sizes and augmentation; the defaults are those of the paper's published training code.

    Attributes:
        crop: (height, width) in pixels that the network is trained on, and that evaluation images are padded to.
        resize: (height, width) that image and labels are resized to first of all, or None: as stored. The image is
            averaged over areas, edges stay connected lines of one pixel, other labels take the nearest pixel.
        scales: factors of the random scale, each as likely as the others; `(1.0,)`: none.
        flip: whether half of the training images are mirrored.

    Raises:
        ValueError: if a size is not two positive integers or a scale is not a positive number.
    """

    crop: tuple[int, int]
    resize: tuple[int, int] | None = None
    scales: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    flip: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "crop", _checked_size("crop", self.crop))
        if self.resize is not None:
            object.__setattr__(self, "resize", _checked_size("resize", self.resize))
        try:
            scales = tuple(float(scale) for scale in self.scales)
        except (TypeError, ValueError):
            scales = ()
        if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales):
            raise ValueError(f"`scales` must be positive numbers, at least one. Received: scales={self.scales!r}")
        object.__setattr__(self, "scales", scales)


def _checked_size(name: str, size: Iterable[int]) -> tuple[int, int]:
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise ValueError(f"`{name}` must be (height, width), two positive integers. Received: {name}={size!r}")
    return height, width
