"""Draws a room: its size, what stands in it and where, the camera and the light."""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from rc_keras.zoo.rendering import furniture, living_things
from rc_keras.zoo.rendering.classes import CLASSES
from rc_keras.zoo.rendering.shapes import turn
from rc_keras.zoo.rendering.solids import Solid
from rc_keras.zoo.rendering.texture import Surfaces, sample_surfaces

# Instances 0, 1 and 2; objects follow.
ROOM_INSTANCES = ("floor", "wall", "ceiling")
_COATS = 4

_Object: TypeAlias = tuple[str, list[Solid]]  # name of the class, solids in the world frame


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: (3,) metres, world frame.
        axes: (3, 3), rows are the world directions of right, down and forward.
        field_of_view: horizontal, radians.
    """

    position: np.ndarray
    axes: np.ndarray
    field_of_view: float


@dataclasses.dataclass(frozen=True)
class Light:
    """A point light with a sky of ambient light.

    Attributes:
        position: (3,) metres, world frame.
        colour: (3,) linear RGB.
        ambient: share of the light that comes from everywhere.
    """

    position: np.ndarray
    colour: np.ndarray
    ambient: float


@dataclasses.dataclass(frozen=True)
class Scene:
    """A room with the world's z axis up and the floor's corner in the origin.

    Attributes:
        size: (3,) width, depth and height of the room, metres.
        solids: all solids of all objects.
        instance: (solids,) instance of each solid, counted after `ROOM_INSTANCES`.
        classes: (instances,) class of each instance, the room's first.
        surface: (solids,) which of `surfaces` each solid wears; the room's instances wear 0, 1, 2.
        surfaces: `Surfaces`.
        camera: `Camera`.
        light: `Light`.
    """

    size: np.ndarray
    solids: list[Solid]
    instance: np.ndarray
    classes: np.ndarray
    surface: np.ndarray
    surfaces: Surfaces
    camera: Camera
    light: Light


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draws a `Scene` with a NumPy generator."""
    size = np.array([rng.uniform(3.4, 6.0), rng.uniform(3.4, 6.0), rng.uniform(2.4, 3.0)])
    camera = _sample_camera(rng, size)
    objects = _furnish(rng, size, camera)
    names = [*ROOM_INSTANCES, *(name for name, _ in objects)]
    instance, surface, solids = [], [], []
    for number, (_, parts) in enumerate(objects):
        for solid in parts:
            solids.append(solid)
            instance.append(len(ROOM_INSTANCES) + number)
            surface.append(len(ROOM_INSTANCES) + number * _COATS + solid.coat)
    lamp = size * [rng.uniform(0.25, 0.75), rng.uniform(0.25, 0.75), rng.uniform(0.82, 0.96)]
    warmth = rng.uniform(-0.12, 0.12)
    return Scene(
        size=size,
        solids=solids,
        instance=np.array(instance, int),
        classes=np.array([CLASSES.index(name) for name in names]),
        surface=np.array(surface, int),
        surfaces=sample_surfaces(rng, len(ROOM_INSTANCES) + len(objects) * _COATS),
        camera=camera,
        light=Light(lamp, np.array([1 + warmth, 1, 1 - warmth]), rng.uniform(0.35, 0.6)),
    )


def _sample_camera(rng: np.random.Generator, size: np.ndarray) -> Camera:
    # From near a corner across the room, so that most of the floor is in view.
    corner = rng.integers(0, 2, 2)
    near = np.array([rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.9)])
    position = np.append(np.where(corner, size[:2] - near, near), rng.uniform(1.1, 1.9))
    target = size[:2] * rng.uniform(0.35, 0.65, 2)
    yaw = np.arctan2(*(target - position[:2])[::-1]) + rng.normal(0, 0.12)
    pitch, roll = rng.uniform(-0.35, -0.02), rng.normal(0, 0.035)
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    axes = np.stack([c * right + s * down, c * down - s * right, forward])
    return Camera(position, axes, np.radians(rng.uniform(58, 74)))


class _Floor:
    """Keeps track of which discs of the floor are taken."""

    def __init__(self, size: np.ndarray, camera: Camera) -> None:
        self.size = size[:2]
        self.eye = camera.position[:2]
        self.gaze = camera.axes[2, :2] / np.linalg.norm(camera.axes[2, :2])
        self.half_angle = camera.field_of_view / 2
        self.discs: list[tuple[np.ndarray, float]] = []

    def take(self, point: np.ndarray, radius: float, seen: float = 0.8) -> bool:
        """Reserves a disc if it is free, in view and not too near; tells whether it did."""
        offset = point - self.eye
        distance = np.hypot(*offset)
        if distance < 1.1 + radius:
            return False
        if np.arccos(np.clip(offset @ self.gaze / distance, -1, 1)) > self.half_angle * seen:
            return False
        if any(np.hypot(*(point - other)) < radius + r for other, r in self.discs):
            return False
        self.discs.append((point, radius))
        return True

    def place(self, rng: np.random.Generator, radius: float) -> np.ndarray | None:
        """Returns a free point in view, or None."""
        if (2 * radius >= self.size).any():
            return None
        for _ in range(12):
            point = rng.uniform(radius, self.size - radius)
            if self.take(point, radius, seen=0.95):
                return point
        return None

    def place_at_wall(self, rng: np.random.Generator, width: float, depth: float) -> tuple[np.ndarray, float] | None:
        """Returns a free point before a wall, and the angle that faces the room, or None."""
        for _ in range(12):
            wall = rng.integers(4)
            along, across = self.size[wall % 2], self.size[1 - wall % 2]
            if along < width:
                continue
            u, v = rng.uniform(width / 2, along - width / 2), depth / 2 + 0.02
            v = v if wall < 2 else across - v
            point = np.array([u, v] if wall % 2 == 0 else [v, u])
            if self.take(point, 0.5 * width):
                return point, (0.0, -np.pi / 2, np.pi, np.pi / 2)[wall]
        return None


