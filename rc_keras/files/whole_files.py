"""Files appear under their name whole or not at all."""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from rc_keras.files.writer_lock import HAS_LOCKS, try_lock

MARK = "rc_keras-"  # in the names of files and folders that are being written


def write_whole(path: str | os.PathLike, data: bytes) -> None:
    """Writes bytes to a temporary name in the same folder, then renames; see `whole_file`.

    Raises:
        OSError: if the folder is missing, is not writable, or is full; what stood at `path` stays.
    """
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(data)


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Writes data as indented JSON; see `write_whole`.

    Args:
        path: of the file.
        content: nested dictionaries, lists, tuples, NumPy arrays, strings, booleans and numbers; those that are not
            finite become `null`, for JSON has none.
    """
    write_whole(path, (json.dumps(_to_plain(content), indent=2, allow_nan=False) + "\n").encode())


def _to_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[str]:
    """Context with a temporary path beside `path`, renamed to `path` if the block ends well and removed if not.

    The content is on the disk before it has its name, and the name before the context ends, so that also after a power
    failure there is the old file or the new one. Where `path` is a symbolic link, the file that it leads to is replaced
    and the link stays. What a killed writer of the same file left is removed.
    """
    path = os.path.realpath(os.fspath(path))
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    prefix = f".{stem}.{MARK}"
    _remove_leftovers(folder, prefix, suffix)
    handle, temporary = _new_file(folder, prefix, suffix)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~umask())
        sync(temporary)
        if not HAS_LOCKS:  # on Windows, which renames no open file
            handle = _close(handle)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise
    finally:
        _close(handle)
    sync(folder)


def sync(path: str | os.PathLike) -> None:
    """Returns when the content of a file, or the names in a folder, are on the disk; on Windows, at once."""
    if not HAS_LOCKS:
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not os.path.isdir(path):  # some network drives sync files alone
            raise
    finally:
        os.close(handle)


def umask() -> int:
    """The permissions that new files of this process lack."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _new_file(folder: str, prefix: str, suffix: str) -> tuple[int, str]:
    """A temporary file, `(handle, path)`, locked for as long as its writer lives."""
    while True:
        handle, temporary = tempfile.mkstemp(suffix, prefix, folder)
        if try_lock(handle) and os.path.exists(temporary):
            return handle, temporary
        os.close(handle)  # another writer has taken it for a leftover


def _remove_leftovers(folder: str, prefix: str, suffix: str) -> None:
    """Removes temporary files that nobody writes any more."""
    if not HAS_LOCKS:
        return
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.startswith(prefix) and e.name.endswith(suffix) and e.is_file()]
    for name in names:
        with contextlib.suppress(OSError):  # of another user, or gone
            handle = os.open(os.path.join(folder, name), os.O_RDWR)
            try:
                if try_lock(handle):
                    os.remove(os.path.join(folder, name))
            finally:
                os.close(handle)


def _close(handle: int) -> int:
    if handle >= 0:
        os.close(handle)
    return -1
