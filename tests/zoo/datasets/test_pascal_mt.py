"""The builder `pascal_mt` reads both archives, and says what is wrong with a broken one."""

import json
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from PIL import Image

import rc_keras
from rc_keras.metrics.boundaries import thin
from rc_keras.zoo.datasets import pascal_mt
from rc_keras.zoo.datasets.pascal_mt.edges import boundaries, evaluation_boundaries
from rc_keras.zoo.datasets.pascal_mt.human_parts import read_human_parts
from rc_keras.zoo.datasets.pascal_mt.normals_classes import normals_classes
from rc_keras.zoo.preprocessing import Preprocessing, crop_back, evaluation_batches, training_batches

pytest.importorskip("dill", reason="tfds.testing needs dill")

DUMMY = pascal_mt.Builder.code_path.parent / "dummy_data"
TRAIN = ["2008_000002", "2008_000008", "2008_000015"]
VALIDATION = ["2008_000003", "2008_000007"]
SIZE = (16, 20)
DECODE_TOLERANCE = 1e-5  # float32 against float64
IMAGE_TOLERANCE = 2  # mean of the differences between two JPEG decoders

RCM_TO_ASTMT = {
    "Context": "pascal-context",
    "PascalParts": "human_parts",
    "SemanticSegmentation/Context": "semseg/pascal-context",
    "NormalsDistill": "normals_distill",
    "SaliencyDistill": "sal_distill",
}


class PascalMtTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = pascal_mt.Builder
    SPLITS = {"train": 3, "validation": 2}


