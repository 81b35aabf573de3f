"""The LiteRT runtime: answers of the file itself, whatever lies in its cache; errors instead of wrong answers."""

import hashlib
import sys

import keras
import numpy as np
import pytest
from support.tiny import TASKS, tiny_backbone, tiny_decoder
from support.trained import pretend_training

import rc_keras
import rc_keras.export
from rc_keras.export.formats.tflite import weight_cache
from rc_keras.export.formats.tflite.runtime import LiteRTNetwork
from rc_keras.export.runtime import load

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
pytest.importorskip("ai_edge_litert")

TOLERANCE = 1e-4  # largest difference from the model, of the range of its output
NAMES = ["semseg", "edge", "depth"]


def images(height=32, width=32, n=2, seed=5):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3)).astype("uint8")


def model_of(seed=0, size=32, tasks=TASKS):
    backbone = tiny_backbone()
    return pretend_training(
        rc_keras.build(list(tasks), backbone, tiny_decoder(), image_shape=(size, size, 3), seed=0), seed
    )


@pytest.fixture(scope="module")
def model():
    return model_of()


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """`{precision: path}`."""
    folder = tmp_path_factory.mktemp("files")
    paths = {name: folder / f"{name}.tflite" for name in ("float32", "int8")}
    model.export(paths["float32"], tasks=NAMES, segmentation="class_ids", verbose=False)
    model.export(paths["int8"], tasks=NAMES, quantize="int8", representative_data=images(n=4), verbose=False)
    return paths


@pytest.fixture
def path(files):
    return files["int8"]


def interpreted(path, task, image):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(path)).get_signature_runner(task)(image=image[None].astype("float32"))[task][0]


def answers(path, **options):
    with load(path, **options) as network:
        return {name: network.run(images()[0], name) for name in network.tasks}


def assert_same_answers(path, received):
    assert set(received) == set(NAMES)
    for name, answer in received.items():
        np.testing.assert_array_equal(answer, interpreted(path, name, images()[0]), err_msg=name)


def test_it_answers_what_the_model_answers(files, model, tmp_path):
    with LiteRTNetwork(files["float32"], threads=1, cache_dir=tmp_path) as network:
        assert network.runtime == "CompiledModel"
        assert sorted(network.tasks) == sorted(NAMES)
        assert network.metadata["tasks"]["depth"]["output"].startswith("metres")
        for batch in (images(), images().astype("float32"), images().astype("float64")):
            depth = network.run(batch, "depth")
            expected = keras.ops.convert_to_numpy(model(batch.astype("float32"), tasks=["depth"])["depth"])
            assert depth.shape == (2, 32, 32, 1) and depth.dtype == "float32"
            np.testing.assert_allclose(depth, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))
            np.testing.assert_array_equal(network.run(batch[1], "depth"), depth[1])
        ids = network.run(images(), "semseg")
        assert ids.dtype == np.uint8 and ids.shape == (2, 32, 32)
        expected = keras.ops.convert_to_numpy(model(images(), tasks=["semseg"])["semseg"]).argmax(-1)
        assert (ids == expected).mean() > 0.999


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_packed_weights_answer_as_the_interpreter_does_for_every_task(files, precision, tmp_path):
    """Tasks share kernels but not scales: packed by the address of the kernel, the first one's would win."""
    for _ in ("packed", "found"):
        assert_same_answers(files[precision], answers(files[precision], cache_dir=tmp_path))


def test_packed_weights_are_found_again(path, tmp_path):
    answers(path, cache_dir=tmp_path)
    (cached,) = tmp_path.iterdir()
    assert cached.name.startswith(hashlib.sha256(path.read_bytes()).hexdigest())
    before = cached.stat()
    answers(path, cache_dir=tmp_path)
    assert [cached] == list(tmp_path.iterdir())
    assert (cached.stat().st_mtime_ns, cached.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: bytes(len(content)),
        lambda content: content[:-5000] + bytes(b ^ 64 for b in content[-5000:-4000]) + content[-4000:],
        lambda content: np.random.default_rng(0).bytes(len(content)),
    ],
    ids=["empty", "half", "zeros", "flipped", "random"],
)
def test_damaged_packed_weights_are_made_anew(path, tmp_path, damage):
    answers(path, cache_dir=tmp_path)
    (cached,) = tmp_path.iterdir()
    whole = cached.read_bytes()
    cached.write_bytes(damage(whole))
    assert_same_answers(path, answers(path, cache_dir=tmp_path))
    (cached,) = tmp_path.iterdir()
    assert cached.read_bytes() == whole


