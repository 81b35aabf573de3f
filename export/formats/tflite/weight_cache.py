"""Files of packed weights, which several tasks map into memory instead of packing each its own."""

import contextlib
import os
import tempfile
from collections.abc import Callable
from typing import Any

from rc_keras.export.formats.file_digest import sha256


def open_with_cache(open_model: Callable[[str], Any], folder: str | os.PathLike[str], key: str) -> Any:
    """Opens a network with its file of packed weights, made if it is missing or damaged.

    The runtime believes whatever it finds in such a file. So its name holds `key`, which tells one network from all
    others, and a digest of its content; it appears under that name when it is complete.

    Args:
        open_model: function from the path of a file of packed weights, made there if it is missing, to the network.
        folder: of the files; made if it is missing.
        key: names the network.

    Returns:
        What `open_model` returns.

    Raises:
        OSError: if the folder cannot be written.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for name in sorted(os.listdir(folder)):
        if name.startswith(f"{key}.") and name.endswith(_SUFFIX):
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):  # someone else found it damaged too
                if name == _name(key, path):
                    return open_model(path)
                os.remove(path)
    with tempfile.TemporaryDirectory(prefix=".packing.", dir=folder) as temporary:
        path = os.path.join(temporary, "weights")
        network = open_model(path)
        if os.path.exists(path):
            os.replace(path, os.path.join(folder, _name(key, path)))
    return network


_SUFFIX = ".xnnpack"


def _name(key: str, path: str) -> str:
    return f"{key}.{sha256(path)[:16]}{_SUFFIX}"
