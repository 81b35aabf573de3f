"""Rooms full of simple objects, rendered by ray casting, with the truth of six tasks: NumPy alone."""

from rc_keras.zoo.rendering.classes import CLASSES, PARTS
from rc_keras.zoo.rendering.renderer import render_scene
from rc_keras.zoo.rendering.tasks import scenes_tasks

__all__ = ["CLASSES", "PARTS", "render_scene", "scenes_tasks"]
