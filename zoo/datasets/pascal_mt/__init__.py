"""PASCAL-Context for five tasks: importing this package registers the builder `pascal_mt`."""

from rc_keras.zoo.datasets.pascal_mt.pascal_mt_dataset_builder import Builder

__all__ = ["Builder"]
