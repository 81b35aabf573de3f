"""The catalogue of furniture and toys: each function answers the solids of one, with random proportions.

An object stands on z = 0 about the origin, z points up and its front looks along +y. All
lengths are metres. What an object looks like is shape alone: its colours are chosen elsewhere,
without knowing its class.
"""

import numpy as np

from rc_keras.zoo.rendering.classes import PARTS
from rc_keras.zoo.rendering.shapes import ball, box, limb
from rc_keras.zoo.rendering.solids import Solid

_BODY, _HEAD, _ARM, _LEG, _SURFACE, _BACK = (
    PARTS.index(name) for name in ("body", "head", "arm", "leg", "surface", "back")
)


def table(rng: np.random.Generator) -> list[Solid]:
    """A rectangular table on four legs, or a round one on a pedestal."""
    height = rng.uniform(0.38, 0.55) if rng.random() < 0.3 else rng.uniform(0.66, 0.8)
    thick = rng.uniform(0.03, 0.07)
    if rng.random() < 0.35:
        radius = rng.uniform(0.38, 0.62)
        pole = rng.uniform(0.035, 0.08)
        return [
            limb((0, 0, height - thick), (0, 0, height), radius, radius, _SURFACE),
            limb((0, 0, 0.03), (0, 0, height - thick), pole, pole, _LEG, 1),
            limb((0, 0, 0), (0, 0, 0.04), radius * 0.55, radius * 0.4, _LEG, 1),
        ]
    width, depth = rng.uniform(0.8, 1.5), rng.uniform(0.55, 0.85)
    leg, foot = rng.uniform(0.025, 0.045), rng.uniform(0.5, 1.0)
    solids = [box((0, 0, height - thick / 2), (width, depth, thick), _SURFACE)]
    solids += _four_legs(width / 2 - 1.5 * leg, depth / 2 - 1.5 * leg, height - thick, leg, foot)
    return solids


def chair(rng: np.random.Generator) -> list[Solid]:
    """A chair with four legs, or one column, and a solid or slatted back."""
    side, height = rng.uniform(0.4, 0.5), rng.uniform(0.42, 0.5)
    back, thick = rng.uniform(0.4, 0.55), rng.uniform(0.03, 0.07)
    rear = -side / 2 + 0.025
    if rng.random() < 0.3:
        solids = [limb((0, 0, height - thick), (0, 0, height), side / 2, side / 2, _SURFACE)]
    else:
        solids = [box((0, 0, height - thick / 2), (side, side, thick), _SURFACE)]
    if rng.random() < 0.25:
        solids += [
            limb((0, 0, 0.04), (0, 0, height - thick), 0.03, 0.03, _LEG, 1),
            limb((0, 0, 0), (0, 0, 0.06), 0.24, 0.06, _LEG, 1),
        ]
    else:
        reach = side / 2 - 0.035
        solids += _four_legs(reach, reach, height - thick, 0.022, rng.uniform(0.6, 1.0))
    if rng.random() < 0.5:
        solids.append(box((0, rear, height + back / 2), (side * 0.95, 0.04, back), _BACK))
    else:
        for x in (-1, 1):
            post = (x * side * 0.42, rear)
            solids.append(limb((*post, height), (*post, height + back), 0.02, 0.02, _BACK, 1))
        for z in (0.4, 0.75):
            solids.append(box((0, rear, height + z * back), (side * 0.9, 0.025, back * 0.22), _BACK))
    if rng.random() < 0.3:
        for x in (-side / 2, side / 2):
            solids.append(box((x, 0, height + 0.2), (0.045, side * 0.9, 0.035), _ARM, 1))
            solids.append(limb((x, 0.15, height - 0.02), (x, 0.15, height + 0.2), 0.018, 0.018, _ARM, 1))
    return solids


def sofa(rng: np.random.Generator) -> list[Solid]:
    """A sofa with arms, seat cushions and sometimes a pillow."""
    width, depth = rng.uniform(1.2, 2.0), rng.uniform(0.75, 0.9)
    seat, back, arm = rng.uniform(0.38, 0.45), rng.uniform(0.72, 0.92), rng.uniform(0.54, 0.64)
    inner = width - 0.32
    solids = [
        box((0, 0, seat * 0.4), (width, depth, seat * 0.6), _BODY),
        box((0, -depth / 2 + 0.1, (back + 0.1) / 2), (width, 0.2, back - 0.1), _BACK),
    ]
    round_arms = rng.random() < 0.5
    for x in (-width / 2 + 0.08, width / 2 - 0.08):
        solids.append(box((x, 0, arm / 2 + 0.03), (0.16, depth, arm - 0.06), _ARM))
        if round_arms:
            ends = (x, -depth / 2, arm), (x, depth / 2, arm)
            solids.append(limb(*ends, 0.085, 0.085, _ARM))
    seats = 2 if width < 1.6 else 3
    for i in range(seats):
        x = (i + 0.5) / seats * inner - inner / 2
        size = (inner / seats - 0.02, depth - 0.24, seat * 0.35)
        solids.append(box((x, 0.09, seat * 0.83), size, _SURFACE, 1))
    for x in (-1, 1):
        for y in (-1, 1):
            foot = (x * (width / 2 - 0.08), y * (depth / 2 - 0.08))
            solids.append(limb((*foot, 0), (*foot, seat * 0.12), 0.025, 0.03, _LEG, 2))
    if rng.random() < 0.6:
        x = rng.choice([-1, 1]) * (inner / 2 - 0.2)
        tilt = _tilt(0.35)
        solids.append(ball((x, -depth / 2 + 0.3, seat + 0.2), (0.2, 0.08, 0.2), _BODY, 2, tilt))
    return solids


