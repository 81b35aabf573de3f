"""Files appear under their name whole or not at all."""

import contextlib
import filecmp
import json
import math
import os
import tempfile

import numpy as np


def write_whole(path, data):
    """Writes bytes to a temporary name in the same folder, then renames.

    Raises:
        OSError: if the folder is missing, is not writable, or is full; what stood at `path` stays.
    """
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(data)


def write_json(path, content):
    """Writes data as indented JSON; see `write_whole`.

    Args:
        path: of the file.
        content: nested dictionaries, lists, tuples, NumPy arrays, strings, booleans and numbers; those that are not
            finite become `null`, for JSON has none.
    """
    write_whole(path, (json.dumps(_to_plain(content), indent=2, allow_nan=False) + "\n").encode())


def _to_plain(value):
    if isinstance(value, dict):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def whole_file(path):
    """Context with a temporary path beside `path`, renamed to `path` if the block ends well and removed if not."""
    path = os.path.abspath(os.fspath(path))
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    handle, temporary = tempfile.mkstemp(suffix=suffix, prefix=f".{stem}.", dir=folder)
    os.close(handle)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise


class _Unchanged(Exception):
    pass


@contextlib.contextmanager
def changed_file(path):
    """As `whole_file`, but a file that holds the same bytes already is left alone, with its time of change."""
    with contextlib.suppress(_Unchanged), whole_file(path) as temporary:
        yield temporary
        if os.path.exists(path) and filecmp.cmp(temporary, path, shallow=False):
            raise _Unchanged
