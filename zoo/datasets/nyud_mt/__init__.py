"""NYUDv2 for four tasks: importing this package registers the builder `nyud_mt`."""

from rc_keras.zoo.datasets.nyud_mt.nyud_mt_dataset_builder import Builder

__all__ = ["Builder"]
