"""A SavedModel in TensorFlow."""

import json
import os

import numpy as np

from rc_keras.export.runtime.network import Network
from rc_keras.export.to_saved_model import METADATA


class SavedModelNetwork(Network):
    """The tasks of a SavedModel; they share the bank's variables.

    Args:
        path: a folder that `rc_keras.export.saved_model` wrote.
        threads: must be `None`: `tf.config.threading` sets TensorFlow's threads, for the whole process.

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
                metadata = json.load(file)
            self._signatures = tf.saved_model.load(os.fspath(path)).signatures
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ValueError(
                f"`path` must be a folder that rc_keras.export.saved_model wrote. Received: path={str(path)!r}; {error}"
            ) from error
        super().__init__(metadata)

    def _answers(self, images: np.ndarray, task: str) -> np.ndarray:
        import tensorflow as tf

        with self._lock:
            self._check_open()
            signature = self._signatures[task]
        return signature(image=tf.constant(images))[task].numpy()

    def _free(self) -> None:
        self._signatures = None
