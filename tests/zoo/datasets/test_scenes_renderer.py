"""The rendered labels are the truth of the rendered image."""

import numpy as np
import pytest

from rc_keras.zoo.datasets.scenes import CLASSES, PARTS
from rc_keras.zoo.rendering.labels import object_edges, saliency
from rc_keras.zoo.rendering.renderer import render_scene
from rc_keras.zoo.rendering.solids import BOX, ELLIPSOID, FRUSTUM, intersect

UNIT_TOLERANCE = 1e-5
PLANE_TOLERANCE = 1e-4  # metres
SLOPE_TOLERANCE = 2.0  # degrees, of finite differences on curved surfaces


@pytest.fixture(scope="module")
def scenes():
    return [render_scene((9, index), 64) for index in range(40)]


def rays(scene):
    """Rays through the pixel centres with z = 1, (height, width, 3)."""
    height, width = scene["depth"].shape[:2]
    y, x = np.mgrid[:height, :width] + 0.5
    focal = scene["focal_length"]
    return np.stack([(x - width / 2) / focal, (y - height / 2) / focal, np.ones_like(x)], -1)


def test_same_seed_same_bytes():
    first, again, other = render_scene(3, 48), render_scene(3, 48), render_scene(4, 48)
    for name, value in first.items():
        assert value.tobytes() == again[name].tobytes(), name
    assert (first["image"] != other["image"]).mean() > 0.5


def test_shapes_types_and_ranges(scenes):
    scene = render_scene(0, (20, 30))
    shapes = {name: (value.shape, value.dtype.name) for name, value in scene.items()}
    one = ((20, 30, 1), "uint8")
    assert shapes == {
        "image": ((20, 30, 3), "uint8"),
        "semseg": one,
        "parts": one,
        "edge": one,
        "saliency": one,
        "instance": one,
        "normals": ((20, 30, 3), "float32"),
        "depth": ((20, 30, 1), "float32"),
        "focal_length": ((), "float32"),
    }
    for scene in scenes:
        assert scene["depth"].min() > 0.2 and scene["depth"].max() < 10
        length = np.linalg.norm(scene["normals"], axis=-1)
        np.testing.assert_allclose(length, 1, atol=UNIT_TOLERANCE)


def test_labels_are_taken_at_the_pixel_centre():
    # Every third pixel of the larger image has its centre where the smaller one's pixel has.
    small, large = render_scene(11, 48), render_scene(11, 144)
    for name in ("semseg", "parts", "instance"):
        np.testing.assert_array_equal(small[name], large[name][1::3, 1::3])
    for name in ("depth", "normals"):
        np.testing.assert_allclose(small[name], large[name][1::3, 1::3], atol=1e-5)


def test_normals_face_the_camera_x_right_y_down_z_forward(scenes):
    for scene in scenes:
        assert ((scene["normals"] * rays(scene)).sum(-1) < UNIT_TOLERANCE).all()
        semseg = scene["semseg"][..., 0]
        floor = scene["normals"][semseg == CLASSES.index("floor")]
        ceiling = scene["normals"][semseg == CLASSES.index("ceiling")]
        assert (floor[:, 1] < -0.85).all() and (ceiling[:, 1] > 0.85).all()


def test_floor_and_ceiling_are_planes(scenes):
    for scene in scenes:
        height = ((scene["normals"] * rays(scene)).sum(-1) * scene["depth"][..., 0]).astype(float)
        for name in ("floor", "ceiling"):
            found = height[scene["semseg"][..., 0] == CLASSES.index(name)]
            if len(found):
                assert np.ptp(found) < PLANE_TOLERANCE


def test_depth_and_normals_agree():
    scene = render_scene(2, 256)
    points = rays(scene) * scene["depth"]
    normal, instance = scene["normals"], scene["instance"][..., 0]
    right = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    slope = np.cross(down, right)
    slope /= np.linalg.norm(slope, axis=-1, keepdims=True)
    middle = normal[1:-1, 1:-1]
    smooth = np.ones(middle.shape[:2], bool)
    for rows, columns in (
        (slice(1, -1), slice(2, None)),
        (slice(1, -1), slice(None, -2)),
        (slice(2, None), slice(1, -1)),
        (slice(None, -2), slice(1, -1)),
    ):
        smooth &= instance[rows, columns] == instance[1:-1, 1:-1]
        smooth &= (normal[rows, columns] * middle).sum(-1) > 0.98
        # Parallel surfaces at different depths have equal normals.
        step = np.abs(((points[rows, columns] - points[1:-1, 1:-1]) * middle).sum(-1))
        smooth &= step < 0.01
    assert smooth.mean() > 0.7
    angle = np.degrees(np.arccos(np.clip((slope * middle).sum(-1), -1, 1)))
    assert np.percentile(angle[smooth], 99) < SLOPE_TOLERANCE


