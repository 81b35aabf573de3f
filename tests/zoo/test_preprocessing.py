"""What is done to an image is done to its labels, and a stream goes on where it was stopped."""

import itertools
import pathlib
import shutil

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("the streams are tf.data's", allow_module_level=True)

import tensorflow as tf
import tensorflow_datasets as tfds

from rc_keras import Task
from rc_keras.tasks import kinds
from rc_keras.zoo.datasets.scenes import Builder as Scenes
from rc_keras.zoo.datasets.scenes.tasks import scenes_tasks
from rc_keras.zoo.preprocessing import (
    Preprocessing,
    augmentation,
    check_sizes,
    crop_back,
    evaluation_batches,
    is_padded,
    steps_per_epoch,
    training_batches,
    training_ids,
    write_contact_sheet,
)

CLASS_STEP, EXAMPLE_STEP, COUNT = 60, 20, 11
TASKS = [
    Task("semseg", 4, "segmentation"),
    Task("edge", 1, "edge"),
    Task("normals", 3, "normals"),
    Task("depth", 1, "depth"),
    Task("room", 5, "classification"),
]
PLAIN = {"scales": (1.0,), "flip": False}


def make_example(number):
    """Quadrants of four classes: red is the class, green the column, blue the number of the example."""
    height, width = 20 + number, 34
    row, column = np.mgrid[:height, :width]
    right = column >= width // 2
    semseg = ((row >= height // 2) * 2 + right).astype("uint8")
    image = np.stack([semseg * CLASS_STEP, column * 7, np.full_like(column, number * EXAMPLE_STEP)], axis=-1)
    normals = np.stack([np.where(right, 1.0, -1.0), 0 * row, 0 * row], axis=-1).astype("float32")
    return {
        "id": f"example-{number}",
        "image": image.astype("uint8"),
        "semseg": semseg[..., None],
        "edge": (semseg == 3)[..., None].astype("uint8"),
        "normals": normals,
        "depth": (1 + column[..., None]).astype("float32"),
        "room": number % 5,
        "mismatch": np.zeros((3, 4, 1), "uint8"),
        "chosen": number % 3 == 0,
    }


class Quadrants(tfds.core.GeneratorBasedBuilder):
    """A small data set whose labels can be read off its images."""

    code_path = tfds.core.Path(__file__)
    pkg_dir_path = code_path.parent
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        def pixels(channels):
            return tfds.features.Image(shape=(None, None, channels), encoding_format="png")

        def numbers(channels):
            return tfds.features.Tensor(shape=(None, None, channels), dtype=np.float32, encoding="zlib")

        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": pixels(3),
                    "semseg": pixels(1),
                    "edge": pixels(1),
                    "normals": numbers(3),
                    "depth": numbers(1),
                    "room": tfds.features.ClassLabel(num_classes=5),
                    "mismatch": pixels(1),
                    "chosen": np.bool_,
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": ((i, make_example(i)) for i in range(COUNT))}

    def _generate_examples(self):
        raise NotImplementedError


@pytest.fixture(scope="module")
def quadrants(tmp_path_factory):
    builder = Quadrants(data_dir=tmp_path_factory.mktemp("quadrants"))
    builder.download_and_prepare()
    return builder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    builder = Scenes(config="tiny", data_dir=tmp_path_factory.mktemp("scenes"))
    builder.download_and_prepare()
    return builder


def take(batches, count):
    return list(batches.take(count).as_numpy_iterator())


def numbers_of(batches):
    """Which examples are in some batches of images that were neither scaled nor padded."""
    return [image[0, 0, 2] // EXAMPLE_STEP for images, _ in batches for image in images]


def assert_same(a, b):
    tf.nest.map_structure(lambda x, y: np.testing.assert_array_equal(x, y, strict=True), a, b)


# --- what comes out of a stream


def test_labels_move_with_the_image(quadrants):
    batches = take(training_batches(quadrants, "train", TASKS, Preprocessing((24, 28)), 4, seed=3), 12)
    mirrored = set()
    for images, labels in batches:
        for task in TASKS:
            task.check_labels(labels[task.name], images.shape)
        for i, image in enumerate(images.astype("int64")):
            semseg, edge, depth = (labels[name][i, ..., 0] for name in ("semseg", "edge", "depth"))
            inside = semseg != 255
            assert inside.any()
            np.testing.assert_array_equal(image[~inside], np.broadcast_to((123, 116, 103), (np.sum(~inside), 3)))
            assert np.all(edge[~inside] == 255) and np.all(depth[~inside] == 0)
            assert np.all(labels["normals"][i][~inside] == 0)
            # Where quadrants meet the image is mixed and a class is not: that is a pixel or two, never a half.
            wrong = np.abs(image[..., 0] - semseg.astype("int64") * CLASS_STEP) > 1
            assert np.mean(wrong[inside]) < 0.2
            pure = inside & ~wrong
            np.testing.assert_array_equal((semseg == 3)[inside], (edge == 1)[inside])
            # The column: green in the image, depth over the scale in the label.
            column = image[..., 1] / 7
            scales = (column + 1)[inside] / depth[inside]
            scale = np.median(scales)
            assert min(abs(scale - s) for s in Preprocessing((1, 1)).scales) < 0.02
            np.testing.assert_allclose((column + 1)[inside], depth[inside] * scale, atol=0.1)
            slope = np.sum(np.diff(np.where(inside, image[..., 1], 0), axis=1)[inside[:, 1:] & inside[:, :-1]])
            x = labels["normals"][i, ..., 0]
            side = np.where(semseg % 2 == 1, 1.0, -1.0) * (1 if slope > 0 else -1)
            known = pure & (x != 0)
            np.testing.assert_allclose(x[known], side[known], atol=1e-6)
            mirrored.add(slope > 0)
            number = np.median(image[..., 2][inside]) / EXAMPLE_STEP
            assert labels["room"][i] == number % 5
    assert mirrored == {True, False}


def test_types_and_shapes(scenes):
    tasks = scenes_tasks()
    stream = training_batches(scenes, "train", tasks, Preprocessing((48, 72)), 4, seed=0)
    images, labels = take(stream, 1)[0]
    assert images.shape == (4, 48, 72, 3) and images.dtype == np.uint8
    for task in tasks:
        task.check_labels(labels[task.name], images.shape)
        dtype, channels = (np.float32, task.channels) if task.kind in ("normals", "depth") else (np.uint8, 1)
        assert labels[task.name].dtype == dtype
        assert labels[task.name].shape == (4, 48, 72, channels)
        assert stream.element_spec[1][task.name].shape == (None, 48, 72, channels)


def test_resume_is_exact(quadrants):
    def stream(**options):
        return training_batches(quadrants, "train", TASKS, Preprocessing((24, 28)), 4, **options)

    whole = take(stream(seed=5), 8)  # three batches an epoch
    assert_same(take(stream(seed=5), 8), whole)
    for start in (1, 3, 5):
        assert_same(take(stream(seed=5, start_step=start), 8 - start), whole[start:])
    other = take(stream(seed=6), 1)[0]
    assert not np.array_equal(other[0], whole[0][0])


def test_an_epoch_is_one_pass(quadrants):
    preprocessing = Preprocessing((20, 34), **PLAIN)
    batches = take(training_batches(quadrants, "train", TASKS, preprocessing, 4, seed=0), 9)
    assert [len(images) for images, _ in batches] == [4, 4, 3] * 3
    epochs = [numbers_of(batches[i : i + 3]) for i in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert steps_per_epoch(quadrants, "train", 4) == 3


@pytest.mark.parametrize("options", [{}, {"drop_remainder": True}, {"only": "chosen"}])
def test_ids_name_the_images_of_a_step(quadrants, options):
    preprocessing = Preprocessing((20, 34), **PLAIN)
    for step, batch in enumerate(take(training_batches(quadrants, "train", TASKS, preprocessing, 4, 7, **options), 5)):
        expected = [f"example-{number}" for number in numbers_of([batch])]
        assert training_ids(quadrants, "train", 4, 7, step, **options) == expected


def test_drop_remainder(quadrants):
    stream = training_batches(quadrants, "train", TASKS, Preprocessing((20, 34), **PLAIN), 4, 0, drop_remainder=True)
    batches = take(stream, 4)
    assert stream.element_spec[0].shape == (4, 20, 34, 3)
    assert len(set(numbers_of(batches[:2]))) == len(set(numbers_of(batches[2:]))) == 8
    assert steps_per_epoch(quadrants, "train", 4, drop_remainder=True) == 2


def test_only(quadrants):
    options = {"only": "chosen"}
    stream = training_batches(quadrants, "train", TASKS, Preprocessing((20, 34), **PLAIN), 3, 0, **options)
    assert sorted(numbers_of(take(stream, 2))) == [0, 3, 6, 9]
    assert steps_per_epoch(quadrants, "train", 3, **options) == 2
    with pytest.raises(ValueError, match=r"`only` must be .*\['chosen'\]. Received: only='room'"):
        steps_per_epoch(quadrants, "train", 3, only="room")


def test_part_of_a_split(quadrants):
    stream = training_batches(quadrants, "train[4:7]", TASKS, Preprocessing((20, 34), **PLAIN), 3, 0)
    assert sorted(numbers_of(take(stream, 1))) == [4, 5, 6]
    assert steps_per_epoch(quadrants, "train[4:7]", 2) == 2


# --- the rules of the augmentation


def test_rescale():
    known = np.ones((12, 16, 1), "float32")
    known[3:6, 2:9] = 0
    labels = {
        "semseg": np.random.default_rng(0).choice([0, 3, 255], (12, 16, 1)).astype("uint8"),
        "edge": np.zeros((12, 16, 1), "uint8"),
        "normals": known * np.array([0.6, 0.0, -0.8], "float32"),
        "depth": known * np.float32(3),
        "room": 2,
    }
    image = np.random.default_rng(1).integers(0, 256, (12, 16, 3), "uint8")
    for scale in (0.5, 0.75, 1.0, 1.25, 2.0):
        scaled, moved = augmentation.rescale(image, tf.nest.map_structure(tf.constant, labels), TASKS, scale)
        size = (int(12 * scale), int(16 * scale))
        assert scaled.shape == (*size, 3) and scaled.dtype == tf.uint8
        assert all(moved[name].shape[:2] == size for name in ("semseg", "edge", "normals", "depth"))
        assert set(np.unique(moved["semseg"])) <= {0, 3, 255}
        assert int(moved["room"]) == 2
        # Nothing is mixed with the zeros of the unknown part, which keeps its place.
        depth = moved["depth"].numpy()[..., 0]
        np.testing.assert_allclose(depth[depth != 0], 3 / scale, rtol=1e-6)
        normals = moved["normals"].numpy()
        np.testing.assert_allclose(
            normals[depth != 0], np.broadcast_to((0.6, 0, -0.8), (np.sum(depth != 0), 3)), rtol=1e-6
        )
        assert np.all(normals[depth == 0] == 0)
        assert np.all(depth[round(3 * scale) : round(6 * scale), round(2 * scale) : round(9 * scale)] == 0)
        assert 0.04 < np.mean(depth == 0) < 0.35
    scaled, moved = augmentation.rescale(image, {"depth": tf.constant(labels["depth"])}, [TASKS[3]], 1.0)
    np.testing.assert_array_equal(scaled, image)
    np.testing.assert_array_equal(moved["depth"], labels["depth"])


def test_normals_keep_length_one_at_creases():
    normals = np.zeros((4, 8, 3), "float32")
    normals[:, :4, 0] = normals[:, 4:, 1] = 1
    _, moved = augmentation.rescale(np.zeros((4, 8, 3), "uint8"), {"normals": normals}, [TASKS[2]], 1.5)
    np.testing.assert_allclose(np.linalg.norm(moved["normals"], axis=-1), 1.0, atol=1e-6)
    assert np.any((moved["normals"].numpy()[..., 0] > 0.1) & (moved["normals"].numpy()[..., 1] > 0.1))


class Offsets(kinds.Kind):
    """Vectors to the right and down, of a length that halves when the image doubles; -1, -1 where unlabelled."""

    name, values, ignore, channels = "offsets", "offsets", -1, 2
    interpolation, scale_power, mirror_factors = "bilinear", -1, (-1.0, 1.0)

    def make_loss(self, task):
        raise NotImplementedError

    make_metrics = make_loss


def test_an_own_kind_moves_as_it_says(monkeypatch):
    monkeypatch.setitem(kinds.KINDS, "offsets", Offsets())
    tasks = [Task("offsets", 2, "offsets")]
    label = np.full((4, 6, 2), (3.0, 5.0), "float32")
    label[:, :2] = -1
    image = np.zeros((4, 6, 3), "uint8")
    _, labels = augmentation.standard_labels(image, {"offsets": tf.constant(label, tf.float64)}, tasks)
    assert labels["offsets"].dtype == tf.float32
    _, scaled = augmentation.rescale(image, labels, tasks, 2.0)
    unknown = np.all(scaled["offsets"] == -1, axis=-1)
    assert unknown[:, :4].all() and not unknown[:, 5:].any()
    np.testing.assert_array_equal(scaled["offsets"][~unknown], np.full((np.sum(~unknown), 2), (1.5, 2.5)))
    _, mirrored = augmentation.mirror(image, labels, tasks)
    np.testing.assert_array_equal(mirrored["offsets"][:, 4:], np.full((4, 2, 2), -1))
    np.testing.assert_array_equal(mirrored["offsets"][:, :4], np.full((4, 4, 2), (-3, 5)))
    padded_image, padded, _ = augmentation.pad(image, labels, tasks, (4, 8))
    np.testing.assert_array_equal(padded["offsets"][:, ::7], np.full((4, 2, 2), -1))
    assert augmentation.crop(padded_image, padded, tasks, (0, 0), (2, 3))[1]["offsets"].shape == (2, 3, 2)


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.25, 2.0])
def test_image_is_scaled_like_in_torch(scale):
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(0).integers(0, 256, (17, 23, 3), "uint8")
    scaled, _ = augmentation.rescale(image, {}, [], scale)
    pixels = torch.from_numpy(image.astype("float32")).permute(2, 0, 1)[None]
    size = (int(17 * scale), int(23 * scale))
    expected = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    expected = expected[0].permute(1, 2, 0).numpy()
    assert np.max(np.abs(scaled.numpy() - expected)) <= 0.501  # rounding


def test_padding_is_centred():
    image = np.full((3, 6, 3), 9, "uint8")
    labels = {"semseg": np.ones((3, 6, 1), "int32"), "depth": np.ones((3, 6, 1), "float32")}
    tasks = [Task("semseg", 4, "segmentation", ignore=-1), TASKS[3]]
    padded, moved, offset = augmentation.pad(image, labels, tasks, (6, 4))
    assert tuple(offset.numpy()) == (1, 0)
    assert padded.shape == (6, 6, 3)
    np.testing.assert_array_equal(padded[1:4], image)
    outside = np.array([0, 4, 5])
    np.testing.assert_array_equal(padded.numpy()[outside], np.broadcast_to((123, 116, 103), (3, 6, 3)))
    assert np.all(moved["semseg"].numpy()[outside] == -1) and np.all(moved["depth"].numpy()[outside] == 0)


def test_an_ignore_that_does_not_fit_the_stored_type(quadrants):
    task = Task("semseg", 4, "segmentation", ignore=-1)
    images, labels = take(training_batches(quadrants, "train", [task], Preprocessing((40, 40), **PLAIN), 2, 0), 1)[0]
    assert labels["semseg"].dtype == np.int32 and labels["semseg"].min() == -1
    task.check_labels(labels["semseg"], images.shape)


def test_draws_are_uniform():
    count, scales = 3000, (0.5, 1.0, 2.0)
    image = np.arange(36, dtype="uint8").reshape(6, 6, 1).repeat(3, axis=-1)
    labels = {"normals": np.ones((6, 6, 3), "float32") / 3**0.5, "depth": np.ones((6, 6, 1), "float32")}
    tasks = TASKS[2:4]

    def draw(preprocessing):
        def one(index):
            return augmentation.augment(image, labels, tasks, preprocessing, augmentation.example_seed(0, 0, index))

        return next(tf.data.Dataset.range(count).map(one).batch(count).as_numpy_iterator())

    tolerance = 4 * (count * 0.25) ** 0.5  # four standard deviations, or more
    _, drawn = draw(Preprocessing((1, 1), scales=scales))
    for scale in scales:
        assert abs(np.sum(np.isclose(drawn["depth"], 1 / scale)) - count / 3) < tolerance
    mirrored = drawn["normals"][:, 0, 0, 0] < 0
    assert abs(np.sum(mirrored) - count / 2) < tolerance
    # The draws do not know of each other.
    assert abs(np.sum(mirrored & np.isclose(drawn["depth"][:, 0, 0, 0], 1)) - count / 6) < tolerance
    places, _ = draw(Preprocessing((1, 1), **PLAIN))
    counts = np.bincount(places[:, 0, 0, 0], minlength=36)
    assert np.all(np.abs(counts - count / 36) < 5 * (count / 36) ** 0.5)


def test_resized_lines_stay_lines():
    task, size = Task("edge", 1, "edge"), (96, 128)
    edges = np.zeros((425, 560, 1), "uint8")
    rows = np.arange(425)
    edges[rows, 100] = edges[rows, 60 + rows] = edges[200, :] = 1  # vertical, diagonal and horizontal
    edges[:50, 300:] = 255
    image = np.zeros((425, 560, 3), "uint8")
    small = augmentation.resize(image, {"edge": edges}, [task], size)[1]["edge"].numpy()[..., 0]
    assert small.shape == size and set(np.unique(small)) == {0, 1, 255}
    assert np.all(small[:10, 70:] == 255)
    assert np.all(small[:, 100 * 128 // 560] == 1) and np.all(small[200 * 96 // 425, :] == 1)  # not a dot lost
    along = [np.flatnonzero(small[row, 22:128] == 1) for row in (20, 30, 60, 80)]
    assert all(1 <= len(found) <= 3 for found in along), "the diagonal is there, and thin"
    assert 0.02 < np.mean(small == 1) < 0.035


def test_resize_comes_first(quadrants):
    batches = take(
        training_batches(quadrants, "train", TASKS, Preprocessing((10, 17), resize=(10, 17), **PLAIN), 4, 0), 1
    )
    images, labels = batches[0]
    for image, semseg, depth in zip(images, labels["semseg"], labels["depth"], strict=True):
        stored = make_example(image[0, 0, 2] // EXAMPLE_STEP)
        assert set(np.unique(depth)) <= set(np.unique(stored["depth"]))  # nearest, never mixed
        assert np.mean(image[..., 0] == semseg[..., 0] * np.uint8(CLASS_STEP)) > 0.8
    if stored["image"].shape[0] % 2 == 0:
        np.testing.assert_allclose(
            image[..., 1], np.mean([stored["image"][::2, ::2], stored["image"][::2, 1::2]], 0)[..., 1], atol=1
        )


# --- evaluation


def test_evaluation_is_padded_and_cropped_back(quadrants):
    batches = list(evaluation_batches(quadrants, "train", TASKS, Preprocessing((32, 37)), 4).as_numpy_iterator())
    assert [len(images) for images, _, _ in batches] == [4, 4, 3]
    numbers = itertools.count()
    for images, labels, info in batches:
        assert images.shape[1:] == (32, 37, 3) and info["box"].dtype == np.int32
        for i, box in enumerate(info["box"]):
            stored = make_example(next(numbers))
            assert info["id"][i].decode() == stored["id"]
            height, width = stored["image"].shape[:2]
            assert tuple(box) == ((32 - height) // 2, (37 - width) // 2, height, width)
            for name, pixels in {"image": images, **labels}.items():
                if name == "room":
                    assert labels["room"][i] == stored["room"]
                else:
                    np.testing.assert_array_equal(crop_back(pixels[i], box), stored[name], strict=True)
            assert tuple(images[i, 0, 0]) == (123, 116, 103) and labels["edge"][i, 0, 0, 0] == 255


def test_evaluation_is_in_stored_order_without_ids(scenes):
    (images, labels, info), *_ = evaluation_batches(scenes, "validation", scenes_tasks(), Preprocessing((64, 64)), 8)
    assert [name.decode() for name in info["id"].numpy()] == [str(i) for i in range(8)]
    stored = list(tfds.as_numpy(scenes.as_dataset(split="validation", shuffle_files=False)))
    for i, example in enumerate(stored):
        np.testing.assert_array_equal(images[i], example["image"])
        for name, label in labels.items():
            np.testing.assert_array_equal(label[i], example[name])


def test_evaluation_image_larger_than_the_crop(quadrants):
    batches = evaluation_batches(quadrants, "train", TASKS, Preprocessing((25, 40)), 4)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"fit into the crop, \[25, 40\].*example-6.*\[26 34\]"):
        list(batches)
    with pytest.raises(ValueError, match=r"fit in the crop, \(25, 40\).*Received: image \d of size \(26, 34\)"):
        check_sizes(quadrants, "train", Preprocessing((25, 40)))
    check_sizes(quadrants, "train", Preprocessing((60, 60)))
    check_sizes(quadrants, "train", Preprocessing((25, 40), resize=(25, 40)))
    with pytest.raises(ValueError, match=r"image 0 of size \(26, 40\)"):
        check_sizes(quadrants, "train", Preprocessing((25, 40), resize=(26, 40)))


def test_padded_is_what_does_not_fill_the_crop(quadrants, scenes):
    assert is_padded(quadrants, "train", Preprocessing((60, 60)))
    assert is_padded(quadrants, "train", Preprocessing((26, 34)))  # some of the images are smaller
    assert is_padded(quadrants, "train", Preprocessing((60, 60), resize=(60, 59)))
    assert not is_padded(quadrants, "train", Preprocessing((60, 59), resize=(60, 59)))
    assert is_padded(scenes, "validation", Preprocessing((64, 65)))
    assert not is_padded(scenes, "validation", Preprocessing((64, 64)))


# --- wrong input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop": (0, 5)}, "`crop` must be"),
        ({"crop": 64}, "`crop` must be"),
        ({"crop": (8, 8), "resize": (8,)}, "`resize` must be"),
        ({"crop": (8, 8), "scales": ()}, "`scales` must be"),
        ({"crop": (8, 8), "scales": (1.0, -1.0)}, "`scales` must be"),
    ],
)
def test_wrong_preprocessing(arguments, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**arguments)


def test_wrong_arguments(quadrants, tmp_path):
    def batches(builder=quadrants, tasks=TASKS, size=4, **options):
        return training_batches(builder, "train", tasks, Preprocessing((8, 8)), size, 0, **options)

    with pytest.raises(ValueError, match=r"it has \['chosen', 'depth', 'edge'.*Received: Task\('saliency'"):
        batches(tasks=[Task("saliency", 1, "saliency")])
    with pytest.raises(ValueError, match="`edge` labels .depth. must be floating-point metres. Received: uint8"):
        batches(tasks=[Task("edge", 1, "depth")])
    with pytest.raises(ValueError, match="must be of shape .height, width, 3."):
        batches(tasks=[Task("depth", 3, "normals")])
    with pytest.raises(ValueError, match="must be one class id an example"):
        batches(tasks=[Task("semseg", 4, "classification")])
    with pytest.raises(ValueError, match="`batch_size` must be"):
        batches(size=0)
    with pytest.raises(ValueError, match="at least one batch of 12 examples. Received: 11"):
        batches(size=12, drop_remainder=True)
    with pytest.raises(ValueError, match="`start_step` must be"):
        batches(start_step=-1)
    with pytest.raises(ValueError, match="must be prepared"):
        batches(Quadrants(data_dir=tmp_path))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"`mismatch` labels must be as large as their image"):
        list(batches(tasks=[Task("mismatch", 2, "segmentation")]).take(1))


def test_damaged_and_missing_files(quadrants, tmp_path):
    shutil.copytree(quadrants.data_dir, tmp_path / "quadrants" / "1.0.0")
    copy = Quadrants(data_dir=tmp_path)
    (path,) = pathlib.Path(copy.data_dir).glob("*.tfrecord*")
    stream = iter(training_batches(copy, "train", TASKS, Preprocessing((8, 8)), 4, 0))
    next(stream)
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(tf.errors.NotFoundError):
        for _ in range(100):
            next(stream)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="must hold 11 examples; prepare the data set again. Received: 10"):
        training_batches(copy, "train", TASKS, Preprocessing((8, 8)), 4, 0)


def test_contact_sheet(quadrants, tmp_path):
    from PIL import Image

    path = tmp_path / "sheet.png"
    write_contact_sheet(path, quadrants, "train", TASKS, Preprocessing((24, 28)), seed=0, rows=2)
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape[1] > 3 * 5 * 28 and pixels.shape[0] > 2 * 24  # three versions of an image and four maps
    first = make_example(0)["image"]
    windows = np.lib.stride_tricks.sliding_window_view(pixels[:60, :60], first.shape)
    assert np.any(np.all(windows == first, axis=(-3, -2, -1)))
    assert list(tmp_path.iterdir()) == [path]
