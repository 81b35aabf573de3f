"""What the networks of all runtimes have in common."""

import abc

import numpy as np

from rc_keras import first_batch
from rc_keras.names import unknown_name


class Network(abc.ABC):
    """Tasks of an exported file, open in a runtime; also a context manager that closes it.

    Args:
        metadata: what the file says about itself, see `rc_keras.export.metadata`.

    Attributes:
        tasks: names of the tasks.
        metadata: as given.
    """

    def __init__(self, metadata):
        self.tasks, self.metadata = list(metadata["tasks"]), metadata
        self._image_shape = tuple(metadata["input"]["shape"])
        self._closed = False

    def run(self, image, task):
        """Computes a task.

        Args:
            image: RGB in 0..255, uint8 or float: `(height, width, channels)` or `(batch, height, width, channels)`.
            task: its name.

        Returns:
            The answer, described in `metadata["tasks"][task]`, with a leading axis if `image` has it.

        Raises:
            ValueError: for an unknown task, or an image of another size than the file takes.
            RuntimeError: after `close`.
        """
        if self._closed:
            raise RuntimeError("The network is closed")
        if task not in self.tasks:
            raise unknown_name("task", task, self.tasks)
        image = np.asarray(image)
        batch = image[None] if image.ndim == 3 else image
        first_batch.check_images(batch, self._image_shape)
        if not len(batch):
            raise ValueError("`image` must hold at least one image. Received: none")
        answers = self._answers(batch.astype("float32"), task)
        return answers[0] if image.ndim == 3 else answers

    def close(self):
        """Frees the memory; nothing can be run afterwards."""
        self._closed = True
        self._free()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    @abc.abstractmethod
    def _answers(self, images, task):
        """The answers to float32 images `(batch, height, width, channels)`, `(batch, …)`."""

    @abc.abstractmethod
    def _free(self):
        """Lets go of what the runtime holds; may be called again."""
