"""A SavedModel in TensorFlow."""

import json
import os
from typing import Any

import numpy as np

from rc_keras.export.folding.folded_network import ALL
from rc_keras.export.formats.description import NAME
from rc_keras.export.formats.network import Network
from rc_keras.files import manifest
from rc_keras.files.whole_folder import read_whole

METADATA = os.path.join("assets.extra", "rc_keras.json")
DESCRIPTION = os.path.join("assets.extra", f"{NAME}.json")


class SavedModelNetwork(Network):
    """The tasks of a SavedModel; they share the bank's variables.

    Args:
        path: a folder that `rc_keras.export.saved_model` wrote.
        threads: must be `None`: `tf.config.threading` sets TensorFlow's threads, for the whole process.

    Raises:
        ValueError: if the folder is from elsewhere or damaged, or `threads` is given.
    """

    def __init__(self, path: str | os.PathLike, threads: int | None = None) -> None:
        if threads is not None:
            raise ValueError(
                "`threads` must be None: `tf.config.threading.set_intra_op_parallelism_threads` sets them for the "
                f"whole process. Received: threads={threads!r}"
            )
        import tensorflow as tf

        path = os.fspath(path)

        def read() -> tuple[dict[str, Any], dict[str, Any] | None, Any]:
            for name, entry in (manifest.read(path) or {}).items():
                manifest.check_file(os.path.join(path, *name.split("/")), entry)
            with open(os.path.join(path, METADATA), "rb") as file:
                metadata = json.load(file)
            description = None
            if os.path.exists(os.path.join(path, DESCRIPTION)):
                with open(os.path.join(path, DESCRIPTION), "rb") as file:
                    description = json.load(file)
            return metadata, description, tf.saved_model.load(path).signatures

        try:
            metadata, description, self._signatures = read_whole(path, read)
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ValueError(
                f"`path` must be a folder that rc_keras.export.saved_model wrote. Received: path={path!r}; {error}"
            ) from error
        super().__init__(metadata, description)

    def _answers(self, images: np.ndarray, task: str) -> np.ndarray:
        import tensorflow as tf

        with self._lock:
            self._check_open()
            signature = self._signatures[task]
        return signature(image=tf.constant(images))[task].numpy()

    def _answers_of_all(self, images: np.ndarray) -> dict[str, np.ndarray]:
        import tensorflow as tf

        with self._lock:
            self._check_open()
            signature = self._signatures.get(ALL)
        if signature is None:
            return super()._answers_of_all(images)
        answers = signature(image=tf.constant(images))
        return {task: answers[task].numpy() for task in self.tasks}

    def _free(self) -> None:
        self._signatures = None
