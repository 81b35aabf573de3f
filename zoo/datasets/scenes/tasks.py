"""The six tasks of the `scenes` dataset, which are those of the renderer."""

from rc_keras.zoo.rendering.tasks import scenes_tasks

__all__ = ["scenes_tasks"]
