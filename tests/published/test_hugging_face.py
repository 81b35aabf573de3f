"""Presets on the Hugging Face Hub, with its own client and a server on the loopback."""

import importlib
import json
import sys

import pytest
from support.file_server import serving
from support.tiny import TASKS, assert_same_bits, state, tiny_model
from support.trained import pretend_training

import rc_keras
from rc_keras.from_preset import listed_tasks

COMMIT, BRANCH = "0" * 39 + "1", "0" * 39 + "2"


@pytest.fixture(scope="module")
def model():
    return pretend_training(tiny_model(TASKS[:2]))


@pytest.fixture(scope="module")
def content(model, tmp_path_factory):
    """`{name: bytes}` of a preset, and of more that a repository holds."""
    folder = tmp_path_factory.mktemp("saved")
    model.save_to_preset(folder)
    (folder / "model.py").write_text("raise SystemExit('code of a repository was run')")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def hub(content, tmp_path, monkeypatch):
    """The server; its `put` makes a commit of `{name: bytes}`."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="the client that is tested is not installed")
    with serving({}) as server, monkeypatch.context() as patch:
        patch.setenv("HF_ENDPOINT", server.url)
        patch.setenv("HF_HOME", str(tmp_path / "hub"))
        for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
            patch.delenv(name, raising=False)
        importlib.reload(constants)  # read once, and by now

        def put(files, revision="main", commit=COMMIT):
            server.headers["X-Repo-Commit"] = commit
            for name, data in files.items():
                for each in (revision, commit):
                    server.files[f"/owner/rooms/resolve/{each}/{name}"] = data

        server.put = put
        put(content)
        yield server
    importlib.reload(constants)


def fetched(server):
    """Names of the files whose content was sent."""
    paths = [path for method, path, *_ in server.requests if method == "GET" and "/resolve/" in path]
    return sorted(path.split("/resolve/")[1].partition("/")[2] for path in paths)


def weights(model):
    """Of all tasks, each with the bank."""
    return {f"{name}/{key}": value for name in model.tasks for key, value in state(model.branch(name)).items()}


def test_a_preset_of_the_hub(hub, model, content):
    loaded = rc_keras.from_preset("hf://owner/rooms")
    assert_same_bits(weights(loaded), weights(model))
    assert fetched(hub) == sorted(content.keys() - {"README.md", "model.py"})
    assert listed_tasks("hf://owner/rooms") == model.tasks
    assert len(fetched(hub)) == len(content) - 2  # nothing is fetched twice


def test_some_tasks_of_the_hub(hub):
    assert rc_keras.from_preset("hf://owner/rooms", tasks=["edge"]).tasks == ["edge"]
    assert "tasks/edge/task.rctask" in fetched(hub) and "tasks/semseg/task.rctask" not in fetched(hub)


def test_a_task_that_the_hub_lacks_is_refused_before_a_download(hub):
    with pytest.raises(ValueError, match=r"`tasks` must be one of .*'edge'.*Did you mean 'edge'"):
        rc_keras.from_preset("hf://owner/rooms", tasks=["egde"])
    assert fetched(hub) == ["manifest.json"]


def test_a_revision(hub, model, tmp_path):
    edge = rc_keras.from_preset("hf://owner/rooms", tasks=["edge"])
    edge.save_to_preset(tmp_path / "edge")
    folder = tmp_path / "edge"
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    hub.put(files, "v2", BRANCH)
    assert rc_keras.from_preset("hf://owner/rooms@v2").tasks == ["edge"]
    assert rc_keras.from_preset(f"hf://owner/rooms@{BRANCH}").tasks == ["edge"]


def test_what_is_in_the_cache_needs_no_network(hub, model, monkeypatch):
    rc_keras.from_preset("hf://owner/rooms", tasks=["edge"])
    hub.files.clear()
    count = len(hub.requests)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert rc_keras.from_preset("hf://owner/rooms", tasks=["edge"]).tasks == ["edge"]
    with pytest.raises(
        OSError, match=r"tasks/semseg/task\.rctask of the preset hf://owner/rooms .*hf download owner/rooms"
    ):
        rc_keras.from_preset("hf://owner/rooms")
    assert len(hub.requests) == count


def test_what_is_no_preset(hub):
    hub.files.clear()
    with pytest.raises(OSError, match=r"manifest\.json of the preset hf://owner/rooms could not be had"):
        rc_keras.from_preset("hf://owner/rooms")


def test_files_other_than_the_manifest_lists(hub, content):
    hub.put({"bank/bank.safetensors": content["bank/bank.safetensors"][:-1] + b"\xff"})
    with pytest.raises(
        ValueError, match=r"bank\.safetensors must be the file that the manifest\.json of its folder lists"
    ):
        rc_keras.from_preset("hf://owner/rooms")


@pytest.mark.parametrize("name", ["../evil", "tasks/../../../../evil/task.rctask", "/evil", "tasks/.evil/task.rctask"])
def test_a_manifest_that_leads_out_of_the_folder(name, hub, content, tmp_path):
    listed = json.loads(content["manifest.json"])
    listed["files"][name] = listed["files"]["config.json"]
    hub.put({"manifest.json": json.dumps(listed).encode()})
    with pytest.raises(ValueError, match="names must be of files in the folder"):
        rc_keras.from_preset("hf://owner/rooms")
    assert fetched(hub) == ["manifest.json"] and not list(tmp_path.rglob("*evil*"))


def test_what_else_a_manifest_lists_is_not_fetched(hub, content):
    listed = json.loads(content["manifest.json"])
    for name in ("model.py", "tasks/edge/model.py", "tasks/edge/deep/task.rctask", "bank/other.safetensors"):
        listed["files"][name] = listed["files"]["config.json"]
    hub.put({"manifest.json": json.dumps(listed).encode()})
    rc_keras.from_preset("hf://owner/rooms")
    assert fetched(hub) == sorted(content.keys() - {"README.md", "model.py"})


def test_code_in_a_config_of_the_hub(hub, content):
    config = json.loads(content["config.json"])
    config["model"]["note"] = [{"class_name": "__lambda__", "config": {"value": ["4wAA", None, None]}}]
    data = json.dumps(config).encode()
    listed = json.loads(content["manifest.json"])
    listed["files"]["config.json"] = rc_keras.files.manifest.entry_of_bytes(data)
    hub.put({"config.json": data, "manifest.json": json.dumps(listed).encode()})
    with pytest.raises(ValueError, match="must hold data, not arbitrary code"):
        rc_keras.from_preset("hf://owner/rooms")


@pytest.mark.parametrize("handle", ["hf://", "hf://rooms", "hf://a/b/c", "hf://a/../b", "hf://a/b@", "hf://a/b?x=1"])
def test_malformed_handles(handle):
    with pytest.raises(
        ValueError, match=r"'hf://owner/name' or 'hf://owner/name@revision'.* Received: directory='hf://"
    ):
        rc_keras.from_preset(handle)


def test_without_the_client(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install rc_keras\[hub\]"):
        rc_keras.from_preset("hf://owner/rooms")


def test_saving_to_the_hub_says_how(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="must be a folder; for the Hugging Face Hub, .* hf upload"):
        model.save_to_preset("hf://owner/rooms")
    assert not list(tmp_path.iterdir())
