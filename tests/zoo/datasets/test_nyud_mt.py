"""The builder `nyud_mt` reads the archive, and says what is wrong with a broken one."""

import dataclasses
import shutil
import zipfile

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from PIL import Image
from support.tiny import SIZE, tiny_model

import rc_keras
from rc_keras.zoo.datasets import nyud_mt
from rc_keras.zoo.datasets.data import Data
from rc_keras.zoo.evaluation.measure import measure
from rc_keras.zoo.recipes.batches import evaluation_stream
from rc_keras.zoo.recipes.recipe import Recipe
from rc_keras.zoo.strategy import make_strategy

DUMMY = nyud_mt.Builder.code_path.parent / "dummy_data"
UNIT_TOLERANCE = 1e-6
DECODE_TOLERANCE = 1e-5  # float32 against float64
PIXEL_TOLERANCE = 2 / 255  # a vector kept as 8-bit pixels, and brought to length 1


def prepare(manual_dir, data_dir):
    builder = tfds.builder("nyud_mt", data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return builder


def examples(builder, split):
    return {e["id"].decode(): e for e in tfds.as_numpy(builder.as_dataset(split=split))}


def check_example(example, root):
    name = example["id"].decode()

    def pixels(path):
        return np.asarray(Image.open(root / path))

    shape = pixels(f"images/{name}.jpg").shape
    assert example["image"].shape == shape and example["image"].dtype == np.uint8
    assert np.abs(example["image"] - pixels(f"images/{name}.jpg").astype(float)).mean() < 2
    semseg = scipy.io.loadmat(root / f"segmentation/{name}.mat")["segmentation"]
    np.testing.assert_array_equal(example["semseg"][..., 0], semseg, strict=True)
    depth = scipy.io.loadmat(root / f"depth/{name}.mat")["depth"]
    np.testing.assert_array_equal(example["depth"][..., 0], depth.astype("float32"), strict=True)
    edge = pixels(f"edge/{name}.png") // 255
    np.testing.assert_array_equal(example["edge"][..., 0], edge, strict=True)

    v = pixels(f"normals/{name}.jpg") / 127.5 - 1
    length = np.linalg.norm(v, axis=-1, keepdims=True)
    expected = np.where(length < 0.5, 0, v / length)
    assert example["normals"].dtype == np.float32
    np.testing.assert_allclose(example["normals"], expected, atol=DECODE_TOLERANCE)
    length = np.linalg.norm(example["normals"], axis=-1)
    np.testing.assert_allclose(length[length > 0], 1, atol=UNIT_TOLERANCE)


def test_examples_are_the_files(tmp_path):
    builder = prepare(DUMMY, tmp_path)
    train, validation = examples(builder, "train"), examples(builder, "validation")
    assert sorted(train) == ["0003", "0004", "0005"] and sorted(validation) == ["0001", "0002"]
    for example in [*train.values(), *validation.values()]:
        check_example(example, DUMMY / "NYUD_MT")
        assert (example["normals"][:6, :6] == 0).all(), "unknown normals"
        assert example["depth"][0, 0, 0] == 0 and example["semseg"][0, 0, 0] == 40
        assert set(np.unique(example["edge"])) == {0, 1}


def test_normals_decode_alike_without_tensorflow():
    feature = nyud_mt.Builder(data_dir="unused").info.features["normals"]
    data = (DUMMY / "NYUD_MT" / "normals" / "0003.jpg").read_bytes()
    with_tensorflow = feature.decode_example(data).numpy()
    np.testing.assert_allclose(feature.decode_example_np(data), with_tensorflow, atol=DECODE_TOLERANCE)


@pytest.mark.parametrize(("kind", "suffix"), [("zip", "zip"), ("gztar", "tgz")])
def test_the_archive_is_read_like_the_folder(tmp_path, kind, suffix):
    manual = tmp_path / "manual"
    manual.mkdir()
    archive = shutil.make_archive(str(tmp_path / "archive"), kind, DUMMY, "NYUD_MT")
    shutil.move(archive, manual / f"NYUD_MT.{suffix}")
    builder = prepare(manual, tmp_path / "data")
    for example in examples(builder, "train").values():
        check_example(example, DUMMY / "NYUD_MT")


def write_mat(path, **variables):
    scipy.io.savemat(path, variables)


def write_pixels(path, values):
    Image.fromarray(values).save(path)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def to_numpy_layout(root):
    """Rewrites the archive's labels as the second layout has them."""
    for name in ("0001", "0002", "0003", "0004", "0005"):
        n = 2 * np.asarray(Image.open(root / f"normals/{name}.jpg"), np.float32) / 255 - 1
        length = np.linalg.norm(n, axis=-1, keepdims=True)
        np.save(root / f"normals/{name}.npy", np.where(length < 0.5, 0, n / length).astype("float32"))
        np.save(root / f"edge/{name}.npy", np.asarray(Image.open(root / f"edge/{name}.png"), np.float32) / 255)
        np.save(root / f"depth/{name}.npy", scipy.io.loadmat(root / f"depth/{name}.mat")["depth"][..., None])
        semseg = scipy.io.loadmat(root / f"segmentation/{name}.mat")["segmentation"]
        write_pixels(root / f"segmentation/{name}.png", semseg)
        for file in (f"normals/{name}.jpg", f"edge/{name}.png", f"depth/{name}.mat", f"segmentation/{name}.mat"):
            (root / file).unlink()


@pytest.fixture
def numpy_root(tmp_path):
    root = shutil.copytree(DUMMY, tmp_path / "manual") / "NYUD_MT"
    to_numpy_layout(root)
    return root


def check_same(received, expected):
    assert received.keys() == expected.keys()
    for name, example in received.items():
        for feature in ("image", "semseg", "edge", "depth"):
            np.testing.assert_array_equal(example[feature], expected[name][feature], strict=True)
        np.testing.assert_allclose(example["normals"], expected[name]["normals"], atol=PIXEL_TOLERANCE)
        np.testing.assert_array_equal(example["normals"] == 0, expected[name]["normals"] == 0)


def test_both_layouts_give_the_same_examples(numpy_root, tmp_path):
    first, second = prepare(DUMMY, tmp_path / "first"), prepare(numpy_root.parent, tmp_path / "second")
    for split in ("train", "validation"):
        check_same(examples(second, split), examples(first, split))


def test_the_second_layout_may_be_coded_in_8_bits(numpy_root, tmp_path):
    for folder, code in (
        ("edge", lambda edge: np.where(edge > 0.5, 200, 100).astype("uint8")),
        ("normals", lambda n: np.round(127.5 * n + 127.5).astype("uint8")),
    ):
        for path in (numpy_root / folder).iterdir():
            np.save(path, code(np.load(path)))
    semseg = np.asarray(Image.open(numpy_root / "segmentation/0003.png")).copy()
    semseg[:2] = 255
    write_pixels(numpy_root / "segmentation/0003.png", semseg)
    received = examples(prepare(numpy_root.parent, tmp_path / "second"), "train")
    assert (received["0003"]["semseg"][:2] == 0).all(), "255 is unlabelled, like 0"
    received["0003"]["semseg"][:2] = 40
    expected = examples(prepare(DUMMY, tmp_path / "first"), "train")
    expected["0003"]["semseg"][:2] = 40
    check_same(received, expected)


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda r: r.rename(r.with_name("NYUD")), FileNotFoundError, "NYUD_MT.zip"),
        (lambda r: (r / "gt_sets/val.txt").unlink(), FileNotFoundError, "gt_sets/val.txt"),
        (lambda r: (r / "gt_sets/val.txt").write_text(""), ValueError, "is empty"),
        (lambda r: (r / "gt_sets/val.txt").write_text("../1"), ValueError, r"'\.\./1'"),
        (lambda r: shutil.rmtree(r / "edge"), FileNotFoundError, "NYUD_MT/edge"),
        (lambda r: (r / "depth/0004.mat").unlink(), FileNotFoundError, "depth/0004.mat.*'train'"),
        (lambda r: (r / "depth/0004.mat").write_bytes(b"no"), ValueError, "depth/0004.mat"),
        (lambda r: (r / "images/0004.jpg").write_bytes(b"no"), ValueError, "images/0004.jpg"),
        (lambda r: write_mat(r / "depth/0004.mat", z=1), ValueError, "variable 'depth'"),
        (
            lambda r: write_mat(r / "depth/0004.mat", depth=np.ones((2, 3))),
            ValueError,
            r"\(17, 24\). Received: \(2, 3\)",
        ),
        (
            lambda r: write_mat(r / "segmentation/0004.mat", segmentation=np.full((17, 24), 41, np.uint8)),
            ValueError,
            "class ids in 0 … 40.*41",
        ),
        (
            lambda r: write_mat(r / "segmentation/0004.mat", segmentation=np.array(["text"])),
            ValueError,
            "0004.mat` must hold numbers",
        ),
        (lambda r: (r / "gt_sets/val.txt").write_text("0001 0001"), ValueError, "'0001' twice"),
        (lambda r: (r / "gt_sets/val.txt").write_text("0001 0003"), ValueError, "share no image.*'0003'"),
        (lambda r: (r / "gt_sets/val.txt").write_bytes(b"\xe9"), ValueError, "val.txt` must be letters"),
        (lambda r: cut_short(r / "images/0004.jpg"), ValueError, "images/0004.jpg.*truncated"),
        (lambda r: cut_short(r / "normals/0004.jpg"), ValueError, "normals/0004.jpg.*truncated"),
        (lambda r: cut_short(r / "edge/0004.png"), ValueError, "edge/0004.png` must be a readable PNG"),
        (lambda r: cut_short(r / "segmentation/0004.mat"), ValueError, "segmentation/0004.mat"),
        (
            lambda r: write_pixels(r / "normals/0004.jpg", np.full((17, 24, 3), 240, np.uint8)),
            ValueError,
            "normals/0004.jpg`.*length 1 within 5 %.*1.53",
        ),
        (lambda r: write_pixels(r / "edge/0004.png", np.zeros((17, 23), np.uint8)), ValueError, r"edge/.*\(17, 23\)"),
        (lambda r: shutil.copy(r / "depth/0004.mat", r / "edge/0004.npy"), ValueError, "Received: both"),
        (lambda r: [f.rename(f.with_suffix(".gif")) for f in (r / "edge").iterdir()], FileNotFoundError, "'.gif'"),
    ],
)
def test_a_broken_archive_is_refused_and_leaves_nothing(tmp_path, damage, error, words):
    manual, data = tmp_path / "manual", tmp_path / "data"
    shutil.copytree(DUMMY, manual)
    damage(manual / "NYUD_MT")
    with pytest.raises(error, match=words):
        prepare(manual, data)
    assert not list(data.rglob("*.tfrecord*"))


