"""Rendered rooms with six labels: importing this package registers the builder `scenes`."""

import os

from rc_keras.zoo.datasets.data import Data
from rc_keras.zoo.datasets.scenes.scenes_dataset_builder import Builder
from rc_keras.zoo.rendering.classes import CLASSES, PARTS
from rc_keras.zoo.rendering.tasks import scenes_tasks


def open_data(config: str, manual_dir: str | os.PathLike | None, data_dir: str | os.PathLike | None) -> Data:
    """The data set for recipes, see `rc_keras.zoo.datasets.data.open_data`."""
    return Data.of(Builder(config=config or None, data_dir=data_dir), scenes_tasks(), manual_dir)


__all__ = ["CLASSES", "PARTS", "Builder", "open_data"]
