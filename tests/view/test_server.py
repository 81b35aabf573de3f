"""The server is for this computer alone, and serves the page and its export, and nothing else."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading

import pytest
from support.pretend_export import describe_tasks, pretend_litert, pretend_onnx

from rc_keras.view import make_server


@pytest.fixture
def serve():
    """Function from a path to a running server of it."""
    servers = []

    def start(path):
        server = make_server(path, download=False)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(server, path, method="GET", host=None):
    """`(response, body)`; the path goes as it is, without being made plain first."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    if host != "":
        connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_page_and_export_are_served(serve, tmp_path):
    server = serve(pretend_litert(tmp_path / "export"))
    answer, body = ask(server, "/")
    assert answer.status == 200 and b"<h1>m.tflite</h1>" in body
    assert ask(server, "/?a=b")[1] == body
    answer, content = ask(server, "/model/m.tflite")
    assert content == b"the model" and answer.headers["Content-Length"] == "9"
    assert json.loads(ask(server, "/model/m.tflite.description.json")[1])["format"] == "rc_keras.description"


def test_a_folder_serves_graphs_and_weights_that_its_description_names(serve, tmp_path):
    folder = pretend_onnx(tmp_path / "export", "semseg", "depth", joint="all")
    (folder / "another.onnx").write_bytes(b"of nobody")
    server = serve(folder)
    for name in ("bank.bin", "semseg.onnx", "semseg.bin", "depth.onnx", "depth.bin", "all.onnx", "description.json"):
        assert ask(server, f"/model/{name}")[1] == (folder / name).read_bytes(), name
    assert ask(server, "/model/another.onnx")[0].status == 404


@pytest.mark.parametrize(
    "name, kind",
    [
        ("", "text/html; charset=utf-8"),
        ("viewer.js", "text/javascript; charset=utf-8"),
        ("viewer.css", "text/css; charset=utf-8"),
        ("examples/1.jpg", "image/jpeg"),
        ("model/m.tflite", "application/octet-stream"),
        ("model/m.tflite.description.json", "application/json"),
    ],
)
def test_types_and_headers_of_every_answer(serve, tmp_path, name, kind):
    server = serve(pretend_litert(tmp_path / "export"))
    answer, body = ask(server, f"/{name}")
    assert answer.status == 200 and answer.headers["Content-Type"] == kind
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    head, nothing = ask(server, f"/{name}", "HEAD")
    assert nothing == b"" and int(head.headers["Content-Length"]) == len(body)


def test_runtime_modules_and_wasm_have_their_types(serve, tmp_path, monkeypatch):
    names = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
    (tmp_path / "dist").mkdir()
    for name in names:
        (tmp_path / "dist" / name).write_text(name)
    monkeypatch.setattr("rc_keras.view.page.find_package", lambda *arguments: tmp_path)
    server = serve(pretend_onnx(tmp_path / "export", "depth"))
    types = ["text/javascript; charset=utf-8"] * 2 + ["application/wasm"]
    for name, kind in zip(names, types, strict=True):
        answer, body = ask(server, f"/runtimes/onnxruntime-web/dist/{name}")
        assert answer.headers["Content-Type"] == kind and body == name.encode()


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/model/../../secret.txt",
        "/model/%2e%2e/secret.txt",
        "/model/..%2fsecret.txt",
        "/model/..%5csecret.txt",
        "//secret.txt",
        "/model/%00",
        "/model/secret.txt",
        "/model/",
        "/model",
        "/static/",
        "{folder}/secret.txt",
        "http://127.0.0.1{folder}/secret.txt",
    ],
)
def test_nothing_else_is_served(serve, tmp_path, path):
    server = serve(pretend_litert(tmp_path / "export"))
    for folder in (tmp_path, tmp_path / "export"):
        (folder / "secret.txt").write_text("a secret")
    answer, body = ask(server, path.format(folder=tmp_path))
    assert answer.status == 404 and b"a secret" not in body


def test_links_that_lead_out_are_refused(tmp_path):
    (tmp_path / "secret.bin").write_text("a secret")
    folder = pretend_onnx(tmp_path / "export", "depth")
    (folder / "depth.bin").unlink()
    (folder / "depth.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ValueError, match="depth.bin must lie in"):
        make_server(folder, download=False)


@pytest.mark.parametrize("name", ["../secret.onnx", "/secret.onnx", "..", "secret.txt", None, 3])
def test_names_in_a_description_are_no_paths(tmp_path, name):
    (tmp_path / "secret.onnx").write_text("a secret")
    folder = pretend_onnx(tmp_path / "export", "depth")
    description = describe_tasks("depth")
    description["tasks"][0]["file"] = name
    (folder / "description.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match="must name a .onnx file"):
        make_server(folder, download=False)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", ""])
def test_other_names_of_this_computer_are_refused(serve, tmp_path, host):
    """So that a page elsewhere cannot read it through a name that leads here."""
    server = serve(pretend_litert(tmp_path / "export"))
    answer, body = ask(server, "/model/m.tflite", host=host.format(port=server.server_port))
    assert answer.status == 421 and b"the model" not in body


def test_localhost_is_a_name_of_this_computer(serve, tmp_path):
    server = serve(pretend_litert(tmp_path / "export"))
    assert ask(server, "/", host=f"localhost:{server.server_port}")[0].status == 200


def test_it_listens_on_the_loopback_alone_and_only_reads(serve, tmp_path):
    server = serve(pretend_litert(tmp_path / "export"))
    assert server.socket.getsockname()[0] == "127.0.0.1"
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(server, "/", method)[0].status == 501


def test_a_file_that_went_away(serve, tmp_path):
    path = pretend_litert(tmp_path / "export")
    server = serve(path)
    os.remove(path)
    assert ask(server, "/model/m.tflite")[0].status == 404


def view(*arguments):
    command = [sys.executable, "-m", "rc_keras.view", *map(str, arguments), "--noopen", "--nodownload"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_command_says_what_is_wrong(tmp_path):
    path = pretend_litert(tmp_path / "export")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = view(path, f"--port={port}")
        assert done.returncode == 1 and f"Port {port} is in use" in done.stderr
    done = view(tmp_path / "missing.tflite")
    assert done.returncode == 1 and "not there" in done.stderr and "Traceback" not in done.stderr
    done = view()
    assert done.returncode != 0 and "One exported file or folder must be given" in done.stdout + done.stderr
