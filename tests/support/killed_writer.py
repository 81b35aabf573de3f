"""What is left of a writer that is killed at one of its calls to the file system."""

import os
import shutil
import signal
import sys

_CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "ctypes.dlopen"}
_watch = None  # called before each call that may change a file


def _hook(event, args):
    if _watch is None or event not in _CHANGES:
        return
    if event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return
    _watch(args[0] if args and isinstance(args[0], (str, bytes)) else "")


sys.addaudithook(_hook)


def killed_at_every_call(write, check):
    """Calls `write` in a child that is killed before its first change of a file, its second, and so on to the last.

    Args:
        write: function that only handles files: the child of a process with threads can do no more.
        check: function called after each child, here.

    Returns:
        How often the child was killed.
    """
    kills = 0
    while True:
        child = os.fork()
        if child == 0:
            _die_in(write, kills)
        _, status = os.waitpid(child, 0)
        check()
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            return kills
        kills += 1


def _die_in(write, calls):
    global _watch
    seen = 0

    def count(path):
        nonlocal seen
        seen += 1
        if seen > calls:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        _watch = count
        write()
        os._exit(0)
    finally:
        os._exit(1)


def states(write, box, copies):
    """Copies a folder before each change that a writer makes in it, and after the last: what a kill then would leave.

    Args:
        write: function that writes in `box`.
        box: the folder, with all around the target where the writer may leave something.
        copies: folder for the copies.

    Returns:
        Paths of the copies that differ.
    """
    global _watch
    found, before = [], None

    def copy(path=""):
        global _watch
        nonlocal before
        path = os.fsdecode(path)
        if os.path.isabs(path) and not path.startswith(str(box)):
            return
        _watch = None  # copying changes files too
        now = contents(box)
        if now != before:
            before = now
            found.append(shutil.copytree(box, copies / str(len(found)), symlinks=True))
        _watch = copy

    _watch = copy
    try:
        write()
        copy()
    finally:
        _watch = None
    return found


def contents(folder):
    """`{relative path: bytes}` of a folder; `None` for a folder in it."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}