@pytest.mark.slow
def test_a_new_file_under_the_same_name_does_not_get_old_weights(tmp_path):
    path, cache = tmp_path / "m.tflite", tmp_path / "cache"
    received = []
    for seed in (0, 1):
        model_of(seed, tasks=TASKS[3:]).export(path, overwrite=True, verbose=False)
        received.append(answers(path, cache_dir=cache)["depth"])
        np.testing.assert_array_equal(received[-1], interpreted(path, "depth", images()[0]))
    assert not np.allclose(*received, rtol=0, atol=0.1 * np.ptp(received[0]))
    assert len(list(cache.iterdir())) == 2


def test_an_interruption_leaves_no_half_packed_weights(path, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(weight_cache.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        answers(path, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_cache_lies_with_the_users_caches(path, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert_same_answers(path, answers(path))
    assert len(list((tmp_path / "rc_keras" / "litert").iterdir())) == 1


def test_without_a_folder_to_write_in(path, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with load(path) as network:
        assert network.runtime == "CompiledModel"
    assert_same_answers(path, answers(path))
    with pytest.raises(OSError, match="file"):
        answers(path, cache_dir=tmp_path / "file" / "cache")


def test_without_the_compiled_model_the_interpreter_answers(path, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.compiled_model", None)
    with load(path, threads=1, cache_dir=tmp_path) as network:
        assert network.runtime == "Interpreter"
        assert_same_answers(path, {name: network.run(images()[0], name) for name in network.tasks})
    assert list(tmp_path.iterdir()) == []


def test_free_sizes(tmp_path):
    backbone, path = tiny_backbone(), tmp_path / "m.tflite"
    model = rc_keras.build(list(TASKS[3:]), backbone, tiny_decoder(), image_shape=(None, None, 3), seed=0)
    pretend_training(model).export(path, verbose=False)
    with load(path, cache_dir=tmp_path / "cache") as network:
        assert network.runtime == "Interpreter"
        for size in ((101, 75), (32, 48), (101, 75)):
            image = images(*size)
            expected = keras.ops.convert_to_numpy(model(image)["depth"])
            received = network.run(image, "depth")
            np.testing.assert_allclose(received, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))
        with pytest.raises(ValueError, match="Images must be"):
            network.run(np.zeros((32, 32, 1), "uint8"), "depth")


# Errors


@pytest.mark.parametrize(
    "image, task, message",
    [
        (np.zeros((32, 33, 3), "uint8"), "edge", r"size \(any, 32, 32, 3\). Received: \(1, 32, 33, 3\)"),
        (np.zeros((1, 16, 16, 3), "uint8"), "edge", "Images must be"),
        (np.zeros((32, 32), "uint8"), "edge", "Images must be"),
        (np.zeros((0, 32, 32, 3), "uint8"), "edge", "at least one image"),
        (np.full((32, 32, 3), np.nan), "edge", "finite"),
        (np.zeros((32, 32, 3), "bool"), "edge", "uint8 or float"),
        (np.zeros((32, 32, 3), "uint8"), "egde", "Did you mean 'edge'"),
    ],
)
def test_what_cannot_be_computed_is_refused(path, tmp_path, image, task, message):
    with load(path, cache_dir=tmp_path) as network, pytest.raises(ValueError, match=message):
        network.run(image, task)


def test_closed_is_closed(path, tmp_path):
    network = load(path, cache_dir=tmp_path)
    network.close()
    network.close()
    with pytest.raises(RuntimeError, match="closed"):
        network.run(images()[0], "edge")


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_threads_must_be_positive(path, threads):
    with pytest.raises(ValueError, match="threads"):
        load(path, threads=threads)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "m.tflite")
    with pytest.raises(FileNotFoundError):
        LiteRTNetwork(tmp_path / "m.tflite")


def test_files_that_are_cut_off_are_refused(path, tmp_path):
    content = path.read_bytes()
    cut = tmp_path / "cut.tflite"
    for length in (0, 4, 8, 100, len(content) // 3, len(content) - 4096, len(content) - 1):
        cut.write_bytes(content[:length])
        with pytest.raises(ValueError, match="path"):
            load(cut, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_every_flipped_bit_is_noticed(path, tmp_path):
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    flipped = tmp_path / "flipped.tflite"
    for position in [0, 5, 9, *generator.integers(0, len(content), 60)]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(generator.integers(8))
        flipped.write_bytes(damaged)
        with pytest.raises(ValueError, match="path"):
            load(flipped, cache_dir=tmp_path / "cache")


def test_files_from_elsewhere_are_refused(tmp_path):
    import tensorflow as tf

    layer = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    function = tf.function(layer).get_concrete_function(tf.TensorSpec((1, 4)))
    path = tmp_path / "m.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
    with pytest.raises(ValueError, match="from elsewhere"):
        load(path)
    path.write_bytes(b"\x00" * 4 + b"PK03" + bytes(100))
    with pytest.raises(ValueError, match=r"must be a \.tflite file"):
        load(path)