def test_edges_are_the_boundaries_of_instances(scenes):
    for scene in scenes[:10]:
        edge, instance, depth = (scene[k][..., 0] for k in ("edge", "instance", "depth"))
        for axis in (0, 1):
            a, b = (np.moveaxis(x, axis, 0) for x in (instance, edge))
            crossing = a[:-1] != a[1:]
            assert ((b[:-1] | b[1:])[crossing] == 1).all()
        padded = np.pad(instance, 1, mode="edge")
        centre = padded[1:-1, 1:-1]
        beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
        boundary = np.logical_or.reduce([centre != other for other in beside])
        assert (boundary[edge == 1]).all()
        mirrored = object_edges(instance[:, ::-1], depth[:, ::-1])
        np.testing.assert_array_equal(mirrored[:, ::-1], edge)


def test_an_edge_lies_on_the_object_in_front():
    instance = np.array([[0, 0, 5, 5, 0]])
    depth = np.array([[3.0, 3.0, 1.0, 1.0, 3.0]])
    np.testing.assert_array_equal(object_edges(instance, depth), [[0, 0, 1, 1, 0]])


def test_saliency_is_the_foreground():
    instance = np.repeat([0, 3, 4, 5], 25).reshape(10, 10)
    depth = np.array([1.0, 2.0, 2.4, 2.6])[np.repeat(range(4), 25)].reshape(10, 10)
    objects = np.array([False, False, False, True, True, True])
    np.testing.assert_array_equal(saliency(instance, depth, objects), np.isin(instance, [3, 4]))
    assert not saliency(instance, depth, np.zeros(6, bool)).any()
    speck = np.zeros((10, 20), int)
    speck[:5], speck[0, 0] = 5, 3
    np.testing.assert_array_equal(saliency(speck, np.where(speck == 3, 1.0, 2.0), objects), speck == 5)


def test_every_class_and_part_occurs(scenes):
    for name, names in (("semseg", CLASSES), ("parts", PARTS)):
        shown = [np.unique(scene[name]) for scene in scenes]
        counts = np.bincount(np.concatenate(shown), minlength=len(names))
        assert len(counts) == len(names)
        assert (counts >= 5).all(), dict(zip(names, counts, strict=True))
    assert np.mean([scene["saliency"].any() for scene in scenes]) > 0.9


def test_a_linear_probe_cannot_tell_objects(scenes):
    """Colour and position give floor, wall and ceiling away, and nothing else."""

    def features(scene):
        position = rays(scene)[..., :2]
        pixels = scene["image"] / 127.5 - 1
        bias = np.ones((*pixels.shape[:2], 1))
        return np.concatenate([pixels, position, bias], -1).reshape(-1, 6)

    x = np.concatenate([features(scene) for scene in scenes])
    half = len(x) // 2
    rows = np.random.default_rng(0).integers(half, size=8000)
    for name, names, room in (("semseg", CLASSES, 3), ("parts", PARTS, 1)):
        y = np.concatenate([scene[name].ravel() for scene in scenes])
        truth = np.eye(len(names))[y[rows]]
        weights, momentum = np.zeros((2, 6, len(names)))
        for _ in range(300):
            scores = np.exp(x[rows] @ weights)
            scores /= scores.sum(-1, keepdims=True)
            momentum = 0.9 * momentum - x[rows].T @ (scores - truth) / len(rows)
            weights += momentum
        guess, y = (x[half:] @ weights).argmax(-1), y[half:]
        iou = np.array([((guess == c) & (y == c)).sum() / ((guess == c) | (y == c)).sum() for c in range(len(names))])
        assert iou[:room].min() > 0.4, "the probe has learnt nothing at all"
        assert iou[room:].max() < 0.05
        assert iou.mean() < 0.2


@pytest.mark.parametrize(
    ("kind", "taper"), [(BOX, 1.0), (ELLIPSOID, 1.0)] + [(FRUSTUM, t) for t in (0.0, 0.4, 1.0, 1.6)]
)
def test_rays_enter_a_solid_where_a_walk_along_them_does(kind, taper):
    rng = np.random.default_rng(kind)
    step = 2e-3
    for origin in ([3.0, 0.5, -0.7], [0.2, -0.3, 4.0], [0.1, 0.2, -3.5]):
        origin = np.array(origin)
        directions = (rng.uniform(-1.6, 1.6, (3, 200)).T - origin).T
        walk = origin[:, None, None] + directions[..., None] * np.arange(0, 2.2, step)
        x, y, z = walk
        if kind == BOX:
            inside = (np.abs(walk) <= 1).all(0)
        elif kind == ELLIPSOID:
            inside = x * x + y * y + z * z <= 1
        else:
            radius = (1 + taper) / 2 + (taper - 1) / 2 * z
            inside = (np.abs(z) <= 1) & (x * x + y * y <= radius**2)
        t = intersect(kind, origin, directions, taper)
        enters = inside.any(-1)
        assert 0.1 < enters.mean() < 1
        np.testing.assert_allclose(t[enters], inside.argmax(-1)[enters] * step, atol=step * 1.01, rtol=0)
        # A ray the walk misses may graze the solid between two steps.
        assert np.isinf(t[~enters]).mean() > 0.97