_STANDING = {
    "table": furniture.table,
    "chair": furniture.chair,
    "lamp": furniture.floor_lamp,
    "plant": living_things.plant,
    "person": living_things.person,
    "dog": living_things.dog,
    "box": furniture.carton,
    "ball": furniture.toy_ball,
}
_AT_WALL = {"sofa": furniture.sofa, "shelf": furniture.shelf}
_ON_TABLE = {
    "lamp": furniture.table_lamp,
    "plant": living_things.small_plant,
    "box": lambda rng: furniture.carton(rng, 0.26),
    "ball": lambda rng: furniture.toy_ball(rng, 0.13),
}


def _furnish(rng: np.random.Generator, size: np.ndarray, camera: Camera) -> list[_Object]:
    """Returns a list of (class name, solids in the world frame)."""
    floor = _Floor(size, camera)
    objects = []
    for name in rng.permutation(list(_AT_WALL))[: rng.integers(1, 3)]:
        solids = _AT_WALL[name](rng)
        low, high = _bounds(solids)
        spot = floor.place_at_wall(rng, *(high - low)[:2])
        if spot:
            objects.append((name, _moved(solids, spot[1], [*spot[0], 0])))
    names = list(_STANDING)
    for name in rng.choice(names, rng.integers(4, 9)):
        solids = _STANDING[name](rng)
        low, high = _bounds(solids)
        radius = 0.5 * float(np.hypot(*(high - low)[:2])) * (0.85 if name == "table" else 0.8)
        point = floor.place(rng, radius)
        if point is None:
            continue
        objects.append((name, _moved(solids, rng.uniform(-np.pi, np.pi), [*point, 0])))
        if name == "table":
            objects += _set_table(rng, solids[0], point)
            objects += _seat(rng, floor, point, radius)
    objects += _hang(rng, size, floor)
    return objects


def _set_table(rng: np.random.Generator, top: Solid, point: np.ndarray) -> list[_Object]:
    height = top.centre[2] + top.half[2]
    reach = 0.6 * min(top.half[:2])
    angle = rng.uniform(-np.pi, np.pi)
    objects = []
    for name in rng.permutation(list(_ON_TABLE))[: rng.integers(0, 3)]:
        solids = _ON_TABLE[name](rng)
        offset = reach * np.array([np.cos(angle), np.sin(angle)])
        objects.append((name, _moved(solids, rng.uniform(-np.pi, np.pi), [*(point + offset), height])))
        angle += np.pi
    return objects


def _seat(rng: np.random.Generator, floor: _Floor, point: np.ndarray, radius: float) -> list[_Object]:
    objects = []
    for angle in rng.uniform(-np.pi, np.pi) + np.pi / 2 * np.arange(rng.integers(0, 3)):
        away = np.array([np.cos(angle), np.sin(angle)])
        spot = point + (radius + 0.32) * away
        if (spot < 0.3).any() or (spot > floor.size - 0.3).any() or not floor.take(spot, 0.3):
            continue
        facing = np.arctan2(*-away[::-1]) - np.pi / 2 + rng.normal(0, 0.3)
        objects.append(("chair", _moved(furniture.chair(rng), facing, [*spot, 0])))
    return objects


def _hang(rng: np.random.Generator, size: np.ndarray, floor: _Floor) -> list[_Object]:
    """Pictures on the far walls, and sometimes a lamp from the ceiling."""
    objects = []
    for wall in rng.permutation(4)[: rng.integers(1, 4)]:
        along, across = size[wall % 2], size[1 - wall % 2]
        u, v = rng.uniform(0.6, along - 0.6), 0.0 if wall < 2 else across
        point = np.array([u, v] if wall % 2 == 0 else [v, u])
        angle = (0.0, -np.pi / 2, np.pi, np.pi / 2)[wall]
        objects.append(("picture", _moved(furniture.picture(rng), angle, [*point, rng.uniform(1.45, 1.75)])))
    if rng.random() < 0.4:
        point = floor.size * rng.uniform(0.35, 0.65, 2)
        if np.hypot(*(point - floor.eye)) > 1.3:
            objects.append(("lamp", _moved(furniture.pendant_lamp(rng), 0.0, [*point, size[2]])))
    return objects


def _moved(solids: Sequence[Solid], angle: float, offset: Sequence[float]) -> list[Solid]:
    rotation, shift = turn(angle), np.array(offset, float)
    return [solid.moved(rotation, shift) for solid in solids]


def _bounds(solids: Sequence[Solid]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corners (2, 3) of a box that holds all solids, axis by axis."""
    reach = np.array([np.abs(s.axes.T) @ s.half for s in solids])
    centre = np.array([s.centre for s in solids])
    return (centre - reach).min(axis=0), (centre + reach).max(axis=0)
