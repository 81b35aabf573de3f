"""Which file of a folder data set belongs to which image, task and split."""

import hashlib
import json
import os
import pathlib
import re
from collections.abc import Sequence

from rc_keras.zoo.datasets.folder.task_list import read_tasks

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
LABEL_SUFFIXES = (".png", ".npy")
SPLITS = ("train", "validation")

# A stem is joined to a path: no separator, and no leading dot.
_STEM = re.compile(r"\w[\w .-]*")


class FolderLayout:
    """Looks a folder through; no image and no label is opened.

    Args:
        root: path of the data set.

    Attributes:
        tasks: list of `Task`, sorted by name.
        images: {stem: path}.
        labels: {task name: {stem: path}}.
        splits: {"train" or "validation": list of stems}.
        fingerprint: 16 hex digits that change when a file or a task does.

    Raises:
        FileNotFoundError: if the folder, its images, a split list or a label is missing.
        ValueError: if a name, a list or `tasks.json` is wrong.
    """

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = pathlib.Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f"`root` must be a folder. Received: root={root!r}")
        self.images = _files_by_stem(self.root / "images", IMAGE_SUFFIXES)
        folders = sorted(p.name for p in self.root.iterdir() if p.is_dir() and not p.name.startswith("."))
        folders = [name for name in folders if name not in ("images", "splits")]
        self.tasks = read_tasks(self.root, folders)
        if not self.tasks:
            raise FileNotFoundError(f"`{self.root}` must hold a folder of labels for each task. Received: none")
        self.labels = {name: _files_by_stem(self.root / name, LABEL_SUFFIXES) for name in folders}
        self.splits = self._read_splits()
        for split, stems in self.splits.items():
            self._check_labels(split, stems)
        self.fingerprint = self._hash_files()

    def has_changed(self) -> bool:
        """Whether files came, went or were written since this object was made."""
        return FolderLayout(self.root).fingerprint != self.fingerprint

    def _read_splits(self) -> dict[str, list[str]]:
        folder = self.root / "splits"
        if not folder.is_dir():
            return _split_by_hash(self.root, sorted(self.images))
        splits = {split: _read_stems(folder / f"{split}.txt") for split in SPLITS}
        for split, stems in splits.items():
            missing = [stem for stem in stems if stem not in self.images]
            if missing:
                raise FileNotFoundError(
                    f"`{folder / split}.txt` must name images of `{self.root / 'images'}`, without suffix. "
                    f"Received: {missing[0]!r}; {len(missing)} of {len(stems)} are missing"
                )
        both = sorted(set(splits["train"]) & set(splits["validation"]))
        if both:
            raise ValueError(f"The lists in `{folder}` must share no image. Received: {both[0]!r} in both")
        return splits

    def _check_labels(self, split: str, stems: Sequence[str]) -> None:
        for name, files in self.labels.items():
            missing = [stem for stem in stems if stem not in files]
            if missing:
                raise FileNotFoundError(
                    f"The label `{self.root / name / missing[0]}` (.png or .npy) must exist: each image of a split "
                    f"must have one for each task. {len(missing)} of {len(stems)} labels of split {split!r} are "
                    f"missing in `{name}`."
                )

    def _hash_files(self) -> str:
        files = [*self.images.values(), *(path for labels in self.labels.values() for path in labels.values())]
        files += [self.root / "tasks.json", *(self.root / "splits" / f"{split}.txt" for split in SPLITS)]
        stats = []
        for path in sorted(files):
            if path.exists():
                stat = path.stat()
                stats.append((path.relative_to(self.root).as_posix(), stat.st_size, stat.st_mtime_ns))
        tasks = [task.get_config() for task in self.tasks]
        # Copies may have the same times and sizes: the place counts too.
        content = json.dumps([os.path.realpath(self.root), stats, tasks], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def _files_by_stem(folder: pathlib.Path, suffixes: Sequence[str]) -> dict[str, pathlib.Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder `{folder}` must exist.")
    files: dict[str, pathlib.Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in suffixes or not path.is_file():
            raise ValueError(f"`{folder}` must hold {', '.join(suffixes)} files only. Received: {path.name!r}")
        if not _STEM.fullmatch(path.stem):
            raise ValueError(
                f"A file in `{folder}` must be named with letters, digits, `_`, `-`, `.` and spaces, the first a "
                f"letter, digit or `_`. Received: {path.name!r}"
            )
        if path.stem in files:
            raise ValueError(
                f"`{folder}` must hold one file a stem. Received: {files[path.stem].name!r} and {path.name!r}"
            )
        files[path.stem] = path
    if not files:
        raise FileNotFoundError(f"The folder `{folder}` must hold {', '.join(suffixes)} files. It is empty.")
    return files


def _read_stems(path: pathlib.Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"The split list `{path}` must exist, with one stem a line, or no folder `splits`.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"The split list `{path}` must be UTF-8 text. Received: {error}") from error
    stems = [line.strip() for line in lines if line.strip()]
    if not stems:
        raise ValueError(f"The split list `{path}` must hold one stem a line. It is empty.")
    seen = set()
    for stem in stems:
        if not _STEM.fullmatch(stem):
            raise ValueError(f"A stem in `{path}` must be a file name without folder and suffix. Received: {stem!r}")
        if stem in seen:
            raise ValueError(f"The split list `{path}` must name an image once. Received: {stem!r} twice")
        seen.add(stem)
    return stems


def _split_by_hash(root: pathlib.Path, stems: Sequence[str]) -> dict[str, list[str]]:
    """One in ten stems to validation, by its hash: other images coming or going do not move it.

    If that takes none or all, the stem of least hash alone is validation.
    """
    if len(stems) < 2:
        raise ValueError(f"`{root / 'images'}` must hold at least two images, to split. Received: {len(stems)}")
    hashes = {stem: int.from_bytes(hashlib.sha256(stem.encode()).digest()[:8], "big") for stem in stems}
    validation = [stem for stem in stems if hashes[stem] < 2**64 // 10]
    if len(validation) in (0, len(stems)):
        validation = [min(stems, key=hashes.__getitem__)]
    held_out = set(validation)
    return {"train": [stem for stem in stems if stem not in held_out], "validation": validation}
