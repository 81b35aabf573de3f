"""A web server on the loopback that knows the files of one page and nothing else."""

import http.server
import os
import pathlib
import shutil
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from rc_keras.view.exported import find_export
from rc_keras.view.page import INDEX, Page, make_page

HOST = "127.0.0.1"
MODEL = "model/"  # where the page finds the export's files

# By suffix, whatever the computer's own tables say.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
}
HEADERS = {
    # Both, for memory that threads share.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class PageServer(http.server.ThreadingHTTPServer):
    """Answers the addresses of a page, a table made before it starts, so that no address is ever taken for a path.

    It listens on the loopback, and answers requests alone that name it so: a page elsewhere whose name was made to
    lead here, as in DNS rebinding, is refused.

    Args:
        page: `{address: file or its bytes}`.
        port: to listen at; 0: a free one.
    """

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # there it would share a port in use

    def __init__(self, page: Page, port: int = 0) -> None:
        self.page = page
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self.server_port}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What requests may call this server."""
        return tuple(f"{name}:{self.server_port}" for name in (HOST, "localhost"))


class _Handler(http.server.BaseHTTPRequestHandler):
    server: PageServer
    server_version = "rc_keras.view"
    sys_version = ""
    timeout = 30  # seconds that a silent client may hold a thread

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        if self.headers.get("Host", "").lower() not in self.server.hosts:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, f"This server is {self.server.url}")
            return
        name = unquote(urlsplit(self.path).path).removeprefix("/") or INDEX
        content = self.server.page.get(name)
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND, "Not of this page")
        elif isinstance(content, bytes):
            self._head(name, len(content))
            if with_body:
                self.wfile.write(content)
        else:
            self._send_file(name, content, with_body)

    def _send_file(self, name: str, path: pathlib.Path, with_body: bool) -> None:
        try:
            file = open(path, "rb")  # noqa: SIM115
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND, "No longer there")
            return
        with file:
            self._head(name, os.fstat(file.fileno()).st_size)
            if with_body:
                shutil.copyfileobj(file, self.wfile)

    def _head(self, name: str, length: int) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES.get(pathlib.PurePath(name).suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def end_headers(self) -> None:
        for header, value in HEADERS.items():
            self.send_header(header, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: a line for each file helps nobody."""


def make_server(path: str | os.PathLike, port: int = 0, download: bool = True) -> PageServer:
    """A server of an export's page; `serve_forever()` runs it.

    Args:
        path: the exported `.tflite` file or folder of ONNX graphs.
        port: to listen at; 0: a free one.
        download: see `rc_keras.view.page.make_page`.

    Raises:
        FileNotFoundError, ValueError: see `find_export`.
        OSError: if the port is in use.
    """
    exported = find_export(path)
    page = make_page(exported, MODEL, download)
    for name in exported.files:
        file = (exported.folder / name).resolve()
        if file.parent != exported.folder:
            raise ValueError(f"{name} must lie in {exported.folder}, and not lead out of it. Received: {file}")
        page[MODEL + name] = file
    return PageServer(page, port)
