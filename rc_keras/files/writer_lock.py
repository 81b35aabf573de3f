"""Locks of the operating system, which end with the process that holds them, however it ends."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HAS_LOCKS = fcntl is not None
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # says a file system without locks
_PAUSE = 0.05  # seconds


@contextlib.contextmanager
def writer_lock(path: str, written: str) -> Iterator[None]:
    """Context in which no other process or thread is in the context of the same lock.

    The lock of a killed process is free. Where the operating system or the file system has no such locks (Windows, some
    network drives), nothing is locked.

    Args:
        path: the file to lock; made here, removed at the end.
        written: what is written under the lock, for the message.

    Raises:
        BlockingIOError: if another writer is at work.
    """
    handle = _locked(path)
    while handle is not None and not _is_at(handle, path):  # the last holder has just removed it
        os.close(handle)
        handle = _locked(path)
    if handle is None:
        raise BlockingIOError(f"{written} must have one writer at a time. Another process or thread is writing it now")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # removed by force, or open and therefore fixed on Windows
            os.remove(path)
        os.close(handle)


@contextlib.contextmanager
def waiting_lock(path: str) -> Iterator[None]:
    """As `writer_lock`, for a writer that waits until the others are done."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(writer_lock(path, path))
                break
            except BlockingIOError:
                time.sleep(_PAUSE)
        yield


def try_lock(handle: int) -> bool:
    """Locks an open file until it is closed; returns whether that was possible, `False` if another holds the lock."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _UNSUPPORTED
    return True


def _locked(path: str) -> int | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    if try_lock(handle):
        return handle
    os.close(handle)
    return None


def _is_at(handle: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
