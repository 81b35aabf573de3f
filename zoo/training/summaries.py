"""TensorBoard summaries: scalars and pictures of predictions."""

import os
from collections.abc import Mapping

import keras
import numpy as np


class Summaries(keras.callbacks.Callback):
    """Writes the logs as scalars and what the model answers for some images as pictures, task by task.

    Pictures show image, label and prediction side by side.

    Args:
        folder: TensorBoard's log folder.
        images: `(n, height, width, 3)` uint8.
        labels: `{task: labels}` of these images.
        steps_per_epoch: as `fit` has it.
        write: whether this worker writes.

    Raises:
        ImportError: if TensorBoard is missing.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        images: np.ndarray,
        labels: Mapping[str, np.ndarray],
        steps_per_epoch: int,
        write: bool = True,
    ) -> None:
        super().__init__()
        import tensorflow as tf

        if not hasattr(tf.summary, "scalar"):
            raise ImportError("Summaries need TensorBoard: pip install rc_keras[train]")
        self.images, self.labels = images, labels
        self.steps_per_epoch = steps_per_epoch
        self._summary = tf.summary
        self._writer = tf.summary.create_file_writer(str(folder)) if write else tf.summary.create_noop_writer()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        step = (epoch + 1) * self.steps_per_epoch
        # Every worker computes the predictions: with several, variables may only be read by all together.
        predictions = self.model(self.images, training=False)
        with self._writer.as_default(step=step):
            for name, value in (logs or {}).items():
                split, _, metric = ("validation", "", name[4:]) if name.startswith("val_") else ("train", "", name)
                self._summary.scalar(f"{metric}/{split}", float(value))
            for name, labels in self.labels.items():
                self._summary.image(name, self._pictures(name, labels, predictions[name]), max_outputs=len(labels))
        self._writer.flush()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self._writer.close()

    def _pictures(self, name: str, labels: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        task = self.model.task(name)
        kind = task.definition
        scale = {"depth_range": kind.picture_range(task, labels)} if kind.colour_scale else {}
        columns = (self.images, task.draw_label(labels, **scale), task.draw(prediction, **scale))
        return np.concatenate(columns, axis=2)
