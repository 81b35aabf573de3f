"""The runtimes that compute in a browser: npm packages at pinned versions, found, fetched, or left to a CDN."""

import base64
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import tarfile
import urllib.request
from collections.abc import Mapping

from rc_keras.export.formats.file_digest import sha256
from rc_keras.files.whole_folder import folder_lock, new_folder, switch

REGISTRY = "https://registry.npmjs.org"
CDN = "https://cdn.jsdelivr.net"
_TIMEOUT = 60  # seconds without an answer


@dataclasses.dataclass(frozen=True)
class Package:
    """An npm package.

    Attributes:
        name: of the package, as it is imported.
        version: the one that the page was made for.
        integrity: SHA-512 of the archive in the registry, as npm writes it.
        megabytes: size of the archive.
        files: `{path in the package: SHA-256}` of what a page needs; the first is the module to import.
    """

    name: str
    version: str
    integrity: str
    megabytes: float
    files: Mapping[str, str]

    @property
    def module(self) -> str:
        """Path of the module to import."""
        return next(iter(self.files))

    @property
    def cdn_url(self) -> str:
        """Address of the unpacked package, with a slash at its end."""
        return f"{CDN}/npm/{self.name}@{self.version}/"

    @property
    def archive_url(self) -> str:
        """Address of the archive in the registry."""
        return f"{REGISTRY}/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


def _read_pinned() -> dict[str, tuple[Package, ...]]:
    content = json.loads(pathlib.Path(__file__).with_name("runtimes.json").read_text(encoding="utf-8"))
    return {runtime: tuple(Package(**entry) for entry in entries) for runtime, entries in content.items()}


RUNTIMES = _read_pinned()


def cache_folder() -> pathlib.Path:
    """Where fetched packages are kept: in Keras's own folder, `$KERAS_HOME` or `~/.keras`."""
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return pathlib.Path(home, "rc_keras", "runtimes")


def find_package(package: Package, beside: str | os.PathLike, download: bool = True) -> pathlib.Path | None:
    """The folder of a package on this computer.

    It is looked for in `node_modules` beside the model, as npm installs it, and in the cache, where it is put after a
    download. Only files with the pinned digests count: the folder of a model brings no code of its own.

    Args:
        package: the `Package`.
        beside: folder of the model.
        download: whether to fetch it if it is found nowhere.

    Returns:
        The folder, with all of `package.files`; `None`: it is not here, and could not be fetched, which is printed.
    """
    installed = pathlib.Path(beside, "node_modules", package.name)
    if _holds(installed, package):
        return installed
    cached = cache_folder() / f"{package.name.replace('/', '-').removeprefix('@')}-{package.version}"
    if _holds(cached, package):
        return cached
    if not download:
        return None
    print(f"Fetching {package.name} {package.version}, {package.megabytes:g} MB, once", flush=True)
    try:
        _unpack(_fetch(package), package, cached)
    except (OSError, ValueError, tarfile.TarError) as error:
        print(f"Not fetched: {error}")
        return None
    return cached


def check_integrity(archive: bytes, package: Package) -> None:
    """Checks an archive against the pinned digest.

    Raises:
        ValueError: if it is another one.
    """
    digest = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if digest != package.integrity:
        raise ValueError(
            f"The archive of {package.name} {package.version} must have the digest {package.integrity}. "
            f"Received: {digest}"
        )


def _fetch(package: Package) -> bytes:
    limit = int(2e6 * package.megabytes) + 1
    with urllib.request.urlopen(package.archive_url, timeout=_TIMEOUT) as answer:
        archive = answer.read(limit)
    check_integrity(archive, package)
    return archive


def _unpack(archive: bytes, package: Package, folder: pathlib.Path) -> None:
    """Writes the files that are needed: names are ours, and no path of the archive is one of a file here."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_lock(str(folder)), new_folder(str(folder)) as temporary:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for name in package.files:
                target = pathlib.Path(temporary, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(_read_member(tar, name, package))
        if not _holds(pathlib.Path(temporary), package):
            raise ValueError(f"The files of {package.name} {package.version} must have the pinned digests.")
        switch(temporary, str(folder))


def _read_member(tar: tarfile.TarFile, name: str, package: Package) -> bytes:
    path = f"package/{name}"
    member = tar.extractfile(path) if path in tar.getnames() else None
    if member is None:
        raise ValueError(f"The archive of {package.name} must hold the file {name}.")
    return member.read()


def _holds(folder: pathlib.Path, package: Package) -> bool:
    """Whether all files are there, as they are pinned."""
    paths = {folder / name: digest for name, digest in package.files.items()}
    return all(path.is_file() and sha256(path) == digest for path, digest in paths.items())
