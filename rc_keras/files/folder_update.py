"""Several files of a folder change together or not at all."""

import contextlib
import errno
import os
import shutil
from types import TracebackType

from rc_keras.files import manifest
from rc_keras.files.manifest import Entry
from rc_keras.files.whole_files import sync, whole_file, write_whole
from rc_keras.files.writer_lock import writer_lock

STAGED = ".new"  # folder in the folder, for content that has not its name yet
_LOCK = ".lock"


class FolderUpdate:
    """Context of the one writer of a folder: files are `put`, and with `commit` all of them count at once.

    New content is first written to the folder `.new`, under names made of its digest. Then the new manifest takes the
    place of the old one: before that the folder holds the old files, and afterwards the new ones, which then get their
    names. Whenever the writer is killed, readers find the files of the manifest with `stored_path`, and the next writer
    gives the files of the manifest their names and removes what belongs to none. Content that is there already is not
    written. Files that are not in the manifest are left alone.

    Args:
        folder: its path; made if it is missing.

    Raises:
        BlockingIOError: if another process or thread writes to the folder.
        OSError: if the folder cannot be written.
        ValueError: if its manifest is damaged.
    """

    def __init__(self, folder: str) -> None:
        self.folder = os.path.realpath(folder)
        self._files: dict[str, Entry] = {}
        self._old: dict[str, Entry] | None = None

    def __enter__(self) -> "FolderUpdate":
        with contextlib.ExitStack() as stack:
            if not os.path.isdir(self.folder):
                os.makedirs(self.folder, exist_ok=True)
                stack.callback(_remove_if_empty, self.folder)
            lock = os.path.join(self.folder, _LOCK)
            stack.enter_context(writer_lock(lock, f"The folder {self.folder}"))
            self._old = manifest.read(self.folder)
            self._clear()
            stack.callback(self._clear)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def put(self, name: str, data: bytes) -> None:
        """Prepares a file; nothing is written if it has this content already.

        Args:
            name: relative to the folder, with `/`.
            data: the content.
        """
        self._files[name] = manifest.entry_of_bytes(data)
        if _holds(self.path(name), data):
            return
        os.makedirs(os.path.join(self.folder, STAGED), exist_ok=True)
        with open(_staged_path(self.folder, name, self._files[name]), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def keep(self, name: str) -> None:
        """Takes a file that is in the folder, as it is, into the manifest."""
        self._files[name] = manifest.entry_of_file(self.path(name))

    def commit(self) -> None:
        """Makes the files that were put, or kept, the files of the folder."""
        if self._files != self._old:
            for folder in (os.path.join(self.folder, STAGED), self.folder):
                if os.path.isdir(folder):
                    sync(folder)
            write_whole(os.path.join(self.folder, manifest.NAME), manifest.to_json(self._files))
        self._old = self._files
        self._clear()

    def path(self, name: str) -> str:
        """Where a file is, or will be."""
        return os.path.join(self.folder, *name.split("/"))

    def _clear(self) -> None:
        """Gives the files of the manifest their names, and removes what else was prepared."""
        staged = os.path.join(self.folder, STAGED)
        if not os.path.lexists(staged):
            return
        for name, entry in (self._old or {}).items():
            source = _staged_path(self.folder, name, entry)
            if manifest.is_file_of(source, entry):
                _move(source, self.path(name))
        shutil.rmtree(staged)


def stored_path(folder: str, files: dict[str, Entry], name: str) -> str:
    """Where the content of a file is, which may have been written but not named when its writer was killed.

    Args:
        folder: path of the folder.
        files: its manifest.
        name: of the file, in the manifest.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if it is another one than the manifest lists.
    """
    staged = _staged_path(folder, name, files[name])
    if manifest.is_file_of(staged, files[name]):
        return staged
    path = os.path.join(folder, *name.split("/"))
    manifest.check_file(path, files[name])
    return path


def state(folder: str) -> tuple[bytes | None, tuple[str, ...]]:
    """Differs before and after whatever a writer does to the files of a folder."""
    try:
        with open(os.path.join(folder, manifest.NAME), "rb") as file:
            content = file.read()
    except OSError:
        content = None
    staged = os.path.join(folder, STAGED)
    with contextlib.suppress(OSError):
        return content, tuple(sorted(os.listdir(staged)))
    return content, ()


def _holds(path: str, data: bytes) -> bool:
    if not os.path.isfile(path) or os.path.getsize(path) != len(data):
        return False
    with open(path, "rb") as file:
        return file.read() == data


def _staged_path(folder: str, name: str, entry: Entry) -> str:
    return os.path.join(folder, STAGED, f"{str(entry['sha256'])[:16]}.{name.replace('/', '+')}")


def _move(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    target = os.path.realpath(target)
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # a link to another disk
            raise
        with whole_file(target) as temporary:
            shutil.copyfile(source, temporary)
    sync(os.path.dirname(target))


def _remove_if_empty(folder: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(folder)
