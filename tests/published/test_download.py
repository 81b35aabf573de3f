"""Downloads from a server on the loopback: cut off, resumed, changed meanwhile, forged."""

import os

import numpy as np
import pytest
from support.file_server import serving

from rc_keras.files import manifest
from rc_keras.published import download as module
from rc_keras.published.download import download

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
ENTRY = manifest.entry_of_bytes(CONTENT)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    with serving({"/file": CONTENT}) as server:
        yield server


def ranges(server):
    return [asked for _, _, asked, _ in server.requests]


def statuses(server):
    return [status for *_, status in server.requests]


def begin(server, path):
    """A download that was interrupted; returns how many bytes have come."""

    def interrupt(there):
        if there > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(f"{server.url}/file", str(path), ENTRY, interrupt)
    server.requests.clear()
    return path.with_name("file.part").stat().st_size


def test_the_file_alone_is_left(server, tmp_path):
    steps = []
    download(f"{server.url}/file", str(tmp_path / "file"), ENTRY, steps.append)
    assert (tmp_path / "file").read_bytes() == CONTENT and os.listdir(tmp_path) == ["file"]
    assert ranges(server) == [None] and steps[-1] == len(CONTENT) and steps == sorted(steps)


def test_a_broken_connection_is_taken_up_again(server, tmp_path):
    server.cut["/file"] = 100_000
    download(f"{server.url}/file", str(tmp_path / "file"), ENTRY)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert statuses(server) == [200, 206] and ranges(server)[1] == "bytes=100000-"


def test_the_next_call_goes_on(server, tmp_path):
    there = begin(server, tmp_path / "file")
    assert not (tmp_path / "file").exists() and 100_000 < there < len(CONTENT)
    download(f"{server.url}/file", str(tmp_path / "file"), ENTRY)
    assert (tmp_path / "file").read_bytes() == CONTENT and os.listdir(tmp_path) == ["file"]
    assert ranges(server) == [f"bytes={there}-"] and statuses(server) == [206]


def test_all_was_there_but_the_name(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    download(f"{server.url}/file", str(tmp_path / "file"), ENTRY)
    assert (tmp_path / "file").read_bytes() == CONTENT and server.requests == []


@pytest.mark.parametrize("has_etag", [True, False])
def test_the_beginning_of_another_file_is_not_kept(has_etag, server, tmp_path):
    """By the ETag at once; without one, once the sha256 is known."""
    server.files["/file"] = OTHER
    begin(server, tmp_path / "file")
    server.files["/file"] = CONTENT
    if not has_etag:
        (tmp_path / "file.etag").unlink()
    download(f"{server.url}/file", str(tmp_path / "file"), ENTRY)
    assert (tmp_path / "file").read_bytes() == CONTENT and os.listdir(tmp_path) == ["file"]
    assert statuses(server) == ([200] if has_etag else [206, 200])


def test_a_server_without_ranges_starts_anew(server, tmp_path):
    begin(server, tmp_path / "file")
    server.has_ranges = False
    download(f"{server.url}/file", str(tmp_path / "file"), ENTRY)
    assert (tmp_path / "file").read_bytes() == CONTENT and statuses(server) == [200]


@pytest.mark.parametrize("content", [OTHER, CONTENT + b"more", CONTENT[:-1] + b"?"])
def test_another_file_is_deleted(content, server, tmp_path):
    server.files["/file"] = content
    if len(content) > len(CONTENT):  # not one byte too many is taken, and what was asked for is right
        download(f"{server.url}/file", str(tmp_path / "file"), ENTRY)
        assert (tmp_path / "file").read_bytes() == CONTENT
        return
    with pytest.raises(OSError, match=f"is not the published file: its sha256 must be {ENTRY['sha256']}"):
        download(f"{server.url}/file", str(tmp_path / "file"), ENTRY)
    assert os.listdir(tmp_path) == [] and statuses(server) == [200]


@pytest.mark.parametrize("content", [b"", CONTENT[:1000]])
def test_a_shorter_file_is_given_up(content, server, tmp_path):
    server.files["/file"] = content
    with pytest.raises(OSError, match="ended after|416"):
        download(f"{server.url}/file", str(tmp_path / "file"), ENTRY)
    assert not (tmp_path / "file").exists() and len(server.requests) <= 2 * module._ATTEMPTS


def test_a_missing_file_is_asked_for_once(server, tmp_path):
    with pytest.raises(OSError, match="404"):
        download(f"{server.url}/other", str(tmp_path / "file"), ENTRY)
    assert statuses(server) == [404] and os.listdir(tmp_path) == []


def test_an_unreachable_server_is_tried_thrice(monkeypatch, tmp_path):
    calls = []

    def unreachable(request, timeout):
        calls.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr(module, "_PAUSE", 0.0)
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(OSError, match="timed out"):
        download("https://127.0.0.1/file", str(tmp_path / "file"), ENTRY)
    assert len(calls) == 3 and os.listdir(tmp_path) == []
