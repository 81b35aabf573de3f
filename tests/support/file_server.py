"""A server of files on the loopback, which can be told to misbehave."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class FileServer(http.server.ThreadingHTTPServer):
    """Serves `files`, `{path: bytes}`, with ETags and ranges.

    Attributes:
        headers: further ones of every answer.
        requests: `(method, path, Range, status)` of all so far.
        cut: `{path: number of bytes after which the connection ends}`, each once.
        has_ranges: whether parts of files are given.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.headers, self.requests, self.cut = files, {}, [], {}
        self.has_ranges = True
        self.url = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[FileServer]:
    with FileServer(files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def log_message(self, *args) -> None:
        pass

    def _answer(self, with_content: bool) -> None:
        content, asked = self.server.files.get(self.path), self.headers["Range"]
        if content is None:
            self._begin(404, {"Content-Length": "0"})
            return
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers, status, size = {"ETag": etag, "Accept-Ranges": "bytes"}, 200, len(content)
        if asked and self.server.has_ranges and self.headers.get("If-Range", etag) == etag:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            status = 206 if start < size else 416
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}" if status == 206 else f"bytes */{size}"
            content = content[start:]
        self._begin(status, {**headers, "Content-Length": str(len(content))})
        if with_content:
            cut = self.server.cut.pop(self.path, None)
            self.wfile.write(content[:cut])
            self.close_connection = cut is not None

    def _begin(self, status: int, headers: dict[str, str]) -> None:
        self.server.requests.append((self.command, self.path, self.headers["Range"], status))
        self.send_response(status)
        for name, value in {**self.server.headers, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
