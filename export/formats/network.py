"""What the networks of all runtimes have in common."""

import abc
import threading
from typing import Any, Self

import numpy as np

from rc_keras.base.names import unknown_name
from rc_keras.training import first_batch


class Network(abc.ABC):
    """Tasks of an exported file, open in a runtime; also a context manager that closes it.

    Several threads may share one.

    Args:
        metadata: what the file says about itself, see `rc_keras.export.formats.metadata`.
        description: what it says to other programs, see `rc_keras.export.formats.description`; `None` in files of
            earlier versions.

    Attributes:
        tasks: names of the tasks.
        metadata, description: as given.
    """

    def __init__(self, metadata: dict[str, Any], description: dict[str, Any] | None = None) -> None:
        self.tasks, self.metadata, self.description = list(metadata["tasks"]), metadata, description
        self._image_shape = tuple(metadata["input"]["shape"])
        self._closed = False
        self._lock = threading.Lock()  # held where the runtime's own state changes

    def run(self, image: Any, task: str | None = None) -> Any:
        """Computes a task, or all.

        May be called from several threads at the same time, for the same task or for different ones. In onnxruntime and
        TensorFlow they compute side by side; in LiteRT one image is computed after the other.

        Args:
            image: RGB in 0..255, uint8 or float: `(height, width, channels)` or `(batch, height, width, channels)`.
            task: its name; `None`: all tasks, in one call of the signature or graph `all` where the file has it.

        Returns:
            The answer, described in `metadata["tasks"][task]`, with a leading axis if `image` has it; of all tasks,
            `{task: answer}`.

        Raises:
            ValueError: for an unknown task, or an image of another size than the file takes.
            RuntimeError: after `close`.
        """
        self._check_open()
        if task is not None and task not in self.tasks:
            raise unknown_name("task", task, self.tasks)
        image = np.asarray(image)
        batch = image[None] if image.ndim == 3 else image
        first_batch.check_images(batch, self._image_shape)
        if not len(batch):
            raise ValueError("`image` must hold at least one image. Received: none")
        batch = batch.astype("float32")
        answers = self._answers_of_all(batch) if task is None else {task: self._answers(batch, task)}
        if image.ndim == 3:
            answers = {name: answer[0] for name, answer in answers.items()}
        return answers if task is None else answers[task]

    def close(self) -> None:
        """Frees the memory; nothing can be run afterwards."""
        with self._lock:
            self._closed = True
            self._free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("The network is closed")

    @abc.abstractmethod
    def _answers(self, images: np.ndarray, task: str) -> np.ndarray:
        """The answers to float32 images `(batch, height, width, channels)`, `(batch, …)`; called in several threads."""

    def _answers_of_all(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The answers of all tasks; to be overridden where one call gives them."""
        return {task: self._answers(images, task) for task in self.tasks}

    @abc.abstractmethod
    def _free(self) -> None:
        """Lets go of what the runtime holds, under the lock; may be called again."""
