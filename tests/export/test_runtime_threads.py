"""One exported file, open once and run from several threads: every answer is that of the image and task asked for."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from support.tiny import TASKS, tiny_model
from support.trained import pretend_training

import rc_keras.export  # noqa: F401
from rc_keras.export import runtime
from rc_keras.export.formats.tflite import weight_cache

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
for package in ("ai_edge_litert", "onnx", "onnxruntime", "tf2onnx"):
    pytest.importorskip(package)

TOLERANCE = 1e-5  # largest difference from what one thread gets, of the range of the answer
THREADS = 4
ROUNDS = {"CompiledModel": 40, "Interpreter": 40, "onnx": 10, "saved_model": 4}  # the quicker a runtime, the more
NAMES = ["edge", "depth"]
IMAGES = np.random.default_rng(5).integers(0, 256, (8, 32, 32, 3)).astype("uint8")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    model = pretend_training(tiny_model([task for task in TASKS if task.name in NAMES]))
    paths = {"litert": folder / "m.tflite", "onnx": folder / "onnx", "tf_saved_model": folder / "saved_model"}
    for format, path in paths.items():
        model.export(path, format=format, verbose=False)
    return {
        "CompiledModel": paths["litert"],
        "Interpreter": paths["litert"],
        "onnx": paths["onnx"],
        "saved_model": paths["tf_saved_model"],
    }


@pytest.fixture(params=ROUNDS)
def name(request):
    """Of a runtime."""
    return request.param


@pytest.fixture
def open_network(name, paths, tmp_path, monkeypatch):
    """Function that opens the file of a runtime anew, with one thread of its own."""
    options = {} if name == "saved_model" else {"threads": 1}
    if name in ("CompiledModel", "Interpreter"):
        options["cache_dir"] = tmp_path
    if name == "Interpreter":
        monkeypatch.setitem(sys.modules, "ai_edge_litert.compiled_model", None)

    def open_anew():
        network = runtime.load(paths[name], **options)
        assert getattr(network, "runtime", name) == name
        return network

    return open_anew


@pytest.fixture
def hasty_threads():
    """Lets Python change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(function):
    """Answers of `function(0)` to `function(THREADS - 1)`, all begun at the same moment."""
    together = threading.Barrier(THREADS)

    def begin(thread):
        together.wait()
        return function(thread)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(begin, range(THREADS)))


def assert_expected(answers, expected):
    """Answers are pairs of `(task, index of the image)` and what came."""
    for key, answer in answers:
        np.testing.assert_allclose(answer, expected[key], rtol=0, atol=TOLERANCE * np.ptp(expected[key]))


def expected_answers(network):
    return {(task, i): network.run(IMAGES[i], task) for task in network.tasks for i in range(len(IMAGES))}


@pytest.mark.parametrize("tasks", [NAMES[:1], NAMES], ids=["one task", "two tasks"])
def test_threads_get_their_own_answers(open_network, hasty_threads, name, tasks):
    with open_network() as alone:
        expected = expected_answers(alone)

    with open_network() as network:  # no task of which has been run before

        def run(thread):
            task = tasks[thread % len(tasks)]
            return [((task, i), network.run(IMAGES[i], task)) for i in np.random.default_rng(thread).permutation(8)]

        answers = [answer for _ in range(ROUNDS[name]) for part in in_threads(run) for answer in part]
    assert_expected(answers, expected)


def test_batches_are_not_mixed(open_network, hasty_threads):
    with open_network() as network:
        expected = expected_answers(network)

        def run(thread):
            order = np.random.default_rng(thread).permutation(8)
            return [(("edge", i), answer) for i, answer in zip(order, network.run(IMAGES[order], "edge"), strict=True)]

        answers = [answer for part in in_threads(run) for answer in part]
    assert_expected(answers, expected)


def test_a_network_closed_under_its_threads_says_so(open_network, hasty_threads):
    for _ in range(3):
        network = open_network()
        expected = network.run(IMAGES[0], "depth")
        started = threading.Barrier(THREADS)

        def run(thread, network=network, started=started):
            started.wait()
            if thread == 0:
                network.close()
                return []
            answers = []
            with pytest.raises(RuntimeError, match="The network is closed"):
                while True:
                    answers.append((("depth", 0), network.run(IMAGES[0], "depth")))
            return answers

        answers = [answer for part in in_threads(run) for answer in part]
        assert_expected(answers, {("depth", 0): expected})


def test_a_run_that_a_close_overtakes_opens_nothing(open_network):
    network = open_network()
    network.close()
    with pytest.raises(RuntimeError, match="The network is closed"):  # past the check at the beginning of `run`
        network._answers(IMAGES[:1].astype("float32"), "depth")


def test_a_file_is_opened_in_several_threads_at_once(paths, tmp_path, hasty_threads):
    """Whether its packed weights are missing, there, or damaged."""
    path = paths["CompiledModel"]
    with runtime.load(path, threads=1, cache_dir=tmp_path / "first") as network:
        expected = expected_answers(network)

    def run(thread):
        with runtime.load(path, threads=1, cache_dir=tmp_path / "cache") as network:
            return [((task, thread), network.run(IMAGES[thread], task)) for task in network.tasks]

    for _ in range(3):
        answers = [answer for part in in_threads(run) for answer in part]
        assert_expected(answers, expected)
        (cached,) = (tmp_path / "cache").iterdir()
        cached.write_bytes(b"damaged")


def test_damaged_packed_weights_may_be_gone_already(tmp_path, monkeypatch):
    """Another process found them damaged too."""
    (tmp_path / "key.0123456789abcdef.xnnpack").write_bytes(b"damaged")
    remove = weight_cache.os.remove

    def remove_twice(path):
        remove(path)
        remove(path)

    monkeypatch.setattr(weight_cache.os, "remove", remove_twice)
    assert weight_cache.open_with_cache(lambda path: "network", tmp_path, "key") == "network"
