"""What the pictures of all kinds are made of, as uint8 RGB arrays; NumPy alone."""

import numpy as np

# Occurs in no map drawn here: the palette lacks it, greys and viridis cannot reach it, and no unit
# normal maps to it.
IGNORED_COLOUR = np.array([255, 0, 255], "uint8")

# Viridis (van der Walt and Smith; public domain) at ten equal steps.
_VIRIDIS = np.array(
    [
        (68, 1, 84),
        (72, 40, 120),
        (62, 74, 137),
        (49, 104, 142),
        (38, 130, 142),
        (31, 158, 137),
        (53, 183, 121),
        (109, 205, 89),
        (180, 222, 44),
        (253, 231, 37),
    ],
    "float64",
)
DEPTH_COLOURS = np.stack([np.interp(np.linspace(0, 9, 256), np.arange(10), channel) for channel in _VIRIDIS.T], axis=-1)
DEPTH_COLOURS = np.round(DEPTH_COLOURS).astype("uint8")

GREYS = np.repeat(np.arange(256, dtype="uint8")[:, None], 3, axis=1)


FIRST_CLASS_COLOUR = np.array([215, 215, 208], "uint8")  # which the palette lacks too


def class_palette(count: int) -> np.ndarray:
    """The PASCAL VOC colours, but a light grey for class 0: black looks like nothing; no two classes share a colour.

    The bits of the class id are dealt to red, green and blue in turn, and fill each channel from
    its highest bit down.

    Args:
        count: number of classes.

    Returns:
        uint8 array of shape `(count, 3)`.
    """
    ids = np.arange(count)
    palette = np.zeros((count, 3), "uint8")
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype("uint8")
    palette[:1] = FIRST_CLASS_COLOUR
    return palette


def draw_classes(ids: np.ndarray, count: int, ignored: np.ndarray | None = None) -> np.ndarray:
    """Class ids `(…)` in the colours of `class_palette`; an id outside 0 … count − 1 is marked."""
    ids = np.asarray(ids)
    known = (ids >= 0) & (ids < count)
    picture = _mark(class_palette(count)[np.where(known, ids, 0).astype("int64")], ~known)
    return _mark(picture, ignored)


def draw_probabilities(probability: np.ndarray, ignored: np.ndarray | None = None) -> np.ndarray:
    """Probabilities `(…)` as grey, 0 black and 1 white."""
    grey = _to_bytes(probability)
    return _mark(np.stack([grey] * 3, axis=-1), ignored)


def draw_normals(normals: np.ndarray, ignored: np.ndarray | None = None) -> np.ndarray:
    """Unit vectors `(…, 3)` as (n + 1) / 2 in red, green and blue."""
    return _mark(_to_bytes((np.asarray(normals, "float32") + 1.0) / 2.0), ignored)


def draw_depth(
    depth: np.ndarray, ignored: np.ndarray | None = None, depth_range: tuple[float, float] | None = None
) -> np.ndarray:
    """Depth `(…)` in viridis, near bright and far dark.

    Args:
        depth: metres.
        ignored: boolean map of pixels to mark. Pixels that are not finite are marked as well.
        depth_range: nearest and farthest depth of the scale in metres; None takes those of the
            array, all images of a batch sharing one scale.

    Returns:
        uint8 array `(…, 3)`.
    """
    depth = np.asarray(depth, "float64")
    ignored = ~np.isfinite(depth) | (False if ignored is None else ignored)
    shown = depth[~ignored]
    if depth_range is None:
        depth_range = (shown.min(), shown.max()) if shown.size else (0.0, 1.0)
    near, far = depth_range
    scaled = (far - np.where(ignored, far, depth)) / max(far - near, 1e-12)
    return _mark(DEPTH_COLOURS[_to_bytes(scaled)], ignored)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(np.asarray(values, "float32"))
    return np.round(np.clip(values, 0.0, 1.0) * 255.0).astype("uint8")


def _mark(picture: np.ndarray, ignored: np.ndarray | None) -> np.ndarray:
    if ignored is not None:
        picture[ignored] = IGNORED_COLOUR
    return picture
