"""Several replicas train as one device does on the same batches."""

import json
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
from support.folders import SUPPORT, environment
from support.tiny import tiny_data

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute needs TensorFlow")
WORKER = SUPPORT / "distributed_worker.py"
SECONDS = 300
LOSS = 1e-4  # relative, over ten steps
WEIGHT = 1e-3  # relative to the largest of a tensor


def start(strategy, optimizer, out, cluster=None):
    variables = {"TF_CPP_MIN_LOG_LEVEL": "2"} | ({} if cluster is None else {"TF_CONFIG": json.dumps(cluster)})
    return subprocess.Popen(
        [sys.executable, WORKER, strategy, optimizer, out],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(processes):
    try:
        for process in processes:
            output, _ = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, output[-3000:]
    finally:
        for process in processes:
            process.kill()


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """What one device gets, `{optimizer: arrays}`."""
    folder = tmp_path_factory.mktemp("one")
    finish([start("none", name, str(folder / f"{name}.npz")) for name in ("sgd", "adamw")])
    return {name: dict(np.load(folder / f"{name}-0.npz")) for name in ("sgd", "adamw")}


def assert_close(received, expected):
    assert received.keys() == expected.keys()
    assert sum(name.startswith("step/") for name in expected) == 10 * 5
    for name, value in expected.items():
        kind = name.split("/")[0]
        tolerance = LOSS if kind in ("step", "epoch", "evaluate") else WEIGHT
        np.testing.assert_allclose(
            received[name], value, rtol=0, atol=tolerance * max(np.abs(value).max(), 1e-3), err_msg=name
        )


def assert_saved_model_predicts(path, results):
    model = keras.saving.load_model(path)
    predicted = model.predict(tiny_data(4, seed=1)[0], verbose=0, batch_size=4)["depth"]
    np.testing.assert_allclose(predicted, results["predictions"], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_mirrored(one_device, tmp_path, optimizer):
    finish([start("mirrored", optimizer, str(tmp_path / "out.npz"))])
    results = dict(np.load(tmp_path / "out-0.npz"))
    assert_close(results, one_device[optimizer])
    assert_saved_model_predicts(tmp_path / "out.keras", results)


@pytest.mark.slow
def test_mirrored_with_an_optimizer_for_each_task(tmp_path):
    for strategy in ("none", "mirrored"):
        finish([start(strategy, "by_task", str(tmp_path / f"{strategy}.npz"))])
    expected, results = (dict(np.load(tmp_path / f"{strategy}-0.npz")) for strategy in ("none", "mirrored"))
    assert_close(results, expected)
    assert_saved_model_predicts(tmp_path / "mirrored.keras", results)


@pytest.mark.slow
def test_two_workers(one_device, tmp_path):
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    clusters = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}} for i in (0, 1)]
    finish([start("multi_worker", "sgd", str(tmp_path / "out.npz"), cluster) for cluster in clusters])
    first, second = (dict(np.load(tmp_path / f"out-{i}.npz")) for i in (0, 1))
    assert_close(first, one_device["sgd"])
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value, err_msg=name)
    assert_saved_model_predicts(tmp_path / "out.keras", first)


def test_an_unfinished_cluster_is_explained(monkeypatch):
    from rc_keras.zoo.strategy import make_strategy

    with pytest.raises(ValueError, match="Did you mean 'mirrored'"):
        make_strategy("miror")
    for text in ("", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}'):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(ValueError, match="TF_CONFIG must describe the cluster"):
            make_strategy("multi_worker")


def test_no_strategy_is_nothing_at_all():
    from rc_keras.zoo.strategy import make_strategy

    none = make_strategy("none")
    assert (none.num_replicas, none.num_workers, none.is_chief) == (1, 1, True)
    data = object()
    assert none.distribute(data) is data
    none.wait()
