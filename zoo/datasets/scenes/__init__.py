"""Rendered rooms with six labels: importing this package registers the builder `scenes`."""

from rc_keras.zoo.datasets.scenes.classes import CLASSES, PARTS
from rc_keras.zoo.datasets.scenes.scenes_dataset_builder import Builder

__all__ = ["CLASSES", "PARTS", "Builder"]
