"""Files appear under their name whole or not at all."""

import contextlib
import filecmp
import json
import os
import tempfile


def write_whole(path, data):
    """Writes bytes to a temporary name in the same folder, then renames.

    Raises:
        OSError: if the folder is missing, is not writable, or is full; what stood at `path` stays.
    """
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(data)


def write_json(path, content):
    """Writes plain data as indented JSON; see `write_whole`."""
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())


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
