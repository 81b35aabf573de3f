"""Rooms that are rendered once and read in place, out of files of one layout."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import pathlib
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from rc_keras.files.whole_files import whole_file
from rc_keras.zoo.rendering.renderer import render_scene

_SHARD = 250  # rooms in a file


class StoredRooms:
    """Rooms of a split of `scenes` in files, 245 kB a room of 128x128, with normals and depth in half precision.

    So `read` answers what `render_scene` does to 0.03 degrees, and to 4 mm at 8 m.

    Args:
        folder: of the files.
        split: 0 for training, 1 for validation, as in the data set.
        numbers: which rooms of the split.
        size: height and width of the images, pixels.
    """

    def __init__(self, folder: str | os.PathLike, split: int, numbers: range, size: int) -> None:
        self._split, self._size, self._numbers = split, size, numbers
        parts = [numbers[i : i + _SHARD] for i in range(0, len(numbers), _SHARD)]
        self._shards = {
            pathlib.Path(folder) / f"{size}x{size}-{split}-{part.start}-{part.stop}.npy": part for part in parts
        }
        self._open: list[np.ndarray] = []

    def render(self) -> "StoredRooms":
        """Renders those that are missing, on all cores, 0.06 s a room; returns itself."""
        missing = {path: numbers for path, numbers in self._shards.items() if not path.exists()}
        if missing:
            next(iter(missing)).parent.mkdir(parents=True, exist_ok=True)
            bar = keras.utils.Progbar(sum(map(len, missing.values())), unit_name="room")
            spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
            count = min(os.cpu_count() or 1, len(missing))
            with _numpy_backend(), concurrent.futures.ProcessPoolExecutor(count, spawn) as workers:
                calls = [workers.submit(_render, path, self._split, n, self._size) for path, n in missing.items()]
                for call in concurrent.futures.as_completed(calls):
                    bar.add(call.result())
        self._open = [np.load(path, mmap_mode="r") for path in self._shards]
        return self

    def __len__(self) -> int:
        return len(self._numbers)

    def read(self, indices: Iterable[int], names: Iterable[str]) -> dict[str, np.ndarray]:
        """Images and labels of some rooms.

        Args:
            indices: of rooms, from 0.
            names: `"image"` and tasks.

        Returns:
            `{name: (rooms, height, width, channels)}`, as of the data set: float32 normals and depth, uint8 else.
        """
        records = np.stack([self._open[index // _SHARD][index % _SHARD] for index in indices])
        return {name: records[name].astype("u1" if records[name].dtype == "u1" else "f4") for name in names}


@contextlib.contextmanager
def _numpy_backend() -> Iterator[None]:
    """Context in which new processes import Keras without a backend that takes memory and time."""
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "numpy"
    try:
        yield
    finally:
        del os.environ["KERAS_BACKEND"]
        if before is not None:
            os.environ["KERAS_BACKEND"] = before


def _render(path: pathlib.Path, split: int, numbers: range, size: int) -> int:
    """Writes the file of some rooms, unless another process has; returns how many those are."""
    if path.exists():
        return len(numbers)
    rooms = np.empty(len(numbers), _record(size))
    for room, number in zip(rooms, numbers, strict=True):
        scene = render_scene((split, number), size)
        for name in room.dtype.names:
            room[name] = scene[name]
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.save(file, rooms)
    return len(rooms)


def _record(size: int) -> np.dtype:
    def map_of(channels: int) -> tuple[int, int, int]:
        return (size, size, channels)

    return np.dtype(
        [
            ("image", "u1", map_of(3)),
            *((name, "u1", map_of(1)) for name in ("semseg", "parts", "edge", "saliency")),
            ("normals", "f2", map_of(3)),
            ("depth", "f2", map_of(1)),
        ]
    )
