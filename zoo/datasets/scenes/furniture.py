"""The catalogue of objects: each function answers the solids of one, with random proportions.

An object stands on z = 0 about the origin, z points up and its front looks along +y. All
lengths are metres. What an object looks like is shape alone: its colours are chosen elsewhere,
without knowing its class.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from rc_keras.zoo.datasets.scenes.classes import PARTS
from rc_keras.zoo.datasets.scenes.solids import BOX, ELLIPSOID, FRUSTUM, Solid

Vector: TypeAlias = Sequence[float] | np.ndarray

_BODY, _HEAD, _ARM, _LEG, _SURFACE, _BACK = (
    PARTS.index(name) for name in ("body", "head", "arm", "leg", "surface", "back")
)


def box(centre: Vector, size: Vector, part: int, coat: int = 0, axes: np.ndarray | None = None) -> Solid:
    """Returns a box of full `size` about `centre`."""
    axes = np.eye(3) if axes is None else axes
    return Solid(BOX, np.array(centre, float), axes, np.array(size, float) / 2, 1.0, part, coat)


def ball(centre: Vector, radii: Vector | float, part: int, coat: int = 0, axes: np.ndarray | None = None) -> Solid:
    """Returns an ellipsoid with the half axes `radii`."""
    axes = np.eye(3) if axes is None else axes
    radii = np.broadcast_to(np.array(radii, float), 3)
    return Solid(ELLIPSOID, np.array(centre, float), axes, radii, 1.0, part, coat)


def limb(start: Vector, end: Vector, start_radius: float, end_radius: float, part: int, coat: int = 0) -> Solid:
    """Returns a frustum from `start` to `end`."""
    start, end = np.array(start, float), np.array(end, float)
    x, y, z = end - start
    length = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    # The frustum's own x axis is level, or along x for an upright one.
    level = math.hypot(x, y)
    c, s = (-y / level, x / level) if level > 1e-6 else (1.0, 0.0)
    axes = np.array([[c, s, 0.0], [-z * s, z * c, x * s - y * c], [x, y, z]])
    half = np.array([start_radius, start_radius, length / 2])
    return Solid(FRUSTUM, (start + end) / 2, axes, half, end_radius / start_radius, part, coat)


def turn(angle: float) -> np.ndarray:
    """Returns the (3, 3) rotation by `angle` radians about the z axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


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


def plant(rng: np.random.Generator) -> list[Solid]:
    """A potted plant: bush, tree, fir or cactus."""
    return _plant(rng, rng.uniform(0.8, 1.2))


def small_plant(rng: np.random.Generator) -> list[Solid]:
    """A potted plant for a table."""
    return _plant(rng, rng.uniform(0.3, 0.42))


def person(rng: np.random.Generator) -> list[Solid]:
    """A standing, walking or waving figure."""
    height = rng.uniform(1.5, 1.85)
    # Joint heights as shares of the body height, after an artist's figure of 7.5 heads.
    hip, shoulder, unit = 0.5 * height, 0.81 * height, height / 1.75
    build = rng.uniform(0.85, 1.2) * unit
    hips, chest = 0.09 * build, 0.18 * build
    solids = [
        limb((0, 0, hip - 0.06 * unit), (0, 0, shoulder), 0.125 * build, 0.165 * build, _BODY),
        ball((0, 0, shoulder), (0.165 * build, 0.12 * build, 0.07 * unit), _BODY),
        limb((0, 0, shoulder), (0, 0.01, 0.88 * height), 0.05 * unit, 0.045 * unit, _HEAD, 2),
        ball((0, 0.02, 0.925 * height), (0.085 * unit, 0.1 * unit, 0.125 * unit), _HEAD, 2),
    ]
    stride = rng.uniform(0.0, 0.5)
    for side in (-1, 1):
        swing = side * stride
        top = np.array([side * hips, 0, hip])
        knee = top + 0.24 * height * np.array([0.03 * side, np.sin(swing), -np.cos(swing)])
        bend = min(swing, 0.0) * 1.2 + swing * 0.3
        ankle = knee + 0.23 * height * np.array([0.0, np.sin(bend), -np.cos(bend)])
        toe = ankle + [0, 0.1 * unit, -0.01]
        solids += [
            limb(top, knee, 0.085 * build, 0.06 * build, _LEG, 1),
            limb(knee, ankle, 0.06 * build, 0.04 * build, _LEG, 1),
            ball((ankle + toe) / 2, (0.045 * unit, 0.11 * unit, 0.04 * unit), _LEG, 3),
        ]
        start = np.array([side * chest, 0, shoulder - 0.02])
        lift = rng.uniform(0.1, 0.5) if rng.random() < 0.65 else rng.uniform(1.2, 2.5)
        elbow = start + 0.165 * height * np.array([side * np.sin(lift), -np.sin(swing) * np.cos(lift), -np.cos(lift)])
        fold = lift + rng.uniform(-0.3, 0.6)
        reach = np.array([side * np.sin(fold), rng.uniform(0.0, 0.6), -np.cos(fold)])
        hand = elbow + 0.16 * height * reach / np.linalg.norm(reach)
        solids += [
            limb(start, elbow, 0.055 * build, 0.045 * build, _ARM),
            limb(elbow, hand, 0.045 * build, 0.032 * build, _ARM, 2),
            ball(hand, 0.045 * unit, _ARM, 2),
        ]
    # The lower foot touches the floor.
    drop = min(solid.centre[2] - solid.half[2] for solid in solids if solid.coat == 3)
    return [solid.moved(np.eye(3), np.array([0, 0, -drop])) for solid in solids]


