"""Where an archive and its lists of images are found."""

import re
from collections.abc import Mapping

import tensorflow_datasets as tfds

from rc_keras.zoo.datasets.file_path import FilePath


def find_root(dl_manager: tfds.download.DownloadManager, name: str) -> FilePath:
    """The folder of an archive in the manual directory, extracted if need be.

    Args:
        dl_manager: TFDS's download manager.
        name: of the folder; the archive is `<name>.zip` or `<name>.tgz`.

    Returns:
        Path of the folder.

    Raises:
        FileNotFoundError: if neither is there, or the archive holds no such folder.
    """
    folder = dl_manager.manual_dir / name
    if folder.is_dir():
        return folder
    archives = [dl_manager.manual_dir / f"{name}{suffix}" for suffix in (".zip", ".tgz")]
    found = [archive for archive in archives if archive.exists()]
    if not found:
        raise FileNotFoundError(
            f"The manual directory must hold the folder `{name}` or an archive, "
            f"{' or '.join(archive.name for archive in archives)}. Received: manual_dir={dl_manager.manual_dir}"
        )
    folder = dl_manager.extract(found[0]) / name
    if not folder.is_dir():
        raise FileNotFoundError(f"The archive must hold a folder `{name}`. Received: {found[0]}")
    return folder


def read_splits(folder: FilePath, names: Mapping[str, str]) -> dict[str, list[str]]:
    """Reads which images belong to which split.

    Args:
        folder: path of the folder of the lists.
        names: `{split: stem of its list}`; a list is a `.txt` file of one image id a line.

    Returns:
        `{split: [id, …]}`.

    Raises:
        FileNotFoundError: if a list is missing.
        ValueError: if a list is empty, an id is no plain name, or an image is listed twice.
    """
    splits = {split: _read_ids(folder / f"{stem}.txt") for split, stem in names.items()}
    owned = set()
    for ids in splits.values():
        for image_id in ids:
            if image_id in owned:
                raise ValueError(f"The splits in `{folder}` must share no image. Received: {image_id!r} in both")
        owned.update(ids)
    return splits


def _read_ids(path: FilePath) -> list[str]:
    if not path.exists():
        raise FileNotFoundError(f"The split file `{path}` must exist, with one image id a line.")
    ids = path.read_bytes().decode("ascii", "backslashreplace").split()
    if not ids:
        raise ValueError(f"The split file `{path}` must hold one image id a line. It is empty.")
    seen = set()
    for image_id in ids:
        # An id becomes a file name, so it may not lead elsewhere.
        if not re.fullmatch(r"\w+", image_id, re.ASCII):
            raise ValueError(f"An image id in `{path}` must be letters, digits and `_`. Received: {image_id!r}")
        if image_id in seen:
            raise ValueError(f"The split file `{path}` must name an image once. Received: {image_id!r} twice")
        seen.add(image_id)
    return ids
