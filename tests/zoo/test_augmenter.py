"""The augmentation in a pipeline of one's own."""

import doctest

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from rc_keras import Task  # noqa: E402
from rc_keras.zoo.preprocessing import Preprocessing, augmenter  # noqa: E402
from rc_keras.zoo.preprocessing.augmentation import IMAGE_PADDING  # noqa: E402

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data is tested once")
CLASSES = Task("classes", channels=250, kind="segmentation", ignore=255)
DEPTH = Task("depth", channels=1, kind="depth")
SIZE = (10, 20)


def pipeline(count=3):
    """Pixels that say where they are, `10 row + column`, in the image, in classes and as metres."""
    place = (10 * np.arange(SIZE[0])[:, None] + np.arange(SIZE[1])).astype("uint8")
    image = np.stack([place] * 3, axis=-1)
    labels = {"classes": place, "depth": place.astype("float32"), "more": place}
    return tf.data.Dataset.from_tensors((image, labels)).repeat(count)


def mapped(how, seed=0, count=3, tasks=(CLASSES, DEPTH)):
    return list(pipeline(count).enumerate().map(augmenter(tasks, how, seed)).as_numpy_iterator())


def test_the_example_runs():
    (example,) = doctest.DocTestFinder(recurse=False).find(augmenter, "augmenter")
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert result.attempted > 8 and not result.failed


def test_labels_go_where_the_image_goes():
    """An image says by itself which class and depth each of its pixels has."""
    seen = set()
    for image, labels in mapped(Preprocessing((8, 8), scales=(1.0,)), count=40):
        assert image.shape == (8, 8, 3) and labels.keys() == {"classes", "depth"}
        np.testing.assert_array_equal(labels["classes"][..., 0], image[..., 0])
        np.testing.assert_array_equal(labels["depth"][..., 0], image[..., 0])
        steps = np.unique(np.diff(image[..., 0].astype(int), axis=1))
        assert steps.tolist() in ([1], [-1]) and np.unique(np.diff(image[..., 0].astype(int), axis=0)) == 10
        seen.add((int(image.min()), int(steps[0])))
    assert {sign for _, sign in seen} == {1, -1} and len(seen) > 15


def test_what_is_padded_is_ignored():
    (image, labels), *_ = mapped(Preprocessing((14, 20), scales=(1.0,), flip=False))
    np.testing.assert_array_equal(image[2:12, :, 0], labels["classes"][2:12, :, 0])
    for rows in (slice(0, 2), slice(12, 14)):
        assert np.all(image[rows] == IMAGE_PADDING)
        assert np.all(labels["classes"][rows] == 255) and np.all(labels["depth"][rows] == 0)


def test_larger_is_nearer():
    (_, labels), *_ = mapped(Preprocessing((20, 40), scales=(2.0,), flip=False))
    assert labels["depth"].max() == (10 * 9 + 19) / 2


def test_numbers_and_seed_say_all():
    how = Preprocessing((8, 8), scales=(0.5, 1.0, 2.0))
    first, again, other = mapped(how, count=6), mapped(how, count=6), mapped(how, seed=1, count=6)
    for (image, labels), (image_again, labels_again) in zip(first, again, strict=True):
        np.testing.assert_array_equal(image, image_again)
        np.testing.assert_array_equal(labels["depth"], labels_again["depth"])
    assert len({image.tobytes() for image, _ in first}) > 3
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


def test_pipelines_that_do_not_fit_are_told():
    how = Preprocessing((8, 8))
    with pytest.raises(ValueError, match="they lack .'semseg'.*Received: labels of .'classes', 'depth', 'more'"):
        mapped(how, tasks=["semseg"])
    floats = pipeline().map(lambda image, labels: (tf.cast(image, tf.float32), labels))
    with pytest.raises(ValueError, match="uint8 of shape.*Received: float32"):
        floats.enumerate().map(augmenter([CLASSES], how))
