"""The batches of a training on stored rooms, on any backend."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from rc_keras.zoo.rooms.stored_rooms import StoredRooms

_LIGHT, _COLOUR = (0.7, 1.3), (0.75, 1.25)  # factors of the image, and of each of its channels


class RoomBatches(keras.utils.PyDataset):
    """Batches `(images, {task: labels})`; each depends on the seed and its step alone.

    Every room comes once in an epoch. Half of them are mirrored, and light changes in strength and colour.

    Args:
        rooms: the rooms, rendered.
        tasks: names of the labels.
        batch_size: rooms in one batch; what is left at the end of an epoch is left out.
        seed: of order and augmentation.
        steps: numbers of the optimizer steps, from 0.
    """

    def __init__(
        self, rooms: StoredRooms, tasks: Sequence[str], batch_size: int, seed: int, steps: range, **kwargs: Any
    ) -> None:
        super().__init__(**{"workers": 2, "max_queue_size": 8, **kwargs})
        self._rooms, self._tasks, self._batch_size, self._seed, self._steps = rooms, tasks, batch_size, seed, steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        step, size = self._steps[index], self._batch_size
        epoch, position = divmod(step, len(self._rooms) // size)
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._rooms))
        chosen = order[position * size : (position + 1) * size]
        maps = self._rooms.read(chosen, ("image", *self._tasks))

        random = np.random.default_rng((self._seed, epoch, position))
        mirrored = random.random(size) < 0.5
        factors = random.uniform(*_LIGHT, (size, 1, 1, 1)) * random.uniform(*_COLOUR, (size, 1, 1, 3))
        for pixels in maps.values():
            pixels[mirrored] = pixels[mirrored, :, ::-1]
        if "normals" in maps:  # x points to the right of the image
            maps["normals"][mirrored, ..., 0] *= -1
        image = np.clip(maps.pop("image") * factors.astype("float32"), 0, 255)
        return image, maps