def test_a_damaged_archive_is_refused(tmp_path):
    manual = tmp_path / "manual"
    manual.mkdir()
    archive = shutil.make_archive(str(manual / "NYUD_MT"), "zip", DUMMY, "NYUD_MT")
    cut_short(manual / "NYUD_MT.zip")
    with pytest.raises(Exception, match=f"{archive}.*not a zip file"):
        prepare(manual, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.tfrecord*"))


def test_an_archive_without_the_folder_is_refused(tmp_path):
    manual = tmp_path / "manual"
    manual.mkdir()
    with zipfile.ZipFile(manual / "NYUD_MT.zip", "w") as archive:
        archive.writestr("README", "empty")
    with pytest.raises(FileNotFoundError, match="must hold a folder `NYUD_MT`"):
        prepare(manual, tmp_path / "data")


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "be finite"), (np.inf, "be finite"), (-1, "metres above 0, or 0 where.*-1")]
)
def test_a_depth_that_is_none_is_refused(tmp_path, value, words):
    manual = tmp_path / "manual"
    shutil.copytree(DUMMY, manual)
    depth = np.full((17, 24), 2.0)
    depth[0, 0] = value
    write_mat(manual / "NYUD_MT" / "depth" / "0003.mat", depth=depth)
    with pytest.raises(ValueError, match=f"depth/0003.mat.*{words}"):
        prepare(manual, tmp_path / "data")


