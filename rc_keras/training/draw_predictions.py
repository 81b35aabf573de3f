"""Pictures of what a model predicts while it trains."""

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from rc_keras.files.whole_files import whole_file
from rc_keras.training.first_batch import check_images
from rc_keras.training.measured_network import MeasuredNetwork


class DrawPredictions(keras.callbacks.Callback):
    """Draws what `fit` has come to on a few images, after an epoch: as PNG files, for TensorBoard, or both.

    A row is an image: the image, its label where `labels` has one, and the prediction, as `Task.draw` draws it. A task
    has a file of its own, `<directory>/<task>_<epoch>.png`, epochs counted from 1, and a picture for each row in
    TensorBoard. Depth and regression have one scale of colours through all epochs where there are labels, that of the
    labels; else each picture has its own.

    Example:

    >>> draw = rc_keras.DrawPredictions(images[:4], {"depth": depth[:4]}, directory="pictures", log_dir="logs")
    >>> model.fit(dataset, epochs=20, callbacks=[draw])

    Args:
        images: `(n, height, width, channels)`, as the model takes them; all are predicted at once.
        labels: `{task: labels}` of the images, or `None`.
        tasks: names of the tasks to draw; `None`: those that are trainable as `fit` begins and answer a map.
        directory: folder of the PNG files, made if it is missing; `None`: none.
        log_dir: TensorBoard's folder; `None`: none. It needs TensorFlow and TensorBoard, on every backend.
        every: epochs from one picture to the next.
        write: whether anything is written. With several workers all must draw, for variables are read by all together,
            and one must write.

    Raises:
        ValueError: if an argument is wrong, and as `fit` begins if images, labels or tasks are not the model's.
        ImportError: as `fit` begins, if Pillow (`directory`) or TensorBoard (`log_dir`) is missing.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: Mapping[str, np.ndarray] | None = None,
        tasks: Sequence[str] | None = None,
        directory: str | os.PathLike | None = None,
        log_dir: str | os.PathLike | None = None,
        every: int = 1,
        write: bool = True,
    ) -> None:
        super().__init__()
        if directory is None and log_dir is None:
            raise ValueError("`directory` or `log_dir` must be given. Received: neither")
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"`every` must be a positive int. Received: every={every!r}")
        if isinstance(tasks, str):
            raise ValueError(f"`tasks` must be a list of task names. Received: tasks={tasks!r}")
        self.images = keras.ops.convert_to_numpy(images)
        self.labels = {task: keras.ops.convert_to_numpy(label) for task, label in (labels or {}).items()}
        self.tasks = None if tasks is None else list(tasks)
        self.directory = None if directory is None else pathlib.Path(directory)
        self.log_dir = log_dir
        self.every = every
        self.write = write
        self._drawn: list[str] = []
        self._summaries: _Summaries | None = None

    def set_model(self, model: MeasuredNetwork) -> None:
        super().set_model(model)
        check_images(self.images, model.image_shape)
        for name in self.tasks or ():
            if not model.task(name).definition.dense:
                raise ValueError(f"`tasks` must be tasks that answer a map. Received: {name!r}")
        for name, label in self.labels.items():
            model.task(name).check_labels(label, self.images.shape)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        model = self.model
        dense = [name for name in model.trainable_tasks if model.task(name).definition.dense]
        self._drawn = dense if self.tasks is None else self.tasks
        if self.write and self.directory is not None:
            _pillow()
            self.directory.mkdir(parents=True, exist_ok=True)
        if self.write and self.log_dir is not None:
            self._summaries = _Summaries(self.log_dir)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if (epoch + 1) % self.every:
            return
        for name, pictures in self._pictures():
            if self.write and self.directory is not None:
                sheet = _pillow().fromarray(np.concatenate(pictures, axis=0))
                with whole_file(self.directory / f"{name}_{epoch + 1:04d}.png") as temporary:
                    sheet.save(temporary, format="PNG")
            if self._summaries is not None:
                self._summaries.write(name, pictures, epoch + 1)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._summaries is not None:
            self._summaries.close()
            self._summaries = None

    def _pictures(self) -> Iterator[tuple[str, np.ndarray]]:
        """`(task, uint8 pictures (n, height, columns, 3))`, all of one moment."""
        model = self.model
        predictions = model(self.images, training=False, tasks=self._drawn)
        shown = np.clip(np.round(self.images), 0, 255).astype("uint8")
        for name in self._drawn:
            task, label, columns = model.task(name), self.labels.get(name), [shown]
            scale: dict[str, Any] = {}
            if label is not None:
                if task.definition.colour_scale:
                    scale["depth_range"] = task.definition.picture_range(task, label)
                columns.append(task.draw_label(label, **scale))
            columns.append(task.draw(predictions[name], **scale))
            yield name, np.concatenate(columns, axis=2)


class _Summaries:
    """Pictures for TensorBoard."""

    def __init__(self, log_dir: str | os.PathLike) -> None:
        try:
            import tensorflow as tf

            self._image = tf.summary.image
        except (ImportError, AttributeError) as error:
            raise ImportError("Pictures for TensorBoard need it: pip install rc_keras[train]") from error
        self._writer = tf.summary.create_file_writer(os.fspath(log_dir))

    def write(self, name: str, pictures: np.ndarray, step: int) -> None:
        with self._writer.as_default(step=step):
            self._image(name, pictures, max_outputs=len(pictures))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("Drawing needs Pillow: pip install rc_keras[viz]") from error
    return Image