def dog(rng: np.random.Generator) -> list[Solid]:
    """A four-legged animal."""
    size = rng.uniform(0.55, 1.0)
    long, tall = size * rng.uniform(0.55, 0.75), size * rng.uniform(0.38, 0.5)
    thick = size * rng.uniform(0.12, 0.16)
    neck = np.array([0, long * 0.5, tall + thick * 0.4])
    head = neck + size * np.array([0, 0.13, 0.2])
    solids = [
        ball((0, 0, tall), (thick, long * 0.58, thick), _BODY),
        limb(neck - [0, 0.08 * size, 0], head, thick * 0.75, thick * 0.5, _HEAD),
        ball(head, size * np.array([0.1, 0.12, 0.1]), _HEAD),
        limb(head, head + size * np.array([0, 0.2, -0.03]), 0.07 * size, 0.045 * size, _HEAD, 1),
    ]
    for x in (-1, 1):
        ear = head + size * np.array([0.07 * x, -0.02, 0.06])
        solids.append(limb(ear, ear + size * np.array([0.05 * x, 0, 0.1]), 0.045 * size, 0.005, _HEAD, 1))
        for y in (-0.4, 0.4):
            top = np.array([x * thick * 0.6, y * long, tall])
            foot = top * [1, 1, 0] + [0, rng.uniform(-0.06, 0.06) * size, 0]
            solids.append(limb(foot, top, 0.035 * size, 0.05 * size, _LEG))
    tail = np.array([0, -long * 0.52, tall + thick * 0.3])
    tip = tail + size * np.array([rng.uniform(-0.15, 0.15), -0.12, rng.uniform(0.05, 0.25)])
    return [*solids, limb(tail, tip, 0.035 * size, 0.015 * size, _BODY, 1)]


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


def _plant(rng: np.random.Generator, height: float) -> list[Solid]:
    pot = height * rng.uniform(0.14, 0.2)
    rim = height * rng.uniform(0.22, 0.32)
    solids = [
        limb((0, 0, 0), (0, 0, rim), pot * rng.uniform(0.65, 0.85), pot, _BODY, 1),
        limb((0, 0, rim * 0.9), (0, 0, rim * 1.04), pot * 1.12, pot * 1.12, _BODY, 1),
    ]
    form = rng.choice(["bush", "tree", "fir", "cactus"])
    if form == "bush":
        for angle in np.arange(7) * 0.9 + rng.uniform(0, 6):
            lean = rng.uniform(0.25, 0.8)
            axis = np.array([np.cos(angle) * np.sin(lean), np.sin(angle) * np.sin(lean), np.cos(lean)])
            long = height * rng.uniform(0.28, 0.38)
            side = np.array([-np.sin(angle), np.cos(angle), 0.0])
            axes = np.stack([side, np.cross(axis, side), axis])
            radii = (long * 0.28, long * 0.09, long)
            solids.append(ball((0, 0, rim) + axis * long, radii, _HEAD, 0, axes))
    elif form == "tree":
        crown = height * 0.75
        solids.append(limb((0, 0, rim), (0, 0, crown), pot * 0.22, pot * 0.16, _LEG, 2))
        for _ in range(5):
            shift = rng.uniform(-0.13, 0.13, 3) * height
            solids.append(ball((0, 0, crown) + shift, height * rng.uniform(0.12, 0.19), _HEAD))
    elif form == "fir":
        solids.append(limb((0, 0, rim), (0, 0, height * 0.5), pot * 0.22, pot * 0.2, _LEG, 2))
        for level, wide in ((0.36, 0.26), (0.54, 0.2), (0.72, 0.14)):
            start, end = (0, 0, level * height), (0, 0, (level + 0.3) * height)
            solids.append(limb(start, end, wide * height, 0.01 * height, _HEAD))
    else:
        thick = height * 0.1
        solids.append(limb((0, 0, rim), (0, 0, height * 0.9), thick, thick, _HEAD))
        solids.append(ball((0, 0, height * 0.9), thick, _HEAD))
        for x in (-1, 1):
            z = height * rng.uniform(0.5, 0.65)
            elbow, tip = (x * 0.24 * height, 0, z), (x * 0.24 * height, 0, z + 0.2 * height)
            solids += [
                limb((0, 0, z), elbow, thick * 0.6, thick * 0.6, _ARM),
                ball(elbow, thick * 0.6, _ARM),
                limb(elbow, tip, thick * 0.6, thick * 0.55, _ARM),
                ball(tip, thick * 0.55, _ARM),
            ]
    return solids


def _tilt(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0, 0], [0, c, s], [0, -s, c]])
