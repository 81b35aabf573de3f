"""Where the files of a published preset are on this machine, downloaded if need be."""

import functools
import hashlib
import os
from collections.abc import Iterable, Sequence

import keras

from rc_keras.files import manifest
from rc_keras.files.manifest import Entry
from rc_keras.files.whole_files import write_whole
from rc_keras.files.writer_lock import waiting_lock
from rc_keras.published.download import download
from rc_keras.published.needed_files import needed_files
from rc_keras.published.registry import PRESETS, packaged_folder, published_files


def cache_folder(name: str) -> str:
    """Where a published preset is downloaded to: a folder of this version of it in Keras's own, `~/.keras`.

    The environment variable `KERAS_HOME` names another one, as for everything that Keras downloads.
    """
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    version = hashlib.sha256(manifest.to_json(published_files(name))).hexdigest()[:8]
    return os.path.join(home, "rc_keras", "presets", f"{name}-{version}")


def local_folder(name: str, tasks: Sequence[str] | None = None) -> str:
    """The folder of a published preset, from which `from_preset` loads; what the package lacks is downloaded.

    Nothing is asked of the network where the files are there. Processes that want the same one wait for each other.

    Args:
        name: a key of `PRESETS`.
        tasks: the tasks whose packs are needed; `None`: all.

    Raises:
        OSError: if a file is missing and cannot be downloaded: lists what to get from where, and where to put it.
    """
    packaged, files = packaged_folder(name), published_files(name)
    needed = needed_files(files, tasks)
    if PRESETS[name].url is None or not missing_files(packaged, files, needed):
        return packaged
    cached = cache_folder(name)
    needed.append(manifest.NAME)
    files[manifest.NAME] = manifest.entry_of_file(os.path.join(packaged, manifest.NAME))
    if missing_files(cached, files, needed, thoroughly=True):
        os.makedirs(cached, exist_ok=True)
        with waiting_lock(os.path.join(cached, ".lock")):
            _fill(cached, name, files, missing_files(cached, files, needed, thoroughly=True))
    return cached


def missing_files(folder: str, files: dict[str, Entry], names: Iterable[str], thoroughly: bool = False) -> list[str]:
    """Which files a folder lacks.

    Args:
        folder: its path.
        files: the manifest.
        names: of the files that should be there.
        thoroughly: whether damaged ones count too.
    """
    paths = {name: _path(folder, name) for name in names}
    if thoroughly:
        return [name for name, path in paths.items() if not manifest.is_file_of(path, files[name])]
    return [name for name, path in paths.items() if not os.path.isfile(path)]


def _fill(folder: str, name: str, files: dict[str, Entry], missing: list[str]) -> None:
    """Puts missing files into the folder, from the package or from the net."""
    from_net = missing_files(packaged_folder(name), files, missing)
    for file in missing:
        os.makedirs(os.path.dirname(_path(folder, file)), exist_ok=True)
        if file not in from_net:
            with open(_path(packaged_folder(name), file), "rb") as source:
                write_whole(_path(folder, file), source.read())
    sizes = [int(files[file]["bytes"]) for file in from_net]
    bar = keras.utils.Progbar(sum(sizes), unit_name="byte")
    for position, file in enumerate(from_net):
        progress = functools.partial(_show, bar, sum(sizes[:position]))
        try:
            download(f"{PRESETS[name].url}/{file}", _path(folder, file), files[file], progress)
        except OSError as error:
            raise OSError(_what_to_do(folder, name, files, from_net[position:], error)) from error


def _show(bar: keras.utils.Progbar, before: int, there: int) -> None:
    bar.update(before + there)


def _path(folder: str, file: str) -> str:
    return os.path.join(folder, *file.split("/"))


def _what_to_do(folder: str, name: str, files: dict[str, Entry], missing: list[str], error: OSError) -> str:
    lines = [
        f"  {PRESETS[name].url}/{file} ({files[file]['bytes']:,} bytes, sha256 {files[file]['sha256']})\n"
        f"    as {_path(folder, file)}"
        for file in missing
    ]
    return (
        f"The preset {name!r} is not on this machine and could not be downloaded ({error}). Calling again goes on "
        "where it was cut off. Or download by other means, and save:\n" + "\n".join(lines)
    )
