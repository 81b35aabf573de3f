"""A SavedModel in TensorFlow."""

import json
import os

import numpy as np

from rc_keras import first_batch
from rc_keras.export.to_saved_model import METADATA
from rc_keras.names import unknown_name


class SavedModelNetwork:
    """The tasks of a SavedModel; they share the bank's variables.

    Args:
        path: a folder that `rc_keras.export.saved_model` wrote.
        threads: must be `None`: `tf.config.threading` sets TensorFlow's threads, for the whole process.

    Attributes:
        tasks: names of the tasks.
        metadata: what the folder says about itself, see `rc_keras.export.metadata`.

    Raises:
        ValueError: if the folder is from elsewhere or damaged, or `threads` is given.
    """

    def __init__(self, path, threads=None):
        if threads is not None:
            raise ValueError(
                "`threads` must be None: `tf.config.threading.set_intra_op_parallelism_threads` sets them for the "
                f"whole process. Received: threads={threads!r}"
            )
        import tensorflow as tf

        try:
            with open(os.path.join(path, METADATA), "rb") as file:
                self.metadata = json.load(file)
            self._signatures = tf.saved_model.load(os.fspath(path)).signatures
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ValueError(
                f"`path` must be a folder that rc_keras.export.saved_model wrote. Received: path={str(path)!r}; {error}"
            ) from error
        self.tasks = list(self.metadata["tasks"])

    def run(self, image, task):
        """Computes a task; see `rc_keras.export.runtime.load`."""
        if self._signatures is None:
            raise RuntimeError("The network is closed")
        if task not in self.tasks:
            raise unknown_name("task", task, self.tasks)
        import tensorflow as tf

        image = np.asarray(image)
        batch = image[None] if image.ndim == 3 else image
        first_batch.check_images(batch, tuple(self.metadata["input"]["shape"]))
        answer = self._signatures[task](image=tf.constant(batch, tf.float32))[task].numpy()
        return answer[0] if image.ndim == 3 else answer

    def close(self):
        """Frees the memory."""
        self._signatures = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
