"""Where an export may be written."""

import os

_FILE_SUFFIXES = (".onnx", ".pb", ".tflite", ".keras", ".h5")


def check_target(path: str | os.PathLike, overwrite: bool, suffix: str = "") -> str:
    """Checks the file or folder to write.

    Args:
        path: of it.
        overwrite: whether it may be there.
        suffix: that a file must have; empty for a folder.

    Returns:
        The absolute path.

    Raises:
        ValueError: for another suffix, or for a new folder with the name of a file.
        OSError: if it may not be written there.
    """
    path = os.path.abspath(os.fspath(path))
    if not path.endswith(suffix):
        raise ValueError(f"`path` must end in {suffix!r}. Received: path={path!r}")
    real = os.path.realpath(path)
    folder = os.path.dirname(real)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"The folder of `path` must exist. Received: path={path!r}")
    if suffix and os.path.isdir(path):
        raise IsADirectoryError(f"`path` must be a file. Received: path={path!r}, a folder")
    if not suffix:
        _check_folder(path, real)
    if os.path.exists(path) and not overwrite:
        raise FileExistsError(f"`path` must be free unless `overwrite=True`. Received: path={path!r}, which exists")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"The folder of `path` must be writable. Received: path={path!r}")
    return path


def _check_folder(path: str, real: str) -> None:
    stem, suffix = os.path.splitext(path)
    if os.path.exists(path) and not os.path.isdir(path):
        raise NotADirectoryError(f"`path` must be a folder. Received: path={path!r}, a file")
    if os.path.isdir(path) and not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(f"`path` must be writable. Received: path={path!r}")
    if os.path.ismount(real):
        raise OSError(
            f"`path` must be a folder that another can take the place of. Received: path={path!r}, where a disk is "
            "mounted; name a folder in it"
        )
    if suffix.lower() in _FILE_SUFFIXES and not os.path.exists(path):
        raise ValueError(
            f"`path` must be the name of a folder, for this format has several files. Received: path={path!r}, the "
            f"name of a file. Did you mean {os.path.basename(stem)!r}?"
        )
