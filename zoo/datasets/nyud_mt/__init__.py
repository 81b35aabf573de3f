"""NYUDv2 for four tasks: importing this package registers the builder `nyud_mt`."""

import os

import rc_keras
from rc_keras.zoo.datasets.data import Data
from rc_keras.zoo.datasets.nyud_mt.nyud_mt_dataset_builder import Builder


def open_data(config: str, manual_dir: str | os.PathLike | None, data_dir: str | os.PathLike | None) -> Data:
    """The data set for recipes, see `rc_keras.zoo.datasets.data.open_data`."""
    return Data.of(Builder(data_dir=data_dir), rc_keras.nyud(), manual_dir)


__all__ = ["Builder", "open_data"]
