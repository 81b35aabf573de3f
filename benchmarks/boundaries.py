"""How long the boundary scores take.

    python benchmarks/boundaries.py [--labels FOLDER] [--images 20] [--workers 0] [--nosuppress]

The labels are the first PNGs of a folder (0 and 255), or drawn polygons of 425 x 560 pixels. The predictions are made
from them: shifted, blurred, with low-frequency clutter and noise, so that low thresholds see many pixels. Prints the
core-seconds (CPU time of this process and its workers) and the seconds an image.
"""

import glob
import os
import time

import numpy as np
from absl import app, flags
from scipy import ndimage

_LABELS = flags.DEFINE_string("labels", None, "Folder of PNG boundary maps; drawn ones by default.")
_IMAGES = flags.DEFINE_integer("images", 20, "Number of images.", lower_bound=1)
_WORKERS = flags.DEFINE_integer("workers", 0, "Worker processes; 0 for this one.", lower_bound=0)
_SUPPRESS = flags.DEFINE_bool("suppress", True, "Suppress non-maxima before thinning.")
_MAX_DISTANCE = flags.DEFINE_float("max_distance", 0.011, "Tolerance, as a fraction of the diagonal.")


def drawn_label(rng: np.random.Generator, shape: tuple[int, int] = (425, 560), polygons: int = 25) -> np.ndarray:
    """Boundaries of overlapping quadrilaterals, two pixels wide."""
    from PIL import Image, ImageDraw

    image = Image.new("L", shape[::-1])
    draw = ImageDraw.Draw(image)
    for value in range(1, polygons + 1):
        centre = rng.uniform(0, shape[::-1], 2)
        draw.polygon([tuple(centre + rng.uniform(-120, 120, 2)) for _ in range(4)], fill=value)
    regions = np.asarray(image)
    return (ndimage.laplace(regions.astype("int32")) != 0).astype("uint8")


def read_labels(rng: np.random.Generator) -> list[np.ndarray]:
    if _LABELS.value is None:
        return [drawn_label(rng) for _ in range(_IMAGES.value)]
    from PIL import Image

    files = sorted(glob.glob(os.path.join(_LABELS.value, "*.png")))[: _IMAGES.value]
    if not files:
        raise app.UsageError(f"`--labels` must be a folder with PNG files. Received: {_LABELS.value}")
    return [(np.asarray(Image.open(file)) > 0).astype("uint8") for file in files]


def network_like(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A probability map such as a network makes: wide, displaced, uneven, with clutter."""
    shifted = np.roll(label.astype("float64"), tuple(rng.integers(-2, 3, 2)), axis=(0, 1))
    edge = ndimage.gaussian_filter(shifted, rng.uniform(2, 3)) * 3
    edge *= 0.6 + 4 * ndimage.gaussian_filter(rng.normal(size=label.shape), 20)
    clutter = ndimage.gaussian_filter(rng.normal(size=label.shape), 4) * 1.5
    noise = ndimage.gaussian_filter(rng.normal(size=label.shape), 1) * 0.02
    return np.round(np.clip(edge + np.maximum(clutter, 0) + noise, 0, 1) * 255) / 255


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Arguments must be flags. Received: {argv[1:]}")
    from rc_keras.metrics.boundaries import BoundaryScores

    rng = np.random.default_rng(0)
    labels = read_labels(rng)
    predictions = [network_like(label, rng) for label in labels]
    before, start = os.times(), time.perf_counter()
    with BoundaryScores(_MAX_DISTANCE.value, suppress=_SUPPRESS.value, workers=_WORKERS.value) as scores:
        for label, prediction in zip(labels, predictions, strict=True):
            scores.add(label, prediction)
        result = scores.result()
    seconds, after = time.perf_counter() - start, os.times()
    cores = sum(after[:4]) - sum(before[:4])
    print(" ".join(f"{name} {value:.4f}" for name, value in result.items()))
    print(
        "pixels above the lowest, the middle and the highest threshold:", scores.counts[[0, 50, -1], 1] // len(labels)
    )
    print(
        f"{cores / len(labels):.2f} core-seconds, {seconds / len(labels):.2f} seconds an image ({len(labels)} images)"
    )


if __name__ == "__main__":
    app.run(main)