def save_pickled(path):
    np.save(path, np.array([print], object), allow_pickle=True)


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("edge", lambda p: p.unlink(), "must exist"),
        ("edge", cut_short, "`.npy` file of numbers"),
        ("edge", save_pickled, "Object arrays cannot be loaded"),
        ("edge", lambda p: np.save(p, np.full((17, 24), 256)), r"0\.\.1 or 0\.\.255.*256"),
        ("edge", lambda p: np.save(p, np.full((17, 24), np.nan)), r"0\.\.1 or 0\.\.255.*nan"),
        ("edge", lambda p: np.save(p, np.zeros((17, 24, 2))), r"shape \(17, 24, 2\)"),
        ("edge", lambda p: np.save(p, np.zeros(24)), r"\(17, 24\). Received: \(24,\)"),
        ("edge", lambda p: np.save(p, np.array("a")), "must hold numbers.*<U1"),
        ("normals", lambda p: np.save(p, np.load(p) / 2), "length 1 within 5 %.*0.5"),
        ("normals", lambda p: np.save(p, (np.load(p) + 1) / 2), "length 1 within 5 %"),
        ("normals", lambda p: np.save(p, np.load(p) * np.nan), "must be finite"),
        ("normals", lambda p: np.save(p, np.load(p)[..., 0]), "vectors .height, width, 3"),
        ("normals", lambda p: np.save(p, np.ones((17, 24, 3), int)), "floating-point unit vectors"),
        ("depth", lambda p: np.save(p, np.full((17, 24), 2000)), "were they millimetres"),
        ("depth", lambda p: np.save(p, np.full((16, 24), 2.0)), r"\(17, 24\). Received: \(16, 24\)"),
    ],
)
def test_a_broken_second_layout_is_refused_and_leaves_nothing(numpy_root, tmp_path, file, damage, words):
    damage(numpy_root / file / "0004.npy")
    with pytest.raises((ValueError, FileNotFoundError), match=f"{file}/0004.npy.*{words}"):
        prepare(numpy_root.parent, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.tfrecord*"))


@pytest.fixture
def real_subset(test_data, tmp_path):
    """The real archive with its files linked and its splits cut to a few images."""
    source, root = test_data / "NYUD_MT", tmp_path / "manual" / "NYUD_MT"
    if not source.is_dir():
        pytest.skip(f"No NYUD_MT in {test_data}")
    (root / "gt_sets").mkdir(parents=True)
    for folder in source.iterdir():
        if folder.name != "gt_sets":
            (root / folder.name).symlink_to(folder)
    for name in ("train", "val"):
        ids = (source / "gt_sets" / f"{name}.txt").read_text().split()
        (root / "gt_sets" / f"{name}.txt").write_text("\n".join(ids[:4]))
    return root


def test_real_images(real_subset, tmp_path):
    builder = prepare(real_subset.parent, tmp_path / "data")
    for split in ("train", "validation"):
        for example in examples(builder, split).values():
            assert example["image"].shape == (425, 560, 3)
            check_example(example, real_subset)


@pytest.mark.slow
def test_real_archive(test_data, tmp_path):
    builder = prepare(test_data, tmp_path)
    assert builder.info.splits["train"].num_examples == 795
    assert builder.info.splits["validation"].num_examples == 654


def test_both_means_are_reported_where_nothing_is_padded(tmp_path):
    builder, semseg = prepare(DUMMY, tmp_path / "data"), rc_keras.nyud()[1]
    model = tiny_model([semseg])
    model.save(tmp_path / "m.keras")
    data = Data(builder, {"semseg": semseg}, DUMMY)
    recipe = Recipe("nyud_mt", ("semseg",), crop=(SIZE, SIZE), resize=(SIZE, SIZE), steps=1, checkpoint_every=1)
    scores = measure(tmp_path / "m.keras", recipe, data, make_strategy("none")).tasks["semseg"]
    assert list(scores) == ["mean_iou", "mean_iou_without_40", "pixel_accuracy", "mean_iou_41"]
    (images, labels, _), *_ = evaluation_stream(recipe, data, [semseg])
    labels, predicted = labels["semseg"][..., 0].numpy(), np.argmax(model(images)["semseg"], axis=-1)
    assert (labels == 0).any() and (labels > 0).any()
    for key, kept, classes in (("mean_iou", labels > 0, range(1, 41)), ("mean_iou_41", labels >= 0, range(41))):
        ious = []
        for c in classes:
            true, taken = kept & (labels == c), kept & (predicted == c)
            ious.append((true & taken).sum() / max((true | taken).sum(), 1))
        assert scores[key] == pytest.approx(np.mean(ious), abs=UNIT_TOLERANCE)
    padded = dataclasses.replace(recipe, resize=(SIZE, SIZE - 1))
    assert "mean_iou_41" not in measure(tmp_path / "m.keras", padded, data, make_strategy("none")).tasks["semseg"]
