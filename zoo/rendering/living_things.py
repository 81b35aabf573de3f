"""People, animals and plants: each function answers the solids of one, as `furniture` does."""

import numpy as np

from rc_keras.zoo.rendering.classes import PARTS
from rc_keras.zoo.rendering.shapes import ball, limb
from rc_keras.zoo.rendering.solids import Solid

_BODY, _HEAD, _ARM, _LEG = (PARTS.index(name) for name in ("body", "head", "arm", "leg"))


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


def plant(rng: np.random.Generator) -> list[Solid]:
    """A potted plant: bush, tree, fir or cactus."""
    return _plant(rng, rng.uniform(0.8, 1.2))


def small_plant(rng: np.random.Generator) -> list[Solid]:
    """A potted plant for a table."""
    return _plant(rng, rng.uniform(0.3, 0.42))


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
