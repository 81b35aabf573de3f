"""Downloads that go on where they were cut off, and end with the file that was published or with an error."""

import contextlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from rc_keras.files.manifest import Entry, is_file_of
from rc_keras.files.whole_files import sync
from rc_keras.version import __version__

_ATTEMPTS = 3  # in a row that bring nothing
_PAUSE = 1.0  # seconds between them
_TIMEOUT = 30.0  # seconds of silence
_CHUNK = 2**16


def download(url: str, path: str, entry: Entry, progress: Callable[[int], None] = lambda there: None) -> None:
    """Downloads a file; under its name it appears whole and checked, or not at all.

    What has come so far is kept beside it in `<path>.part`, with the server's ETag in `<path>.etag`, and asked for no
    more: not after a connection broke off, and not by the next call after this process was killed. Only one process may
    download to a path at a time.

    Args:
        url: of the file.
        path: where it goes, in a folder that exists.
        entry: its length and sha256.
        progress: called with the number of bytes that are there.

    Raises:
        OSError: if the server cannot be reached, or does not have the file; or if it has another one than the published
            one, of which nothing is left then.
    """
    part, length = f"{path}.part", int(entry["bytes"])
    failures, most = 0, _size(part)
    while not is_file_of(part, entry):
        there = _size(part)
        if there >= length:
            _remove(part, f"{path}.etag")
            there = 0
        try:
            _receive(url, part, f"{path}.etag", there, length, progress)
        except (OSError, http.client.HTTPException) as error:
            status = error.code if isinstance(error, urllib.error.HTTPError) else None
            if status == 416:  # the server has fewer bytes than are here
                _remove(part)
            failures = 0 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            if failures == _ATTEMPTS or (status is not None and status < 500 and status != 416):
                raise OSError(str(error)) from error
            time.sleep(_PAUSE)
            continue
        if not there and not is_file_of(part, entry):
            _remove(part, f"{path}.etag")
            raise OSError(f"{url} is not the published file: its sha256 must be {entry['sha256']}. It was deleted")
    sync(part)
    os.replace(part, path)
    _remove(f"{path}.etag")


def _receive(url: str, part: str, tag: str, start: int, length: int, progress: Callable[[int], None]) -> None:
    """Writes what is missing behind the first `start` bytes, or the whole file where that is all the server has."""
    headers = {"User-Agent": f"rc_keras/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        with contextlib.suppress(FileNotFoundError), open(tag, encoding="latin-1") as file:
            headers["If-Range"] = file.read()
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as response:
        goes_on = response.status == 206
        if goes_on and not str(response.headers["Content-Range"]).startswith(f"bytes {start}-"):
            raise OSError(f"{url} was asked for bytes from {start} on. Received: {response.headers['Content-Range']}")
        if not goes_on:
            _remove(part, tag)
            start = 0
            etag = response.headers["ETag"] or ""
            if etag.startswith('"'):  # a weak one does not vouch for bytes
                with open(tag, "w", encoding="latin-1") as file:
                    file.write(etag)
        with open(part, "ab") as file:
            while start < length and (chunk := response.read(min(_CHUNK, length - start))):
                file.write(chunk)
                start += len(chunk)
                progress(start)
    if start < length:
        raise ConnectionError(f"the connection to {url} ended after {start} of {length} bytes")


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.isfile(path) else 0


def _remove(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
