"""Procedural surfaces: two colours mixed by a pattern that fills space.

A pattern is a function of the position on the solid in metres, so no surface needs texture
coordinates. Colours and patterns are drawn without looking at what they cover: colour says
nothing about the class.
"""

import colorsys
import dataclasses

import numpy as np

PLAIN, STRIPES, CHECKER, GRAIN, DOTS = range(5)
_SHARE = (0.38, 0.17, 0.13, 0.2, 0.12)


@dataclasses.dataclass(frozen=True)
class Surfaces:
    """The surfaces of a scene, one a column.

    Attributes:
        colours: (2, 3, n) linear RGB, the two colours.
        pattern: (n,) one of the patterns above.
        phase: (3, n) radians.
        frequency: (3, n) radians per metre along the solid's axes.
        gloss: (n,) strength of the highlight.
    """

    colours: np.ndarray
    pattern: np.ndarray
    phase: np.ndarray
    frequency: np.ndarray
    gloss: np.ndarray


def sample_surfaces(rng: np.random.Generator, count: int) -> Surfaces:
    """Draws `count` surfaces that share one palette."""
    hue = rng.random()
    palette = np.array([hue, hue + 0.07, hue - 0.09, hue + 0.45, hue + 0.55])
    hues = palette[rng.integers(len(palette), size=count)] + rng.normal(0, 0.02, count)
    strength = rng.beta(1.6, 2.2, count) * 0.85
    value = rng.uniform(0.35, 0.97, count)
    shift = rng.uniform(0.08, 0.32, count)
    other = np.where(value > 0.6, value - shift, value + shift)
    colours = np.array(
        [
            [
                colorsys.hsv_to_rgb(h % 1, s, v),
                colorsys.hsv_to_rgb((h + drift) % 1, s * fade, w),
            ]
            for h, s, v, w, drift, fade in zip(
                hues,
                strength,
                value,
                other,
                rng.normal(0, 0.04, count),
                rng.uniform(0.3, 1.1, count),
                strict=True,
            )
        ]
    )
    period = np.exp(rng.uniform(np.log(0.12), np.log(0.7), count))
    return Surfaces(
        colours=np.clip(colours, 0, 1).transpose(1, 2, 0) ** 2.2,
        pattern=rng.choice(len(_SHARE), count, p=_SHARE),
        phase=rng.uniform(0, 2 * np.pi, (3, count)),
        frequency=2 * np.pi / period * rng.uniform(0.8, 1.25, (3, count)),
        gloss=rng.beta(1, 2.5, count) * 0.7,
    )


def albedo(surfaces: Surfaces, index: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns the linear RGB of surfaces at points.

    Args:
        surfaces: `Surfaces`.
        index: (n,) which surface lies at each point.
        points: (3, n) metres, in the frame of the solid.

    Returns:
        (3, n) linear RGB in 0..1.
    """
    mix = np.zeros(len(index), points.dtype)
    pattern = surfaces.pattern[index]
    for kind, function in _PATTERNS.items():
        rows = np.flatnonzero(pattern == kind)
        chosen = index[rows]
        q = points[:, rows] * surfaces.frequency[:, chosen] + surfaces.phase[:, chosen]
        mix[rows] = function(*q)
    first, second = surfaces.colours[:, :, index]
    return first + mix * (second - first)


def _step(x: np.ndarray, sharpness: float) -> np.ndarray:
    return 0.5 + 0.5 * np.clip(sharpness * x, -1, 1)


def _stripes(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return _step(np.sin(0.7 * (x + y + z)), 5.0)


def _checker(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return _step(np.sin(0.5 * x) * np.sin(0.5 * y) * np.sin(0.5 * z), 14.0)


def _grain(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    warp = np.sin(0.41 * x + 1.3 * np.sin(0.23 * y)) + np.sin(0.37 * z + 1.1 * np.sin(0.29 * x))
    return 0.5 + 0.3 * np.sin(1.1 * y + 2.2 * warp) + 0.2 * np.sin(2.7 * z + 3.1 * warp)


def _dots(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return _step(np.cos(x) + np.cos(y) + np.cos(z) - 1.35, 3.0)


_PATTERNS = {STRIPES: _stripes, CHECKER: _checker, GRAIN: _grain, DOTS: _dots}
