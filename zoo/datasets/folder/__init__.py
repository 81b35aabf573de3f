"""Your own images and labels, from a folder: importing this package registers the builder `folder`."""

import os

from rc_keras.zoo.datasets.data import Data
from rc_keras.zoo.datasets.folder.folder_dataset_builder import Builder


def open_data(config: str, manual_dir: str | os.PathLike | None, data_dir: str | os.PathLike | None) -> Data:
    """The data set for recipes, see `rc_keras.zoo.datasets.data.open_data`; `manual_dir` is the root."""
    if manual_dir is None:
        raise ValueError("`manual_dir` must be the root of the folder with your data. Received: manual_dir=None")
    builder = Builder(manual_dir, data_dir=data_dir)
    return Data.of(builder, builder.tasks)  # it has read where the data is


__all__ = ["Builder", "open_data"]
