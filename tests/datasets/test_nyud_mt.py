"""The builder `nyud_mt` reads the archive, and says what is wrong with a broken one."""

import shutil
import zipfile

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from PIL import Image

from rc_keras.zoo.datasets import nyud_mt

DUMMY = nyud_mt.Builder.code_path.parent / "dummy_data"
UNIT_TOLERANCE = 1e-6
DECODE_TOLERANCE = 1e-5  # float32 against float64


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


def test_the_archive_is_read_like_the_folder(tmp_path):
    manual = tmp_path / "manual"
    manual.mkdir()
    shutil.make_archive(str(manual / "NYUD_MT"), "zip", DUMMY, "NYUD_MT")
    builder = prepare(manual, tmp_path / "data")
    for example in examples(builder, "train").values():
        check_example(example, DUMMY / "NYUD_MT")


def write_mat(path, **variables):
    scipy.io.savemat(path, variables)


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
            r"integers 0\.\.40",
        ),
    ],
)
def test_a_broken_archive_is_refused_and_leaves_nothing(tmp_path, damage, error, words):
    manual, data = tmp_path / "manual", tmp_path / "data"
    shutil.copytree(DUMMY, manual)
    damage(manual / "NYUD_MT")
    with pytest.raises(error, match=words):
        prepare(manual, data)
    assert not list(data.rglob("*.tfrecord*"))


def test_an_archive_without_the_folder_is_refused(tmp_path):
    manual = tmp_path / "manual"
    manual.mkdir()
    with zipfile.ZipFile(manual / "NYUD_MT.zip", "w") as archive:
        archive.writestr("README", "empty")
    with pytest.raises(FileNotFoundError, match="must hold a folder `NYUD_MT`"):
        prepare(manual, tmp_path / "data")


def test_missing_depth_becomes_zero(tmp_path):
    manual = tmp_path / "manual"
    shutil.copytree(DUMMY, manual)
    depth = np.full((17, 24), 2.0)
    depth[0, :3] = [np.nan, np.inf, -1]
    write_mat(manual / "NYUD_MT" / "depth" / "0003.mat", depth=depth)
    example = examples(prepare(manual, tmp_path / "data"), "train")["0003"]
    np.testing.assert_array_equal(example["depth"][0, :4, 0], [0, 0, 0, 2])


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
