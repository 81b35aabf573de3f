"""Renders a room and its six labels by ray casting, with NumPy alone."""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from rc_keras.zoo.rendering import labels
from rc_keras.zoo.rendering.classes import CLASSES, ROOM_CLASSES
from rc_keras.zoo.rendering.layout import ROOM_INSTANCES, Scene, sample_scene
from rc_keras.zoo.rendering.solids import BOX, exit_box, intersect, normals
from rc_keras.zoo.rendering.texture import Surfaces, albedo

_Table = TypeVar("_Table", np.ndarray, Surfaces)

# Where a pixel of high contrast is sampled again: a rotated 2 x 2 grid.
_SUBPIXELS = np.array([[-0.125, -0.375], [0.375, -0.125], [0.125, 0.375], [-0.375, 0.125]])
_CONTRAST = 0.15


def render_scene(seed: int | Sequence[int], size: int | tuple[int, int] = 128) -> dict[str, np.ndarray]:
    """Renders the scene of a seed.

    The same seed gives the same scene at every size, and the same bytes on one machine with one
    version of NumPy.

    Args:
        seed: int or sequence of ints, see `numpy.random.SeedSequence`.
        size: image height and width in pixels, or a pair of them.

    Returns:
        A dictionary of arrays; labels are exact at the pixel centre:

        - `image`: (height, width, 3) uint8 RGB;
        - `semseg`: (height, width, 1) uint8, index of `CLASSES`;
        - `parts`: (height, width, 1) uint8, index of `PARTS`;
        - `edge`: (height, width, 1) uint8, 1 on the boundaries of object instances;
        - `saliency`: (height, width, 1) uint8, 1 on the objects in the foreground;
        - `normals`: (height, width, 3) float32, unit, in the camera frame x right, y down,
          z forward, towards the camera: a wall that faces it is (0, 0, -1), a level floor
          (0, -1, 0). This is NYUD_MT's frame; mirroring the image negates x;
        - `depth`: (height, width, 1) float32, metres along the optical axis;
        - `instance`: (height, width, 1) uint8, 0 floor, 1 wall, 2 ceiling, then the objects;
        - `focal_length`: () float32, pixels. The optical axis meets the image at its centre
          (width / 2, height / 2), a pixel's centre has half-integer coordinates.
    """
    height, width = (size, size) if isinstance(size, (int, np.integer)) else size
    rng = np.random.default_rng(seed)
    drawn = sample_scene(rng)
    scene = _Tables.of(drawn)
    focal = width / 2 / np.tan(drawn.camera.field_of_view / 2)

    def aim(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        x, y = (columns - width / 2) / focal, (rows - height / 2) / focal
        return scene.camera_axes.T @ np.stack([x, y, np.ones_like(x)])

    rows, columns = (index.ravel() + 0.5 for index in np.mgrid[:height, :width])
    rays = aim(rows, columns)
    depth, solid = _trace(scene, scene.eye, rays)
    local, normal = _surface(scene, rays, depth, solid)

    # Labels are exact; for colours single precision does.
    rough = scene.single()
    image = _shade(rough, solid, *(x.astype(np.float32) for x in (rays, depth, local, normal)))
    image = image.reshape(3, height, width)
    again = np.flatnonzero(_contrast(image) > _CONTRAST)
    fine = (_SUBPIXELS[..., None] + np.stack([rows, columns])[:, again]).swapaxes(0, 1)
    fine = aim(*fine.reshape(2, -1)).astype(np.float32)
    t, met = _trace(rough, rough.eye, fine)
    colour = _shade(rough, met, fine, t, *_surface(rough, fine, t, met))
    image.reshape(3, -1)[:, again] = colour.reshape(3, len(_SUBPIXELS), -1).mean(axis=1)

    image = np.moveaxis(image, 0, -1)
    image = image + rng.normal(0, rng.uniform(0.0, 0.012), image.shape)
    depth = depth.reshape(height, width)
    instance = scene.instance[solid].reshape(height, width)
    countable = ~np.isin(drawn.classes, [CLASSES.index(name) for name in ROOM_CLASSES])
    return {
        "image": np.round(np.clip(image, 0, 1) * 255).astype(np.uint8),
        "semseg": drawn.classes[instance][..., None].astype(np.uint8),
        "parts": scene.part[solid].reshape(height, width, 1).astype(np.uint8),
        "edge": labels.object_edges(instance, depth)[..., None],
        "saliency": labels.saliency(instance, depth, countable)[..., None],
        "normals": (scene.camera_axes @ normal).T.reshape(height, width, 3).astype(np.float32),
        "depth": depth[..., None].astype(np.float32),
        "instance": instance[..., None].astype(np.uint8),
        "focal_length": np.float32(focal),
    }


@dataclasses.dataclass(frozen=True)
class _Tables:
    """A scene as arrays, one entry a solid; the last three are floor, wall, ceiling.

    The room has no centre, half sizes, axes, taper and radius; its kind is -1.
    """

    size: np.ndarray
    eye: np.ndarray
    camera_axes: np.ndarray
    light: np.ndarray
    light_colour: np.ndarray
    ambient: np.ndarray
    centre: np.ndarray
    half: np.ndarray
    axes: np.ndarray
    taper: np.ndarray
    radius: np.ndarray
    kind: np.ndarray
    part: np.ndarray
    instance: np.ndarray
    surface: np.ndarray
    surfaces: Surfaces

    @classmethod
    def of(cls, scene: Scene) -> "_Tables":
        room = np.arange(len(ROOM_INSTANCES))
        solids = scene.solids
        return cls(
            size=scene.size,
            eye=scene.camera.position,
            camera_axes=scene.camera.axes,
            light=scene.light.position,
            light_colour=scene.light.colour,
            ambient=np.array(scene.light.ambient),
            centre=np.array([s.centre for s in solids]).reshape(-1, 3),
            half=np.array([s.half for s in solids]).reshape(-1, 3),
            axes=np.array([s.axes for s in solids]).reshape(-1, 3, 3),
            taper=np.array([s.taper for s in solids]),
            radius=np.array([s.radius for s in solids]),
            kind=np.array([s.kind for s in solids] + [-1] * len(room)),
            part=np.array([s.part for s in solids] + [0] * len(room)),
            instance=np.append(scene.instance, room),
            surface=np.append(scene.surface, room),
            surfaces=scene.surfaces,
        )

    def single(self) -> "_Tables":
        """Returns the tables in single precision."""

        def cast(value: _Table) -> _Table:
            if isinstance(value, Surfaces):
                return Surfaces(**{k: cast(v) for k, v in vars(value).items()})
            return value.astype(np.float32) if value.dtype == np.float64 else value

        return _Tables(**{key: cast(value) for key, value in vars(self).items()})


def _trace(
    scene: _Tables, origin: np.ndarray, rays: np.ndarray, limit: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """Returns where rays from one point first meet a solid or the room.

    Args:
        scene: `_Tables`.
        origin: (3,) inside the room and outside all solids.
        rays: (3, n), any length.
        limit: ray parameter beyond which nothing is looked for; the room is then left out.

    Returns:
        `(t, solid)`, both (n,); `solid` is a row of the tables, -1 for no hit within `limit`.
    """
    best = np.full(rays.shape[1], limit, rays.dtype)
    winner = np.full(rays.shape[1], -1)
    offset = scene.centre - origin
    distance = np.linalg.norm(offset, axis=-1)
    # A solid is tried only on rays inside the cone about the sphere that holds it.
    sine = np.minimum(scene.radius / distance, 1)
    bound = np.where(sine < 1, np.sqrt(1 - sine**2) - 1e-6, -2)
    maybe = (offset / distance[:, None]) @ _unit(rays) >= bound[:, None]
    to_local = scene.axes / scene.half[..., None]
    local_origin = -np.einsum("sij,sj->si", to_local, offset)
    for s in np.flatnonzero(maybe.any(axis=1)):
        rows = np.flatnonzero(maybe[s])
        directions = to_local[s] @ rays.take(rows, axis=1)
        t = intersect(scene.kind[s], local_origin[s], directions, scene.taper[s])
        nearer = t < best[rows]
        rows = rows[nearer]
        best[rows] = t[nearer]
        winner[rows] = s
    if limit == np.inf:
        half = scene.size / 2
        t = exit_box(origin / half - 1, rays / half[:, None])
        z = (origin[2] + t * rays[2]) / scene.size[2]
        face = np.where(z < 1e-9, 0, np.where(z > 1 - 1e-9, 2, 1))
        open_view = t < best
        best = np.where(open_view, t, best)
        winner = np.where(open_view, len(offset) + face, winner)
    return best, winner


def _surface(scene: _Tables, rays: np.ndarray, t: np.ndarray, solid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns positions in the solid's frame (metres) and world normals, both (3, n)."""
    points = scene.eye[:, None] + t * rays
    local, normal = points.copy(), np.zeros_like(points)
    kind = scene.kind[solid]
    for k in np.unique(scene.kind):
        rows = np.flatnonzero(kind == k)
        if k < 0:
            normal[:, rows] = -normals(BOX, points[:, rows] / scene.size[:, None] * 2 - 1, 1.0)
            continue
        s = solid[rows]
        axes, half = scene.axes[s].transpose(1, 2, 0), scene.half[s].T
        inside = np.einsum("ijn,jn->in", axes, points[:, rows] - scene.centre[s].T)
        local[:, rows] = inside
        outward = normals(k, inside / half, scene.taper[s]) / half
        normal[:, rows] = np.einsum("ijn,in->jn", axes, outward)
    return local, _unit(normal)


def _shade(
    scene: _Tables, solid: np.ndarray, rays: np.ndarray, t: np.ndarray, local: np.ndarray, normal: np.ndarray
) -> np.ndarray:
    """Returns sRGB colours in 0..1, (3, n)."""
    points = scene.eye[:, None] + t * rays
    # Lifted off the surface, or it would shade itself.
    to_point = points + 2e-3 * normal - scene.light[:, None]
    squared = _dot(to_point, to_point)
    from_light = to_point / np.sqrt(squared)
    cosine = np.maximum(-_dot(normal, from_light), 0)
    facing = np.flatnonzero(cosine > 0)
    _, blocker = _trace(scene, scene.light, to_point[:, facing], limit=1.0)
    cosine[facing[blocker >= 0]] = 0
    fade = 1 / (0.5 + 0.12 * squared)

    # Corners and the foot of things get less of the ambient light.
    gap = np.maximum(np.minimum(points, scene.size[:, None] - points), 0)
    open_sky = np.prod(1 - 0.35 * np.exp(-gap / 0.18), axis=0)
    view = _unit(rays)
    ambient = scene.ambient * open_sky * (0.62 + 0.2 * normal[2] - 0.3 * _dot(normal, view))

    surface = scene.surface[solid]
    shine = np.maximum(-_dot(normal, _unit(from_light + view)), 0) ** 40 * cosine
    lit = albedo(scene.surfaces, surface, local) * (ambient + 0.85 * cosine * fade)
    lit = (lit + scene.surfaces.gloss[surface] * shine * fade) * scene.light_colour[:, None]
    return (1 - np.exp(-1.9 * lit)) ** (1 / 2.2)


def _contrast(image: np.ndarray) -> np.ndarray:
    """Returns the largest difference of each pixel to its four neighbours, (height, width)."""
    result = np.zeros(image.shape[1:])
    down = np.abs(np.diff(image, axis=1)).max(axis=0)
    right = np.abs(np.diff(image, axis=2)).max(axis=0)
    for part, step in (
        (result[:-1], down),
        (result[1:], down),
        (result[:, :-1], right),
        (result[:, 1:], right),
    ):
        np.maximum(part, step, out=part)
    return result


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("in,in->n", a, b)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.sqrt(_dot(vectors, vectors))
