"""Presets that have a name: in the package, downloaded, listed; and which of them a name means."""

import shutil
import threading
from pathlib import Path

import pytest
from support.file_server import serving
from support.tiny import TASKS, assert_same_bits, state, tiny_model
from support.trained import pretend_training

import rc_keras
from rc_keras.files import manifest
from rc_keras.from_preset import listed_tasks
from rc_keras.published import download, registry
from rc_keras.published.local_folder import cache_folder, local_folder
from rc_keras.published.registry import PRESETS, PublishedPreset

WEIGHTS = ["bank/bank.safetensors", "tasks/edge/task.rctask", "tasks/semseg/task.rctask"]


@pytest.fixture(scope="module")
def model():
    """On a backbone that has no name, and that nothing but the preset knows."""
    return pretend_training(tiny_model(TASKS[:2]))


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "attic"
    model.save_to_preset(folder, dtype="float16")
    return folder


@pytest.fixture
def packaged(saved, tmp_path, monkeypatch):
    """A package with the preset `attic`, on a machine where nothing was downloaded and the network is far."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "_PAUSE", 0.0)
    monkeypatch.setattr(registry, "PACKAGED", str(tmp_path / "packaged"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in list(PRESETS):
        monkeypatch.delitem(PRESETS, name)
    monkeypatch.setitem(PRESETS, "attic", PublishedPreset("Rooms under a roof.", "CC0-1.0"))
    return Path(shutil.copytree(saved, tmp_path / "packaged" / "attic"))


@pytest.fixture
def server(packaged, saved, monkeypatch):
    """As `packaged`, where the weights are on a server instead."""
    with serving({f"/attic/{name}": (saved / name).read_bytes() for name in WEIGHTS}) as server:
        monkeypatch.setitem(PRESETS, "attic", PublishedPreset("Of the net.", "CC0-1.0", f"{server.url}/attic"))
        shutil.rmtree(packaged / "bank")
        shutil.rmtree(packaged / "tasks")
        yield server


def asked(server):
    return [path.removeprefix("/attic/") for _, path, *_ in server.requests]


def weights(model):
    """Of all tasks, each with the bank."""
    return {f"{name}/{key}": value for name in model.tasks for key, value in state(model.branch(name)).items()}


@pytest.fixture(scope="module")
def expected(saved):
    return weights(rc_keras.from_preset(saved))


def where():
    (info,) = [info for info in rc_keras.presets() if info.name == "attic"]
    return info.where


# Every entry of the registry


def test_published_presets_are_whole_and_from_safe_places():
    for info in rc_keras.presets():
        entry, files = PRESETS[info.name], registry.published_files(info.name)
        assert entry.description and entry.licence and info.tasks and info.parameters > 0
        assert "\n" not in entry.description and Path(info.name).name == info.name
        assert entry.url is None or (entry.url.startswith("https://") and not entry.url.endswith("/"))
        for name in files:
            path = Path(registry.packaged_folder(info.name), name)
            if entry.url is None or path.exists():
                manifest.check_file(str(path), files[name])


def test_published_presets_of_the_package_are_loaded():
    for info in rc_keras.presets():
        if info.where == "in the package":
            assert rc_keras.from_preset(info.name).tasks == list(info.tasks)


# In the package


def test_a_preset_of_the_package_is_loaded_by_name(packaged, model, expected, tmp_path):
    loaded = rc_keras.from_preset("attic")
    assert loaded.tasks == model.tasks == listed_tasks("attic")
    assert_same_bits(weights(loaded), expected)
    assert rc_keras.from_preset("attic", tasks=["edge"]).tasks == ["edge"]
    assert not (tmp_path / "home").exists()


def test_a_folder_comes_before_a_name(packaged, model, monkeypatch):
    """What was saved as `attic` is what `attic` loads; a folder of other things is in nobody's way."""
    Path("attic").mkdir()
    assert rc_keras.from_preset("attic").tasks == model.tasks
    for folder in ("./attic", Path("attic"), Path("attic").absolute()):
        with pytest.raises(FileNotFoundError, match=r"There is no file .*attic.config\.json$"):
            rc_keras.from_preset(folder)
    rc_keras.from_preset("attic", tasks=["edge"]).save_to_preset("attic")
    assert rc_keras.from_preset("attic").tasks == rc_keras.from_preset("./attic").tasks == ["edge"]


def test_names_that_nothing_has(packaged):
    with pytest.raises(
        FileNotFoundError, match=r"no file atic.config\.json\. As a name.*'attic'.*Did you mean 'attic'"
    ):
        rc_keras.from_preset("atic")
    with pytest.raises(FileNotFoundError, match=r"no file .*atic.config\.json$"):
        rc_keras.from_preset("./atic")


