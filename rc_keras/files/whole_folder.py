"""A folder takes the place of another one as a whole."""

import contextlib
import ctypes
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from rc_keras.files.whole_files import MARK, sync, umask
from rc_keras.files.writer_lock import writer_lock

Result = TypeVar("Result")

_HERE = -100  # AT_FDCWD of Linux
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # says a file system that cannot
_PAUSE = 0.05  # seconds


@contextlib.contextmanager
def folder_lock(path: str) -> Iterator[None]:
    """Context of the one writer of a folder, in which `switch` may be called.

    What a killed writer left beside the folder is removed, or put back where the folder is missing.

    Args:
        path: of the folder, which may be missing; its own folder must exist.

    Raises:
        BlockingIOError: if another process or thread writes the folder.
        OSError: if the folder around it cannot be written.
    """
    path = os.path.realpath(path)
    with writer_lock(_beside(path, "lock"), f"The folder {path}"):
        _put_back(path)
        _remove_leftovers(path)
        try:
            yield
        finally:
            _remove_leftovers(path)


@contextlib.contextmanager
def new_folder(path: str) -> Iterator[str]:
    """Context with a temporary folder beside `path`, on the same disk; what is left of it is removed at the end."""
    folder, prefix = os.path.split(_beside(os.path.realpath(path), ""))
    temporary = tempfile.mkdtemp(prefix=prefix, dir=folder)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def switch(new: str, path: str) -> None:
    """Puts a folder of `new_folder` under the name `path`, where another one may be, which is removed.

    All of it is on the disk before. Old and new are exchanged in one step where the system can do that: on Linux and on
    macOS, on their own file systems. Elsewhere there is a moment with nothing under the name; if the process is killed
    in it, `recover` or the next writer puts the old folder back.

    Args:
        new: the new folder.
        path: the name. Where it is a symbolic link, the folder that it leads to is replaced and the link stays.

    Raises:
        OSError: if that cannot be; the old folder stays.
    """
    path = os.path.realpath(path)
    if os.path.isdir(path):
        shutil.copymode(path, new)
    else:
        os.chmod(new, 0o777 & ~umask())
    for root, _, names in os.walk(new):
        for name in names:
            sync(os.path.join(root, name))
        sync(root)
    if not os.path.isdir(path):
        os.rename(new, path)
    elif not _exchange(new, path):
        former = _beside(path, "former")
        os.rename(path, former)
        try:
            os.rename(new, path)
        except BaseException:
            os.rename(former, path)
            raise
    sync(os.path.dirname(path))


def recover(path: str) -> None:
    """Puts the old folder back if its writer was killed in the moment without one, see `switch`."""
    path = os.path.realpath(path)
    while not os.path.exists(path) and os.path.exists(_beside(path, "former")):
        try:
            with folder_lock(path):
                pass
        except BlockingIOError:  # the writer lives: the moment will be over
            time.sleep(_PAUSE)


def read_whole(path: str, read: Callable[[], Result]) -> Result:
    """Calls `read`, which reads a folder, until no other folder has taken its place meanwhile."""
    while True:
        before = _identity(path)
        try:
            result = read()
        except (OSError, ValueError):
            if _identity(path) == before:
                raise
        else:
            if _identity(path) == before:
                return result


def _identity(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns  # numbers are used again


def _put_back(path: str) -> None:
    former = _beside(path, "former")
    if not os.path.exists(path) and os.path.exists(former):
        os.rename(former, path)


def _remove_leftovers(path: str) -> None:
    folder, prefix = os.path.split(_beside(path, ""))
    for name in os.listdir(folder):
        leftover = os.path.join(folder, name)
        if name.startswith(prefix) and os.path.isdir(leftover):
            shutil.rmtree(leftover, ignore_errors=True)


def _beside(path: str, name: str) -> str:
    folder, own = os.path.split(path)
    return os.path.join(folder, f".{own}.{MARK}{name}")


def _exchange(one: str, other: str) -> bool:
    """Exchanges two folders in one step; returns whether the system can."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            result = library.renamex_np(os.fsencode(one), os.fsencode(other), _EXCHANGE)
        else:
            result = library.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)
    except (AttributeError, TypeError):  # the C library does not have it; or Windows
        return False
    if result == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), one, None, other)
