"""Images whose activations give an integer network its ranges."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from rc_keras.base.names import unknown_name
from rc_keras.training import first_batch

PRECISION = "int8"  # the one that needs them


def check_representative_data(
    data: Iterable[Any] | dict[str, Iterable[Any]] | None,
    precision: str,
    tasks: Collection[str],
    image_shape: Sequence[int | None],
) -> dict[str, list[np.ndarray]]:
    """Checks images for calibration, and holds them in memory; one to five hundred are enough.

    Args:
        data: images in 0..255, or `{task: images}`: an array `(n, height, width, channels)`, or anything that yields
            images `(height, width, channels)`, batches of them, or tuples that begin with either, as a dataset does.
        precision: of the export.
        tasks: names of the tasks.
        image_shape: `(height, width, channels)`, `None` where free.

    Returns:
        `{task: list of arrays (1, height, width, channels)}`, empty where the precision needs none.

    Raises:
        ValueError: if there are none where they are needed, or some where they are not, or they are not as described.
    """
    if precision != PRECISION:
        if data is not None:
            raise ValueError(f"`representative_data` must be None with {precision}. Received: representative_data")
        return {}
    if data is None:
        raise ValueError(
            f"`representative_data` must be images like those the network will see with {precision}: they set the "
            "ranges of its activations. Received: None"
        )
    if not isinstance(data, dict):
        return dict.fromkeys(tasks, _check_images(data, image_shape))
    for name in data:
        if name not in tasks:
            raise unknown_name("representative_data", name, tasks)
    missing = [name for name in tasks if name not in data]
    if missing:
        raise ValueError(f"`representative_data` must have images for every task. Received: none for {missing}")
    return {name: _check_images(data[name], image_shape) for name in tasks}


def _check_images(data: Iterable[Any], image_shape: Sequence[int | None]) -> list[np.ndarray]:
    images: list[np.ndarray] = []
    for element in data:
        batch = np.asarray(element[0] if isinstance(element, (tuple, list)) else element)
        batch = batch[None] if batch.ndim == 3 else batch
        first_batch.check_images(batch, image_shape)
        images.extend(batch[i : i + 1] for i in range(len(batch)))
    if not images:
        raise ValueError("`representative_data` must hold at least one image. Received: none")
    return images