def test_the_list(packaged, model):
    (info,) = [info for info in rc_keras.presets() if info.name == "attic"]
    assert info.tasks == tuple(model.tasks) and info.parameters == model.parameter_report().total
    assert info.bytes == sum((packaged / name).stat().st_size for name in manifest.read(str(packaged)))
    assert (info.licence, info.description, info.where) == ("CC0-1.0", "Rooms under a roof.", "in the package")
    table = str(rc_keras.presets())
    for text in (
        "attic",
        "semseg, edge",
        f"{info.parameters:,}",
        f"{info.bytes / 1e6:.1f} MB",
        "CC0-1.0",
        "Rooms under",
        "in the package",
    ):
        assert text in table
    assert repr(rc_keras.presets()) == table


def test_the_list_without_presets(monkeypatch):
    for name in list(PRESETS):
        monkeypatch.delitem(PRESETS, name)
    assert len(rc_keras.presets()) == 0 and "No presets" in str(rc_keras.presets())


# Downloaded


def test_a_preset_is_downloaded_once(server, expected, tmp_path):
    assert where() == "to download" and server.requests == []
    assert_same_bits(weights(rc_keras.from_preset("attic")), expected)
    assert sorted(asked(server)) == WEIGHTS and where() == "downloaded"
    rc_keras.from_preset("attic")
    assert len(server.requests) == 3
    folder = Path(cache_folder("attic"))
    assert folder.is_relative_to(tmp_path / "home" / "rc_keras" / "presets")
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == sorted(
        [*WEIGHTS, "config.json", "manifest.json", "metadata.json"]
    )


def test_other_tasks_are_not_downloaded(server):
    assert rc_keras.from_preset("attic", tasks=["edge"]).tasks == ["edge"]
    assert sorted(asked(server)) == WEIGHTS[:2] and where() == "to download"
    rc_keras.from_preset("attic")
    assert asked(server)[2:] == WEIGHTS[2:]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (["egde"], r"`tasks` must be one of \['edge', 'semseg'\].*Did you mean 'edge'"),
        (["../edge"], r"`tasks` must be one of \['edge', 'semseg'\]"),
        ("edge", "`tasks` must be a list of task names"),
        ([0], "`tasks` must be a list of task names"),
        (["edge", "edge"], "`tasks` must be different names"),
    ],
)
def test_wrong_tasks_are_refused_before_a_download(tasks, message, server):
    with pytest.raises(ValueError, match=message):
        rc_keras.from_preset("attic", tasks=tasks)
    assert asked(server) == []


def test_a_damaged_download_is_replaced(server, expected):
    rc_keras.from_preset("attic")
    (Path(cache_folder("attic")) / WEIGHTS[0]).write_bytes(b"damaged")
    assert_same_bits(weights(rc_keras.from_preset("attic")), expected)
    assert asked(server)[3:] == WEIGHTS[:1]


def test_a_download_that_broke_off_goes_on(server):
    server.cut[f"/attic/{WEIGHTS[0]}"] = 1000
    rc_keras.from_preset("attic")
    assert ("GET", f"/attic/{WEIGHTS[0]}", "bytes=1000-", 206) in server.requests


def test_two_at_once_download_once(server):
    """Threads lock as processes do: each opens the lock's file."""
    folders = []
    threads = [threading.Thread(target=lambda: folders.append(local_folder("attic"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders == [cache_folder("attic")] * 2 and sorted(asked(server)) == WEIGHTS


def test_without_a_network_it_says_what_to_put_where(server, saved, expected):
    """And obeyed, it works."""
    for path in list(server.files):
        del server.files[path]
    with pytest.raises(OSError, match="'attic' is not on this machine and could not be downloaded .*404") as raised:
        rc_keras.from_preset("attic")
    for name, entry in manifest.read(str(saved)).items():
        assert (name in str(raised.value)) == (name in WEIGHTS)
        if name in WEIGHTS:
            target = Path(cache_folder("attic"), name)
            assert f"{server.url}/attic/{name} ({entry['bytes']:,} bytes, sha256 {entry['sha256']})" in str(
                raised.value
            )
            assert f"as {target}" in str(raised.value)
            shutil.copy(saved / name, target)
    assert_same_bits(weights(rc_keras.from_preset("attic")), expected)


def test_another_file_than_the_published_one(server):
    server.files[f"/attic/{WEIGHTS[0]}"] = bytes(len(server.files[f"/attic/{WEIGHTS[0]}"]))
    with pytest.raises(OSError, match="is not the published file: its sha256 must be"):
        rc_keras.from_preset("attic")
    assert not (Path(cache_folder("attic")) / WEIGHTS[0]).exists()


def test_a_manifest_that_leads_out_of_the_folder(server, packaged, tmp_path):
    listed = (packaged / "manifest.json").read_text()
    for name in ("../evil", "tasks/../../evil/task.rctask", "/evil", "tasks/..\\evil/task.rctask"):
        (packaged / "manifest.json").write_text(listed.replace("tasks/edge/task.rctask", name.replace("\\", "\\\\")))
        with pytest.raises(ValueError, match="names must be of files in the folder"):
            rc_keras.from_preset("attic")
    assert server.requests == [] and not list(tmp_path.rglob("evil"))
