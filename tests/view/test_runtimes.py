"""The browser's runtimes are found, or fetched whole and checked, and kept."""

import base64
import hashlib
import http.server
import io
import tarfile
import threading

import pytest

from rc_keras.view import runtimes
from rc_keras.view.runtimes import RUNTIMES, Package, find_package

FILES = {"dist/index.js": b"export {}", "wasm/a.wasm": b"\0asm"}


def archive_of(files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


# What else is in an archive is never unpacked.
ARCHIVE = archive_of({f"package/{name}": data for name, data in FILES.items()} | {"../../evil.txt": b"evil"})


def package_of(archive, name="@owner/name"):
    digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    files = {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}
    return Package(name, "1.2.3", f"sha512-{digest}", 0.1, files)


@pytest.fixture
def registry(monkeypatch, tmp_path):
    """A registry on the loopback, which notes what is asked of it; `answers` is `{path: bytes}`."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            content = server.answers.get(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.answers = [], {"/@owner/name/-/name-1.2.3.tgz": ARCHIVE}
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(runtimes, "REGISTRY", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


def test_fetched_once_and_kept(registry, tmp_path, capsys):
    package = package_of(ARCHIVE)
    folder = find_package(package, tmp_path)
    assert folder == tmp_path / "keras" / "rc_keras" / "runtimes" / "owner-name-1.2.3"
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == FILES
    assert "Fetching @owner/name 1.2.3" in capsys.readouterr().out
    assert find_package(package, tmp_path) == folder and find_package(package, tmp_path, download=False) == folder
    assert len(registry.asked) == 1
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_changed_archive_is_not_unpacked(registry, tmp_path, capsys):
    package = package_of(ARCHIVE)
    registry.answers = {path: ARCHIVE + b"\0" for path in registry.answers}
    assert find_package(package, tmp_path) is None
    assert "must have the digest sha512-" in capsys.readouterr().out
    assert not list((tmp_path / "keras").rglob("*.js"))


def test_an_archive_without_a_file(registry, tmp_path, capsys):
    archive = archive_of({"package/dist/index.js": b""})
    registry.answers = dict.fromkeys(registry.answers, archive)
    for _ in range(2):
        assert find_package(package_of(archive), tmp_path) is None
    assert "Not fetched" in capsys.readouterr().out


def test_offline(registry, tmp_path, capsys):
    registry.answers = {}
    assert find_package(package_of(ARCHIVE), tmp_path) is None
    assert "Not fetched: HTTP Error 404" in capsys.readouterr().out
    registry.asked.clear()
    assert find_package(package_of(ARCHIVE), tmp_path, download=False) is None
    assert not registry.asked


def test_installed_beside_the_model(registry, tmp_path):
    package, installed = package_of(ARCHIVE), tmp_path / "node_modules" / "@owner" / "name"
    for name, data in FILES.items():
        (installed / name).parent.mkdir(parents=True, exist_ok=True)
        (installed / name).write_bytes(data)
    assert find_package(package, tmp_path) == installed and not registry.asked
    (installed / "dist/index.js").write_text("another")
    assert find_package(package, tmp_path) != installed and registry.asked


def test_damaged_in_the_cache_it_is_fetched_again(registry, tmp_path):
    package = package_of(ARCHIVE)
    for name, damage in (("dist/index.js", b"another"), ("wasm/a.wasm", None)):
        file = find_package(package, tmp_path) / name
        file.unlink() if damage is None else file.write_bytes(damage)
        assert find_package(package, tmp_path) == file.parent.parent
        assert file.read_bytes() == FILES[name]
    assert len(registry.asked) == 3


@pytest.mark.parametrize("package", [p for packages in RUNTIMES.values() for p in packages], ids=lambda p: p.name)
def test_pinned_packages_are_said_whole(package):
    assert package.integrity.startswith("sha512-")
    assert len(base64.b64decode(package.integrity.removeprefix("sha512-"), validate=True)) == 64
    assert package.module.endswith(("js", "mjs"))
    assert all(len(bytes.fromhex(digest)) == 32 for digest in package.files.values())
    assert package.archive_url.startswith("https://registry.npmjs.org/") and package.version in package.archive_url
    assert package.cdn_url == f"https://cdn.jsdelivr.net/npm/{package.name}@{package.version}/"
