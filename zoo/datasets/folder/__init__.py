"""Your own images and labels, from a folder: importing this package registers the builder `folder`."""

from rc_keras.zoo.datasets.folder.folder_dataset_builder import Builder

__all__ = ["Builder"]