def prepare(manual_dir, data_dir):
    builder = tfds.builder("pascal_mt", data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return builder


def examples(builder, split):
    return {e["id"].decode(): e for e in tfds.as_numpy(builder.as_dataset(split=split))}


@pytest.fixture
def root(tmp_path):
    return shutil.copytree(DUMMY, tmp_path / "manual") / "PASCAL_MT"


def to_astmt(root):
    """Moves the files to the other layout; half of `semseg` goes to the preferred folder."""
    for old, new in RCM_TO_ASTMT.items():
        (root / new).parent.mkdir(exist_ok=True)
        (root / old).rename(root / new)
    (root / "semseg/VOC12").mkdir()
    for name in TRAIN:
        (root / f"semseg/pascal-context/{name}.png").rename(root / f"semseg/VOC12/{name}.png")
    # Of two files, this one must not be taken.
    write_pixels(root / f"semseg/pascal-context/{TRAIN[0]}.png", np.zeros(SIZE, np.uint8))


def write_pixels(path, values):
    Image.fromarray(values).save(path)


def pixels(path):
    return np.asarray(Image.open(path))


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def write_parts(path, objects):
    """A PASCAL-Parts file of [(class id, [(part name, mask), …]), …]."""

    def structure(fields, rows):
        array = np.empty((1, len(rows)), [(field, object) for field in fields])
        for i, row in enumerate(rows):
            for field, value in zip(fields, row, strict=True):
                array[0, i][field] = value
        return array

    rows = [
        (
            "class",
            number,
            np.ones(SIZE, np.uint8),
            structure(["part_name", "mask"], parts) if parts else np.zeros((0, 0)),
        )
        for number, parts in objects
    ]
    anno = {"imname": path.stem, "objects": structure(["class", "class_ind", "mask", "parts"], rows)}
    scipy.io.savemat(path, {"anno": anno})


def square(top, left):
    mask = np.zeros(SIZE, np.uint8)
    mask[top : top + 4, left : left + 4] = 1
    return mask


def check_example(example, root):
    """Against the files, in the first layout."""
    name = example["id"].decode()
    image = pixels(root / f"JPEGImages/{name}.jpg")
    assert example["image"].dtype == np.uint8 and example["image"].shape == image.shape
    assert np.abs(example["image"] - image.astype(float)).mean() < IMAGE_TOLERANCE
    semseg = pixels(root / f"SemanticSegmentation/Context/{name}.png")
    np.testing.assert_array_equal(example["semseg"][..., 0], semseg, strict=True)
    saliency = pixels(root / f"SaliencyDistill/{name}.png") / 255 > 0.5
    np.testing.assert_array_equal(example["saliency"][..., 0], saliency.astype(np.uint8), strict=True)
    label_map = scipy.io.loadmat(root / f"Context/trainval/{name}.mat")["LabelMap"]
    np.testing.assert_array_equal(example["edge"][..., 0], boundaries(label_map), strict=True)
    expected = evaluation_boundaries(label_map)
    np.testing.assert_array_equal(example["edge_for_evaluation"][..., 0], expected, strict=True)

    n = pixels(root / f"NormalsDistill/{name}.png") / 127.5 - 1
    # floor, person and tvmonitor count, sky does not.
    valid = np.isin(label_map, [158, 284, 427])[..., None]
    assert 0 < valid.mean() < 1
    expected = np.where(valid, n / np.linalg.norm(n, axis=-1, keepdims=True), 0)
    assert example["normals"].dtype == np.float32
    np.testing.assert_allclose(example["normals"], expected, atol=DECODE_TOLERANCE)


def test_examples_are_the_files_in_both_layouts(root, tmp_path):
    to_astmt(root)
    first, second = prepare(DUMMY, tmp_path / "first"), prepare(root.parent, tmp_path / "second")
    for split, names in (("train", TRAIN), ("validation", VALIDATION)):
        received, other = examples(first, split), examples(second, split)
        assert sorted(received) == names and other.keys() == received.keys()
        for name, example in received.items():
            check_example(example, DUMMY / "PASCAL_MT")
            assert set(example) == {task.name for task in rc_keras.pascal_context()} | {
                *("id", "image", "has_human_parts", "edge_for_evaluation")
            }
            for feature in example:
                np.testing.assert_array_equal(other[name][feature], example[feature], strict=True)
            image = (DUMMY / "PASCAL_MT" / "JPEGImages" / f"{name}.jpg").read_bytes()
            kept = [e for e in first.as_dataset(split, decoders={"image": tfds.decode.SkipDecoding()})]
            assert image in [e["image"].numpy() for e in kept]


def test_the_tasks_take_the_labels(tmp_path):
    for example in examples(prepare(DUMMY, tmp_path), "train").values():
        for task in rc_keras.pascal_context():
            task.check_labels(example[task.name][None], (1, *SIZE, 3))


def test_people_and_their_parts(tmp_path):
    builder = prepare(DUMMY, tmp_path)
    received = examples(builder, "train") | examples(builder, "validation")
    with_parts = {name for name, example in received.items() if example["has_human_parts"]}
    assert with_parts == {TRAIN[0], TRAIN[1], VALIDATION[0]}
    for name, example in received.items():
        assert (example["human_parts"] == 255).all() == (name not in with_parts)
    parts = received[TRAIN[0]]["human_parts"][..., 0]
    # The file's boxes of 4 x 3 pixels, six a row: head, hair, … feet.
    classes = [[1] * 6, [1, 1, 1, 1, 2, 2], [3, 3, 4, 4, 4, 4], [5, 5, 6, 6, 6, 6]]
    np.testing.assert_array_equal(parts[:, :18], np.kron(classes, np.ones((4, 3), int)))
    assert (parts[:, 18:] == 0).all()
    parts = received[TRAIN[1]]["human_parts"][..., 0]
    assert parts[0, 0] == 0, "a dog's head"
    assert [parts[5, 3], parts[2, 3], parts[10, 8], parts[13, 8]] == [2, 1, 5, 6], "two people"


def test_later_parts_cover_earlier_ones(tmp_path):
    path = tmp_path / "a.mat"
    people = [(15, [("torso", square(0, 0)), ("lhand", square(2, 2))]), (12, [("neck", square(0, 0))])]
    write_parts(path, [*people, (15, [("rebrow", square(3, 3))])])
    expected = np.zeros(SIZE, np.uint8)
    expected[0:4, 0:4] = 2
    expected[2:6, 2:6] = 4
    expected[3:7, 3:7] = 1
    np.testing.assert_array_equal(read_human_parts(path, SIZE), expected, strict=True)


def test_boundaries_of_two_regions():
    label_map = np.zeros((6, 8), np.uint16)
    label_map[:, 4:] = 459
    edge = boundaries(label_map)
    assert edge.dtype == np.uint8 and set(np.flatnonzero(edge.any(0))) <= {3, 4}
    assert (edge.sum(1) <= 1).all() and edge[1:-1].sum() == 4, "one pixel wide, no gap"
    assert not boundaries(np.full((6, 8), 7)).any()


def seg2bmap(label_map):
    """Pixel by pixel: another label to the right, below, or below to the right."""
    height, width = label_map.shape
    differs = np.zeros((height, width), bool)
    for i, j in np.ndindex(height, width):
        around = [(i, j + 1), (i + 1, j), (i + 1, j + 1)]
        differs[i, j] = any(a < height and b < width and label_map[a, b] != label_map[i, j] for a, b in around)
    return differs


@pytest.mark.parametrize("arrange", [np.ascontiguousarray, np.asfortranarray])
def test_boundaries_to_evaluate_are_those_of_seism(arrange):
    blobs = np.random.default_rng(0).integers(0, 460, (5, 6)).repeat(4, axis=0).repeat(3, axis=1).astype(np.uint16)
    blobs[7, 7] = 459  # a region of one pixel
    noise = np.random.default_rng(1).integers(0, 2, (9, 11)).astype(np.uint16)
    for label_map in (blobs, noise, blobs[:1], blobs[:, :1]):
        edge = evaluation_boundaries(arrange(label_map))
        assert edge.dtype == np.uint8
        np.testing.assert_array_equal(edge, thin(seg2bmap(label_map)))
    label_map = np.zeros((6, 8), np.uint16)
    label_map[:, 4:] = 459
    assert set(np.flatnonzero(evaluation_boundaries(label_map).any(0))) == {3}, "on the left of where regions meet"
    assert not evaluation_boundaries(np.full((6, 8), 7)).any()


def test_edges_are_measured_with_the_boundaries_of_seism(tmp_path):
    builder, (edge, *_) = prepare(DUMMY, tmp_path), rc_keras.pascal_context()
    stored = examples(builder, "validation")
    for _, labels, info in evaluation_batches(builder, "validation", [edge], Preprocessing((18, 20)), 1):
        label = crop_back(labels["edge"][0].numpy(), info["box"][0].numpy())
        example = stored[info["id"][0].numpy().decode()]
        np.testing.assert_array_equal(label, example["edge_for_evaluation"])
        assert not np.array_equal(label, example["edge"])
    plain = Preprocessing(SIZE, scales=(1.0,), flip=False)
    trained = [
        labels["edge"][0].numpy() for _, labels in training_batches(builder, "train", [edge], plain, 1, 0).take(3)
    ]
    for example in examples(builder, "train").values():
        assert any(np.array_equal(example["edge"], label) for label in trained)


def test_classes_of_the_normals(tmp_path):
    shipped = normals_classes(tmp_path)
    assert len(shipped) == len(set(shipped)) == 170
    assert {158, 284, 397, 427, 440} <= set(shipped), "floor, person, table, tvmonitor, wall"
    assert not {2, 98, 187, 360, 431} & set(shipped), "aeroplane, cow, grass, sky, unknown"


def test_the_lists_of_the_archive_are_used(root, tmp_path):
    (root / "json").mkdir()
    (root / "json/nyu_classes.json").write_text(json.dumps({"sky": 1, "unknown": 2, "lamp": 3}))
    assert len(normals_classes(root)) == 170, "one list is not enough"
    (root / "json/context_classes.json").write_text(json.dumps({"sky": 360, "tvmonitor": 427, "unknown": 158}))
    example = examples(prepare(root.parent, tmp_path / "data"), "train")[TRAIN[0]]
    label_map = scipy.io.loadmat(root / f"Context/trainval/{TRAIN[0]}.mat")["LabelMap"]
    np.testing.assert_array_equal(example["normals"].any(-1), np.isin(label_map, [360, 427]))


@pytest.mark.parametrize(("kind", "suffix"), [("zip", "zip"), ("gztar", "tgz")])
def test_the_archive_is_read_like_the_folder(root, tmp_path, kind, suffix):
    manual = tmp_path / "archive"
    manual.mkdir()
    if suffix == "tgz":
        to_astmt(root)
    made = shutil.make_archive(str(manual / "PASCAL_MT"), kind, root.parent, "PASCAL_MT")
    shutil.move(made, manual / f"PASCAL_MT.{suffix}")
    received = examples(prepare(manual, tmp_path / "data"), "train")
    assert sorted(received) == TRAIN
    for example in received.values():
        check_example(example, DUMMY / "PASCAL_MT")


@pytest.mark.parametrize("suffix", ["zip", "tgz"])
def test_an_archive_writes_nothing_outside(tmp_path, suffix):
    manual = tmp_path / "manual"
    manual.mkdir()
    stray = tmp_path / "stray"
    stray.write_text("x")
    archive = manual / f"PASCAL_MT.{suffix}"
    names = ["README"] + ["../" * depth + "taken" for depth in range(1, 6)] + [str(tmp_path / "taken")]
    with zipfile.ZipFile(archive, "w") if suffix == "zip" else tarfile.open(archive, "w:gz") as opened:
        for name in names:
            if suffix == "zip":
                opened.writestr(name, "x")
            else:
                opened.add(stray, name)
    with pytest.raises(FileNotFoundError, match="must hold a folder `PASCAL_MT`"):
        prepare(manual, tmp_path / "data")
    # What was absolute may lie inside the folder extracted to.
    assert not [path for path in tmp_path.rglob("taken") if "extracted" not in path.parts]


def broken_pixels(file, values):
    return lambda root: write_pixels(root / file, values)


def broken_mat(file, **variables):
    return lambda root: scipy.io.savemat(root / file, variables)


def broken_parts(objects):
    return lambda root: write_parts(root / f"PascalParts/{TRAIN[1]}.mat", objects)


SPLIT = "ImageSets/Context/val.txt"
ONE = TRAIN[1]


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda r: r.rename(r.with_name("PASCAL")), FileNotFoundError, "PASCAL_MT.zip or PASCAL_MT.tgz"),
        (lambda r: (r / SPLIT).unlink(), FileNotFoundError, f"{SPLIT}.*one image id a line"),
        (lambda r: (r / SPLIT).write_text(""), ValueError, "is empty"),
        (lambda r: (r / SPLIT).write_text("../1"), ValueError, r"val.txt.*'\.\./1'"),
        (lambda r: (r / SPLIT).write_text("a\na"), ValueError, "'a' twice"),
        (lambda r: (r / SPLIT).write_text(ONE), ValueError, f"share no image.*'{ONE}'"),
        (lambda r: shutil.rmtree(r / "NormalsDistill"), FileNotFoundError, "`normals_distill`"),
        (lambda r: (r / "normals_distill").mkdir(), ValueError, "Received: both"),
        (lambda r: shutil.rmtree(r / "PascalParts"), FileNotFoundError, "folder `.*PascalParts` must exist"),
        (
            lambda r: (r / f"SaliencyDistill/{ONE}.png").unlink(),
            FileNotFoundError,
            f"SaliencyDistill/{ONE}.png.*'train'.*1 of 3",
        ),
        (lambda r: cut_short(r / f"JPEGImages/{ONE}.jpg"), ValueError, f"JPEGImages/{ONE}.jpg. must be a readable"),
        (lambda r: cut_short(r / f"PascalParts/{ONE}.mat"), ValueError, f"PascalParts/{ONE}.mat"),
        (
            lambda r: (r / f"Context/trainval/{ONE}.mat").write_bytes(b"no"),
            ValueError,
            f"{ONE}.mat` must be a MATLAB 5",
        ),
        (broken_mat(f"Context/trainval/{ONE}.mat", other=1), ValueError, "trainval.*variable 'LabelMap'"),
        (broken_mat(f"Context/trainval/{ONE}.mat", LabelMap=np.zeros(SIZE)), ValueError, "integers.*float64"),
        (broken_mat(f"Context/trainval/{ONE}.mat", LabelMap=np.ones((2, 3), int)), ValueError, r"Received: \(2, 3\)"),
        (broken_mat(f"PascalParts/{ONE}.mat", other=1), ValueError, "PascalParts.*variable 'anno'"),
        (broken_mat(f"PascalParts/{ONE}.mat", anno=1), ValueError, r"PascalParts.*`anno.objects\(i\)`"),
        (broken_parts([(15, [("tail", square(0, 0))])]), ValueError, "person's part.*'tail'"),
        (broken_parts([(15, [("torso", np.ones((3, 4)))])]), ValueError, r"PascalParts.*Received: \(3, 4\)"),
        (
            broken_pixels(f"SemanticSegmentation/Context/{ONE}.png", np.full(SIZE, 21, np.uint8)),
            ValueError,
            r"Segmentation.*0 … 20.*values 21",
        ),
        (
            broken_pixels(f"SemanticSegmentation/Context/{ONE}.png", np.zeros((16, 21), np.uint8)),
            ValueError,
            r"\(16, 20\). Received: \(16, 21\)",
        ),
        (
            broken_pixels(f"NormalsDistill/{ONE}.png", np.full((*SIZE, 3), 240, np.uint8)),
            ValueError,
            "NormalsDistill.*length 1 within 5 %.*1.53",
        ),
        (broken_pixels(f"NormalsDistill/{ONE}.png", np.full(SIZE, 240, np.uint8)), ValueError, "an RGB image.*'L'"),
        (broken_pixels(f"SaliencyDistill/{ONE}.png", np.zeros((8, 8), np.uint8)), ValueError, r"Saliency.*\(8, 8\)"),
    ],
)
def test_a_broken_archive_is_refused_and_leaves_nothing(root, tmp_path, damage, error, words):
    damage(root)
    with pytest.raises(error, match=words):
        prepare(root.parent, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("1.0.0")) and not list((tmp_path / "data").rglob("*.tfrecord*"))


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "must be a JSON file"), ("[1]", "class id for each name"), ('{"sky": 1}', "'tvmonitor'")],
)
def test_broken_class_lists_are_refused(root, tmp_path, text, words):
    (root / "json").mkdir()
    (root / "json/nyu_classes.json").write_text("{}")
    (root / "json/context_classes.json").write_text(text)
    with pytest.raises(ValueError, match=f"context_classes.json.*{words}"):
        prepare(root.parent, tmp_path / "data")
