"""The three solids scenes are made of, and where rays meet them.

A solid is the image of a unit solid under `x = centre + axesᵀ (half · p)`:

- `box`: the cube `|p_i| ≤ 1`;
- `ellipsoid`: the ball `‖p‖ ≤ 1`;
- `frustum`: `|p_z| ≤ 1` and `p_x² + p_y² ≤ r(p_z)²`, whose radius runs linearly from 1 at
  `p_z = -1` to `taper` at `p_z = 1` (taper 1: a cylinder, taper 0: a cone).

The map is affine, so the ray parameter is the same in both frames and every intersection is
solved for the unit solid.
"""

import dataclasses

import numpy as np

BOX, ELLIPSOID, FRUSTUM = range(3)


@dataclasses.dataclass(frozen=True)
class Solid:
    """One placed solid.

    Attributes:
        kind: `BOX`, `ELLIPSOID` or `FRUSTUM`.
        centre: (3,) metres.
        axes: (3, 3), rows are the solid's unit axes.
        half: (3,) half sizes along the axes, metres.
        taper: top radius over bottom radius of a frustum.
        part: part label, see `rc_keras.zoo.rendering.classes.PARTS`.
        coat: which of its object's surfaces covers it.
    """

    kind: int
    centre: np.ndarray
    axes: np.ndarray
    half: np.ndarray
    taper: float = 1.0
    part: int = 0
    coat: int = 0

    def moved(self, rotation: np.ndarray, offset: np.ndarray) -> "Solid":
        """Returns the solid turned by `rotation` (3, 3) about the origin, then shifted."""
        return dataclasses.replace(self, centre=rotation @ self.centre + offset, axes=self.axes @ rotation.T)

    @property
    def radius(self) -> float:
        """Radius of a sphere about `centre` that holds the solid, in metres."""
        x, y, z = self.half
        if self.kind == ELLIPSOID:
            return max(x, y, z)
        if self.kind == BOX:
            return float(np.sqrt(x * x + y * y + z * z))
        return float(np.hypot(max(x, y) * max(1.0, self.taper), z))


def intersect(
    kind: int | np.integer, origin: np.ndarray, directions: np.ndarray, taper: float | np.floating
) -> np.ndarray:
    """Returns the ray parameter of the first entry into a unit solid.

    Args:
        kind: `BOX`, `ELLIPSOID` or `FRUSTUM`.
        origin: (3,), common origin of the rays, outside the solid.
        directions: (3, rays), any length.
        taper: see the module.

    Returns:
        (rays,), `inf` where the ray misses.
    """
    if kind == BOX:
        return _intersect_box(origin, directions)
    if kind == ELLIPSOID:
        return _intersect_ellipsoid(origin, directions)
    return _intersect_frustum(origin, directions, taper)


def exit_box(origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Returns the ray parameter at which rays that start inside the unit cube leave it."""
    x, y, z = (np.copysign(1.0, directions) - origin[:, None]) / _nonzero(directions)
    return np.minimum(np.minimum(x, y), z)


def normals(kind: int | np.integer, points: np.ndarray, taper: np.ndarray | float) -> np.ndarray:
    """Returns outward normals of a unit solid, not normalised.

    Args:
        kind: `BOX`, `ELLIPSOID` or `FRUSTUM`.
        points: (3, n) on the unit solid.
        taper: (n,) or one number, see the module.

    Returns:
        (3, n).
    """
    if kind == BOX:
        face = np.abs(points).argmax(axis=0)
        return np.where(face == np.arange(3)[:, None], np.copysign(1.0, points), 0.0)
    if kind == ELLIPSOID:
        return points
    x, y, z = points
    slope = (taper - 1) / 2
    radius = (1 + taper) / 2 + slope * z
    on_cap = 1 - np.abs(z) < np.abs(np.hypot(x, y) - radius)
    result = np.stack([x, y, -slope * radius])
    result[:2, on_cap] = 0
    result[2, on_cap] = np.copysign(1.0, z[on_cap])
    return result


def _intersect_box(origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    inverse = 1 / _nonzero(directions)
    middle, reach = -origin[:, None] * inverse, np.abs(inverse)
    near, far = middle - reach, middle + reach
    enter = np.maximum(np.maximum(near[0], near[1]), near[2])
    leave = np.minimum(np.minimum(far[0], far[1]), far[2])
    return np.where((enter <= leave) & (enter > 0), enter, np.inf)


def _intersect_ellipsoid(origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    dx, dy, dz = directions
    a = dx * dx + dy * dy + dz * dz
    b = origin @ directions
    discriminant = b * b - a * (origin @ origin - 1)
    t = (-b - np.sqrt(np.maximum(discriminant, 0))) / a
    return np.where((discriminant >= 0) & (t > 0), t, np.inf)


def _intersect_frustum(origin: np.ndarray, directions: np.ndarray, taper: float | np.floating) -> np.ndarray:
    slope = (taper - 1) / 2
    dx, dy, dz = directions
    ox, oy, oz = origin
    radius = (1 + taper) / 2 + slope * oz
    a = _nonzero(dx * dx + dy * dy - (slope * dz) ** 2)
    b = ox * dx + oy * dy - slope * radius * dz
    c = ox * ox + oy * oy - radius * radius
    discriminant = b * b - a * c
    # Most rays pass by; one that never crosses the double cone can still run inside it.
    rows = np.flatnonzero((discriminant >= 0) | (a < 0))
    dx, dy, dz, a, b = dx[rows], dy[rows], dz[rows], a[rows], b[rows]
    discriminant = discriminant[rows]
    root = np.sqrt(np.maximum(discriminant, 0))
    best = np.full(len(rows), np.inf, dx.dtype)
    for t in ((-b - root) / a, (root - b) / a):
        # |z| ≤ 1 also rules out the mirror cone, since `taper` ≥ 0.
        hit = (discriminant >= 0) & (t > 0) & (np.abs(oz + t * dz) <= 1) & (t < best)
        best[hit] = t[hit]
    # Of the two caps only the one on the origin's side can be entered.
    z, cap_radius = (1.0, taper) if oz > 1 else (-1.0, 1.0)
    if abs(oz) > 1 and cap_radius:
        t = (z - oz) / _nonzero(dz)
        hit = (t > 0) & ((ox + t * dx) ** 2 + (oy + t * dy) ** 2 <= cap_radius**2) & (t < best)
        best[hit] = t[hit]
    result = np.full(directions.shape[1], np.inf, dx.dtype)
    result[rows] = best
    return result


def _nonzero(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 1e-12, 1e-12, x)