def shelf(rng: np.random.Generator) -> list[Solid]:
    """An open shelf with a back panel and some books."""
    width, depth = rng.uniform(0.6, 1.1), rng.uniform(0.26, 0.36)
    height, boards = rng.uniform(0.8, 1.9), int(rng.integers(3, 6))
    board = 0.03
    solids = [box((0, -depth / 2 + 0.01, height / 2), (width, 0.02, height), _BACK)]
    for x in (-width / 2 + 0.015, width / 2 - 0.015):
        solids.append(box((x, 0, height / 2), (0.03, depth, height), _BODY))
    levels = np.linspace(0.06, height - board / 2, boards)
    for z in levels:
        solids.append(box((0, 0, z), (width - 0.04, depth - 0.01, board), _SURFACE))
    gap = levels[1] - levels[0] - board
    for z in levels[:-1]:
        x = -width / 2 + 0.05
        while rng.random() < 0.75:
            thick = rng.uniform(0.05, 0.14)
            if x + thick > width / 2 - 0.05:
                break
            size = (thick * 0.92, depth * rng.uniform(0.55, 0.8), gap * rng.uniform(0.55, 0.9))
            centre = (x + thick / 2, -0.02, z + board / 2 + size[2] / 2)
            solids.append(box(centre, size, _BODY, int(rng.integers(1, 4))))
            x += thick
    return solids


def floor_lamp(rng: np.random.Generator) -> list[Solid]:
    """A standing lamp: foot, pole and shade."""
    return _lamp(rng, rng.uniform(1.15, 1.6), rng.uniform(0.15, 0.24), 0.014)


def table_lamp(rng: np.random.Generator) -> list[Solid]:
    """A small lamp that stands on a table."""
    return _lamp(rng, rng.uniform(0.3, 0.45), rng.uniform(0.1, 0.15), 0.02)


def pendant_lamp(rng: np.random.Generator) -> list[Solid]:
    """A lamp that hangs from z = 0 downwards."""
    drop, radius = rng.uniform(0.35, 0.75), rng.uniform(0.14, 0.26)
    tall = rng.uniform(0.16, 0.28)
    solids = [limb((0, 0, -drop), (0, 0, 0), 0.012, 0.012, _LEG, 1)]
    if rng.random() < 0.3:
        return [*solids, ball((0, 0, -drop - tall / 2), (radius, radius, tall * 0.7), _HEAD)]
    top = radius * rng.uniform(0.2, 0.7)
    return [*solids, limb((0, 0, -drop - tall), (0, 0, -drop), radius, top, _HEAD)]


def carton(rng: np.random.Generator, largest: float = 0.6) -> list[Solid]:
    """A box, half of the time with a lid."""
    size = rng.uniform(0.35, 1.0, 3) * largest
    solids = [box((0, 0, size[2] / 2), size, _BODY)]
    if rng.random() < 0.5:
        lid = size * [1.06, 1.06, 0.0] + [0, 0, 0.2 * size[2]]
        solids.append(box((0, 0, size[2] - lid[2] / 2 + 0.005), lid, _SURFACE, 1))
    return solids


def toy_ball(rng: np.random.Generator, largest: float = 0.32) -> list[Solid]:
    """A ball."""
    radius = rng.uniform(0.35, 1.0) * largest
    return [ball((0, 0, radius), radius, _BODY)]


def picture(rng: np.random.Generator) -> list[Solid]:
    """A framed picture that hangs in the plane y = 0 about the origin and looks along +y."""
    width, height = rng.uniform(0.35, 1.0, 2)
    return [
        box((0, 0.015, 0), (width, 0.03, height), _BODY),
        box((0, 0.02, 0), (width - 0.09, 0.03, height - 0.09), _BODY, 1),
    ]


def _four_legs(x: float, y: float, height: float, radius: float, foot: float) -> list[Solid]:
    return [
        limb((i * x, j * y, 0), (i * x, j * y, height), radius * foot, radius, _LEG, 1)
        for i in (-1, 1)
        for j in (-1, 1)
    ]


def _lamp(rng: np.random.Generator, height: float, radius: float, pole: float) -> list[Solid]:
    tall = radius * rng.uniform(1.0, 1.7)
    foot = radius * rng.uniform(0.6, 0.85)
    solids = [
        limb((0, 0, 0), (0, 0, 0.12 * radius + 0.01), foot, foot * 0.8, _BODY, 1),
        limb((0, 0, 0), (0, 0, height), pole, pole, _LEG, 1),
    ]
    if rng.random() < 0.2:
        return [*solids, ball((0, 0, height), radius * 0.8, _HEAD)]
    top = radius * rng.uniform(0.35, 0.85)
    return [*solids, limb((0, 0, height - tall / 2), (0, 0, height + tall / 2), radius, top, _HEAD)]


def _tilt(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0, 0], [0, c, s], [0, -s, c]])
