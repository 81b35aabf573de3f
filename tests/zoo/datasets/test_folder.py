"""The builder `folder` reads a user's own images and labels, and says what is wrong with them."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import rc_keras
from rc_keras.tasks import kinds
from rc_keras.zoo.datasets.folder import Builder

SIZE = (12, 16)
STEMS = ("a", "b", "c 1", "d.2")
NORMAL_TOLERANCE = 1 / 127.5  # half a step of an 8-bit pixel, twice
FLOAT_TOLERANCE = 1e-6


def unit_vectors(seed):
    n = np.random.default_rng(seed).normal(size=(*SIZE, 3))
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    n[:2] = 0
    return n


def class_ids(seed, classes=21):
    return np.random.default_rng(seed).integers(classes, size=SIZE).astype("uint8")


def save_png(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def save_npy(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)


def write_json(path, content):
    path.write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path):
    """Four images with labels of five tasks of the catalogue."""
    root = tmp_path / "my data"
    for seed, stem in enumerate(STEMS):
        rng = np.random.default_rng(seed)
        save_png(root / "images" / f"{stem}.png", rng.integers(256, size=(*SIZE, 3)).astype("uint8"))
        save_png(root / "semseg" / f"{stem}.png", class_ids(seed))
        save_png(root / "edge" / f"{stem}.png", (255 * rng.integers(2, size=SIZE)).astype("uint8"))
        save_png(root / "saliency" / f"{stem}.png", rng.choice([0, 1, 255], size=SIZE).astype("uint8"))
        save_png(root / "normals" / f"{stem}.png", np.round(127.5 * unit_vectors(seed) + 127.5).astype("uint8"))
        save_npy(root / "depth" / f"{stem}.npy", rng.uniform(0, 9, size=SIZE))
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("a\nc 1\n\nd.2\n")
    (root / "splits" / "validation.txt").write_text("b\n")
    (root / "notes.txt").write_text("other files are left alone")
    return root


def prepare(root):
    builder = Builder(root, data_dir=root.parent / "prepared")
    builder.download_and_prepare()
    return builder


def examples(builder, split="train"):
    return {e["id"].decode(): e for e in tfds.as_numpy(builder.as_dataset(split=split))}


def keep_task(root, *names):
    for folder in root.iterdir():
        if folder.is_dir() and folder.name not in ("images", "splits", *names):
            shutil.rmtree(folder)


def add_task(root, name, kind, channels=1, **entry):
    """Leaves only this task; its labels are still to be written."""
    keep_task(root)
    write_json(root / "tasks.json", [{"name": name, "kind": kind, "channels": channels, **entry}])


def test_examples_are_the_files(root):
    builder = prepare(root)
    assert builder.tasks == [rc_keras.Task.get(name) for name in ("depth", "edge", "normals", "saliency", "semseg")]
    train, validation = examples(builder), examples(builder, "validation")
    assert sorted(train) == ["a", "c 1", "d.2"] and sorted(validation) == ["b"]
    for stem, example in (train | validation).items():
        seed = STEMS.index(stem)

        def stored(name, stem=stem):
            return np.asarray(Image.open(root / name / f"{stem}.png"))

        assert set(example) == {"id", "image", "depth", "edge", "normals", "saliency", "semseg"}
        np.testing.assert_array_equal(example["image"], stored("images"), strict=True)
        np.testing.assert_array_equal(example["semseg"][..., 0], stored("semseg"), strict=True)
        np.testing.assert_array_equal(example["saliency"][..., 0], stored("saliency"), strict=True)
        np.testing.assert_array_equal(example["edge"][..., 0], stored("edge") // 255, strict=True)
        depth = np.load(root / "depth" / f"{stem}.npy").astype("float32")
        np.testing.assert_array_equal(example["depth"][..., 0], depth, strict=True)
        n = example["normals"]
        assert n.dtype == np.float32 and (n[:2] == 0).all()
        np.testing.assert_allclose(np.linalg.norm(n[2:], axis=-1), 1, atol=FLOAT_TOLERANCE)
        np.testing.assert_allclose(n, unit_vectors(seed), atol=NORMAL_TOLERANCE)
        for task in builder.tasks:
            task.check_labels(example[task.name][None], example["image"][None].shape)


def test_any_mix_of_suffixes(root):
    Image.open(root / "images" / "a.png").save(root / "images" / "a.JPG")
    (root / "images" / "a.png").unlink()
    for name, values in (
        ("semseg", class_ids(0).astype("int64")),
        ("normals", unit_vectors(0)),
        ("saliency", np.ones((*SIZE, 1), bool)),
    ):
        (root / name / "a.png").unlink()
        save_npy(root / name / "a.npy", values)
    (root / "depth" / "a.npy").unlink()
    save_png(root / "depth" / "a.png", np.full(SIZE, 2500, "uint16"))
    example = examples(prepare(root))["a"]
    assert example["image"].shape == (*SIZE, 3)
    np.testing.assert_array_equal(example["semseg"][..., 0], class_ids(0), strict=True)
    np.testing.assert_allclose(example["normals"], unit_vectors(0), atol=FLOAT_TOLERANCE)
    np.testing.assert_array_equal(example["saliency"], np.ones((*SIZE, 1), "uint8"), strict=True)
    np.testing.assert_array_equal(example["depth"], np.full((*SIZE, 1), 2.5, "float32"), strict=True)


def test_a_palette_is_not_looked_up(root):
    image = Image.fromarray(class_ids(7), mode="P")
    image.putpalette([5 * i % 256 for i in range(768)])
    image.save(root / "semseg" / "a.png")
    np.testing.assert_array_equal(examples(prepare(root))["a"]["semseg"][..., 0], class_ids(7))


def test_black_normals_are_unknown(root):
    n = np.round(127.5 * unit_vectors(1) + 127.5).astype("uint8")
    n[:2] = 0
    save_png(root / "normals" / "a.png", n)
    assert (examples(prepare(root))["a"]["normals"][:2] == 0).all()


def test_numbers_are_read_as_they_are(root):
    add_task(root, "height", "regression", unit="m", loss="huber")
    numbers = np.random.default_rng(0).normal(scale=9, size=SIZE).astype("float32")
    numbers[0] = -9999
    for stem in STEMS:
        save_npy(root / "height" / f"{stem}.npy", numbers)
    for stem, values in (("a", np.full(SIZE, 40000, "uint16")), ("c 1", np.full(SIZE, 7, "uint8"))):
        (root / "height" / f"{stem}.npy").unlink()
        save_png(root / "height" / f"{stem}.png", values)
    save_npy(root / "height" / "d.2.npy", numbers.astype("int16"))
    builder = prepare(root)
    (task,) = builder.tasks
    assert task == rc_keras.Task("height", 1, "regression", unit="m", loss=rc_keras.losses.MaskedHuber())
    expected = {"a": 40000, "c 1": 7, "d.2": numbers.astype("int16")}
    for stem, example in examples(builder).items():
        np.testing.assert_array_equal(
            example["height"][..., 0], np.broadcast_to(expected[stem], SIZE).astype("float32")
        )
    np.testing.assert_array_equal(examples(builder, "validation")["b"]["height"][..., 0], numbers)


class Colour(kinds.Kind):
    """Red, green and blue in 0..1, -1 where unlabelled; pixels are in 0..255, and pure black is unlabelled."""

    name, values, ignore, channels = "colour", "shares", -1, 3

    def make_loss(self, task):
        raise NotImplementedError

    make_metrics = make_loss

    def decode(self, values, is_pixels):
        if not is_pixels:
            return values
        if values.max() < 2:
            raise ValueError("hold 0..255. Received: 0..1")
        return np.where(np.any(values, axis=-1, keepdims=True), values / np.float32(255), np.float32(-1))


def test_an_own_kind_is_read_as_it_says(root, monkeypatch):
    monkeypatch.setitem(kinds.KINDS, "colour", Colour())
    add_task(root, "albedo", "colour", channels=3)
    pixels = np.full((*SIZE, 3), (255, 51, 0), "uint8")
    pixels[:2] = 0
    for stem in STEMS:
        save_png(root / "albedo" / f"{stem}.png", pixels)
    (root / "albedo" / "a.png").unlink()
    save_npy(root / "albedo" / "a.npy", np.full((*SIZE, 3), 0.25))
    builder = prepare(root)
    assert builder.tasks[0].kind == "colour"
    train = examples(builder)
    np.testing.assert_array_equal(train["a"]["albedo"], np.full((*SIZE, 3), 0.25, "float32"), strict=True)
    np.testing.assert_array_equal(train["d.2"]["albedo"][:2], np.full((2, SIZE[1], 3), -1, "float32"))
    np.testing.assert_allclose(train["d.2"]["albedo"][2, 0], (1, 0.2, 0), atol=FLOAT_TOLERANCE)
    save_png(root / "albedo" / "b.png", np.ones((*SIZE, 3), "uint8"))
    with pytest.raises(ValueError, match="b.png` must hold 0..255. Received: 0..1"):
        prepare(root)


@pytest.mark.parametrize(
    ("channels", "ignore", "dtype"), [(256, -1, "int32"), (300, 65535, "uint16"), (70000, -1, "int32"), (9, 9, "uint8")]
)
def test_many_classes(root, channels, ignore, dtype):
    add_task(root, "parts", "segmentation", channels, ignore=ignore, class_names=[str(i) for i in range(channels)])
    for stem in STEMS:
        save_npy(root / "parts" / f"{stem}.npy", np.full(SIZE, channels - 1))
    ids = np.full(SIZE, channels - 1)
    ids[0] = ignore
    save_npy(root / "parts" / "a.npy", ids)
    builder = prepare(root)
    task = rc_keras.Task("parts", channels, "segmentation", ignore=ignore, class_names=list(map(str, range(channels))))
    assert builder.tasks == [task]
    np.testing.assert_array_equal(examples(builder)["a"]["parts"][..., 0], ids.astype(dtype), strict=True)


def test_sixteen_bit_class_ids(root):
    add_task(root, "parts", "segmentation", 1000, ignore=0)
    for stem in STEMS:
        save_png(root / "parts" / f"{stem}.png", np.full(SIZE, 999, "uint16"))
    assert (examples(prepare(root))["a"]["parts"] == 999).all()


def test_an_entry_wins_over_the_catalogue(root):
    keep_task(root, "edge")
    write_json(root / "tasks.json", [{"name": "edge", "channels": 1, "kind": "edge", "loss_weight": 3}])
    assert Builder(root).tasks == [rc_keras.Task("edge", 1, "edge", loss_weight=3.0)]


def test_without_ones_255_is_the_foreground_in_every_file(root):
    keep_task(root, "saliency")
    for stem in STEMS:
        save_png(root / "saliency" / f"{stem}.png", np.full(SIZE, 255, "uint8"))
    assert (examples(prepare(root))["a"]["saliency"] == 1).all()
    # A single 1 in any file says that 255 means "ignore" in all of them.
    save_png(root / "saliency" / "b.png", np.ones(SIZE, "uint8"))
    assert (examples(prepare(root))["a"]["saliency"] == 255).all()


def many_images(root, count):
    keep_task(root, "edge")
    shutil.rmtree(root / "splits")
    for folder in (root / "images", root / "edge"):
        shutil.rmtree(folder)
    for i in range(count):
        save_png(root / "images" / f"{i:04}.png", np.zeros((2, 2, 3), "uint8"))
        save_png(root / "edge" / f"{i:04}.png", np.zeros((2, 2), "uint8"))


def test_the_automatic_split_is_a_tenth_and_stays(root):
    many_images(root, 200)
    before = Builder(root)._layout.splits
    # sha256("0004") begins with 0x0591: below 0x1999…, a tenth of the range.
    assert before["validation"][:3] == ["0004", "0008", "0010"]
    assert 10 <= len(before["validation"]) <= 30
    assert sorted(before["train"] + before["validation"]) == [f"{i:04}" for i in range(200)]
    many_images_of_half = [f"{i:04}" for i in range(0, 200, 2)]
    for i in range(1, 200, 2):
        (root / "images" / f"{i:04}.png").unlink()
    after = Builder(root)._layout.splits
    for split in before:
        assert after[split] == [stem for stem in before[split] if stem in many_images_of_half]


@pytest.mark.parametrize("count", [2, 3])
def test_few_images_have_both_splits(root, count):
    many_images(root, count)
    builder = prepare(root)
    assert len(examples(builder, "validation")) == 1 and len(examples(builder)) == count - 1


def test_changed_files_are_read_anew(root):
    first = prepare(root)
    assert examples(first)["a"]["depth"].max() > 1
    again = Builder(root, data_dir=root.parent / "prepared")
    assert again.data_dir == first.data_dir and again.is_prepared()

    save_npy(root / "depth" / "a.npy", np.ones(SIZE))
    second = Builder(root, data_dir=root.parent / "prepared")
    assert not second.is_prepared()
    assert (examples(prepare(root))["a"]["depth"] == 1).all()

    names = {first.data_dir, second.data_dir}
    os.utime(root / "images" / "b.png", ns=(0, 0))
    names.add(Builder(root, data_dir=root.parent / "prepared").data_dir)
    write_json(root / "tasks.json", [{"name": "edge", "channels": 1, "kind": "edge", "loss_weight": 3}])
    names.add(Builder(root, data_dir=root.parent / "prepared").data_dir)
    (root / "splits" / "train.txt").write_text("a\n")
    names.add(Builder(root, data_dir=root.parent / "prepared").data_dir)
    copy = shutil.copytree(root, root.with_name("copy"))
    names.add(Builder(copy, data_dir=root.parent / "prepared").data_dir)
    assert len(names) == 6


def test_changed_tasks_are_read_anew(root, monkeypatch):
    keep_task(root, "edge")
    before = Builder(root).builder_config.name
    other = rc_keras.Task("edge", 1, "edge", ignore=7)
    monkeypatch.setattr(rc_keras.zoo.datasets.folder.folder_layout, "read_tasks", lambda *args: [other])
    assert Builder(root).builder_config.name != before


def test_files_that_change_while_they_are_read_are_refused(root):
    builder = Builder(root, data_dir=root.parent / "prepared")
    save_npy(root / "depth" / "a.npy", np.ones(SIZE))
    with pytest.raises(RuntimeError, match="must not change while they are read"):
        builder.download_and_prepare()
    assert not list((root.parent / "prepared").rglob("*.tfrecord*"))


def test_links_are_followed(root):
    link = root.parent / "link"
    link.symlink_to(root)
    (root / "depth").rename(root.parent / "elsewhere")
    (root / "depth").symlink_to(root.parent / "elsewhere")
    assert sorted(examples(prepare(link))) == ["a", "c 1", "d.2"]


def test_a_pickled_builder_finds_its_data(root):
    builder = prepare(root)
    again = pickle.loads(pickle.dumps(builder))
    assert again.data_dir == builder.data_dir and again.tasks == builder.tasks


def test_recipes_open_it(root):
    data = pytest.importorskip("rc_keras.zoo.datasets.data")
    opened = data.open_data("folder", str(root), root.parent / "prepared")
    opened.prepare()
    assert sorted(opened.tasks) == ["depth", "edge", "normals", "saliency", "semseg"]


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (shutil.rmtree, FileNotFoundError, "`root` must be a folder. Received"),
        (lambda r: shutil.rmtree(r / "images"), FileNotFoundError, "images` must exist"),
        (keep_task, FileNotFoundError, "a folder of labels for each task"),
        (lambda r: (r / "edge" / "d.2.png").unlink(), FileNotFoundError, "edge/d.2`.*1 of 3 labels of split 'train'"),
        (lambda r: save_png(r / "images/e.bmp", class_ids(0)), ValueError, ".jpg, .jpeg, .png files only.*'e.bmp'"),
        (lambda r: save_npy(r / "edge/a.npy", class_ids(0)), ValueError, "one file a stem.*'a.npy' and 'a.png'"),
        (lambda r: save_png(r / "images/-e.png", class_ids(0)), ValueError, "first a letter.*'-e.png'"),
        (lambda r: (r / "splits/train.txt").unlink(), FileNotFoundError, "splits/train.txt` must exist"),
        (lambda r: (r / "splits/train.txt").write_text("\n"), ValueError, "train.txt.*is empty"),
        (lambda r: (r / "splits/train.txt").write_bytes(b"\xff"), ValueError, "train.txt.*UTF-8"),
        (lambda r: (r / "splits/train.txt").write_text("../images/a"), ValueError, r"train.txt.*'\.\./images/a'"),
        (lambda r: (r / "splits/train.txt").write_text("/etc/a"), ValueError, "without folder.*'/etc/a'"),
        (lambda r: (r / "splits/train.txt").write_text("a.png"), FileNotFoundError, "without suffix.*'a.png'; 1 of 1"),
        (lambda r: (r / "splits/train.txt").write_text("a\na"), ValueError, "'a' twice"),
        (lambda r: (r / "splits/train.txt").write_text("a\nb"), ValueError, "share no image.*'b'"),
        (
            lambda r: (r / "edge").rename(r / "edgs"),
            ValueError,
            r"'human_parts', 'normals'.*Did you mean 'edge'\?.*tasks.json`, like \[\{\"name\": \"edgs\", \"channels\"",
        ),
        (lambda r: (r / "tasks.json").write_text("["), ValueError, "tasks.json` must be JSON"),
        (lambda r: write_json(r / "tasks.json", {"edge": 1}), ValueError, "a list of objects"),
        (lambda r: write_json(r / "tasks.json", [{"name": "edge"}]), ValueError, "must have `name`, `channels`"),
        (lambda r: add_task(r, "tag", "classification", 5), ValueError, "classification is not read"),
        (lambda r: add_task(r, "id", "edge"), ValueError, "must not be named id"),
        (lambda r: add_task(r, "../x", "edge"), ValueError, "tasks.json`: A task's `name` must be"),
        (lambda r: add_task(r, "x", "edge", 2), ValueError, "tasks.json`: `channels` must be 1"),
        (lambda r: add_task(r, "x", "edges"), ValueError, "Did you mean 'edge'"),
        (lambda r: add_task(r, "x", "edge", color=1), ValueError, "may have .*'color'"),
        (
            lambda r: write_json(r / "tasks.json", 2 * [{"name": "edge", "channels": 1, "kind": "edge"}]),
            ValueError,
            "'edge' twice",
        ),
        (
            lambda r: write_json(r / "tasks.json", [{"name": "x", "channels": 1, "kind": "edge"}]),
            ValueError,
            "'x'.* must have a folder of labels",
        ),
    ],
)
def test_a_wrong_layout_is_refused_at_once(root, damage, error, words):
    damage(root)
    with pytest.raises(error, match=words):
        Builder(root)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-30])


def save_turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path.unlink()
    Image.fromarray(np.zeros((*SIZE, 3), "uint8")).save(path.with_suffix(".jpg"), exif=exif)


def save_image(path, values, **options):
    Image.fromarray(values).save(path, **options)


def replace_npy(path, values):
    path.unlink(missing_ok=True)
    save_npy(path.with_suffix(".npy"), values)


def pickled(path):
    path.unlink()
    np.save(path.with_suffix(".npy"), np.array([print], object), allow_pickle=True)


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("images/a.png", cut_short, "readable JPEG or PNG"),
        ("images/a.png", lambda p: save_image(p, class_ids(0), format="BMP"), "readable JPEG or PNG"),
        ("images/a.png", lambda p: save_png(p, np.zeros(SIZE, "uint16")), "8 bits a channel"),
        ("images/a.png", save_turned, "stored upright.*orientation 6"),
        ("semseg/a.png", cut_short, "readable PNG"),
        ("semseg/a.png", lambda p: save_image(p, class_ids(0), format="JPEG"), "readable PNG"),
        ("semseg/a.png", lambda p: save_png(p, np.zeros((*SIZE, 3), "uint8")), "one channel.*'RGB'"),
        ("semseg/a.png", lambda p: save_png(p, class_ids(0)[:-1]), r"large as its image, \(12, 16\).*\(11, 16\)"),
        ("semseg/a.png", lambda p: save_png(p, class_ids(0, 23) // 22 * 22), "ids in 0 … 20, or 255.*22"),
        ("semseg/a.png", lambda p: replace_npy(p, class_ids(0).astype(float)), "integer class ids.*float64"),
        ("semseg/a.png", lambda p: replace_npy(p, np.full(SIZE, -1)), "class ids in 0 … 20"),
        ("semseg/a.png", pickled, "Object arrays cannot be loaded"),
        ("edge/a.png", lambda p: save_png(p, class_ids(0)), "0 and 255, or 0, 1 and 255.*here 1 is"),
        ("edge/a.png", lambda p: save_png(p, np.full(SIZE, 128, "uint8")), "here 255 is the foreground.*also 128"),
        ("edge/a.png", lambda p: replace_npy(p, np.full(SIZE, np.nan)), "also nan"),
        ("normals/a.png", lambda p: save_png(p, class_ids(0)), "RGB image"),
        ("normals/a.png", lambda p: save_png(p, np.full((*SIZE, 3), 255, "uint8")), "length 1 within 5 %.*1.73"),
        ("normals/a.png", lambda p: replace_npy(p, unit_vectors(0) / 2), "length 1 within 5 %.*0.5"),
        ("normals/a.png", lambda p: replace_npy(p, np.full((*SIZE, 3), np.nan)), "must be finite"),
        ("normals/a.png", lambda p: replace_npy(p, unit_vectors(0)[..., :2]), r"vectors .* shape \(12, 16, 2\)"),
        ("normals/a.png", lambda p: replace_npy(p, np.ones((*SIZE, 3), int)), "floating-point unit vectors"),
        ("depth/a.npy", cut_short, "`.npy` file"),
        ("depth/a.npy", lambda p: save_npy(p, np.full(SIZE, np.nan)), "must be finite.*192 values"),
        ("depth/a.npy", lambda p: save_npy(p, np.full(SIZE, np.inf)), "must be finite"),
        ("depth/a.npy", lambda p: save_npy(p, np.full(SIZE, 1e300)), "must be finite"),
        ("depth/a.npy", lambda p: save_npy(p, np.full(SIZE, -1.0)), "metres above 0, or 0"),
        ("depth/a.npy", lambda p: save_npy(p, np.full(SIZE, 2500)), "were they millimetres"),
        ("depth/a.npy", lambda p: save_npy(p, np.ones((*SIZE, 2))), "must be of shape"),
        (
            "depth/a.npy",
            lambda p: (p.unlink(), save_png(p.with_suffix(".png"), class_ids(0))),
            "16 bits in millimetres",
        ),
    ],
)
def test_a_wrong_file_is_named_and_leaves_nothing(root, file, damage, words):
    # One task alone, so that no other file can be the cause.
    task = file.split("/")[0]
    keep_task(root, "edge" if task == "images" else task)
    damage(root / file)
    stem = file.rsplit(".", 1)[0]
    with pytest.raises(ValueError, match=f"(?s){stem}.*{words}"):
        prepare(root)
    assert not list((root.parent / "prepared").rglob("*.tfrecord*"))


def test_greys_of_four_bits_are_refused(root):
    """Pillow reads the 15 levels of such a file as 0, 17, … 255."""
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 4, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" + b"".join(b"\x11" * (SIZE[1] // 2) + b"\0" for _ in range(SIZE[0]))[:-1])
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    (root / "semseg" / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match="semseg/a.png` must be a PNG of 1, 8 or 16 bits. Received: 4 bits"):
        prepare(root)
