"""What kinds of classes share: logits of classes against class ids."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import keras
import numpy as np

from rc_keras.losses import MaskedCrossentropy, MaskedDice, MaskedFocalCrossentropy
from rc_keras.tasks import drawing
from rc_keras.tasks.kinds.kind import Kind
from rc_keras.tasks.labels import list_values, wrong_labels
from rc_keras.tasks.legend import Legend, Swatches

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task


class OfClasses(Kind):
    """Logits of classes; labels are class ids, 0 … channels - 1."""

    values = "logits"
    channels = None
    continuous = False
    of_classes = True
    ramp = None

    def make_loss(self, task: "Task") -> keras.losses.Loss:
        return MaskedCrossentropy(ignore=task.ignore)

    def named_losses(self, task: "Task") -> Mapping[str, Callable[[], keras.losses.Loss]]:
        crossentropy = partial(MaskedCrossentropy, ignore=task.ignore)
        return {
            "crossentropy": crossentropy,
            "ce": crossentropy,
            "dice": partial(MaskedDice, ignore=task.ignore),
            "focal": partial(MaskedFocalCrossentropy, ignore=task.ignore),
        }

    def constant_guess(self, task: "Task", labels: np.ndarray) -> tuple[str, np.ndarray]:
        counts = np.bincount(labels[labels != task.ignore].ravel(), minlength=task.channels)[: task.channels]
        names = task.class_names or range(task.channels)
        return f"always {names[counts.argmax()]}", np.eye(task.channels)[counts.argmax()]

    def check_values(self, task: "Task", labels: np.ndarray) -> None:
        if np.issubdtype(labels.dtype, np.floating) and np.any(labels != np.round(labels)):
            received = list_values(labels[labels != np.round(labels)])
            raise wrong_labels(task, "be whole class ids (were they resized bilinearly?)", received)
        wrong = (labels != task.ignore) & ((labels < 0) | (labels >= task.channels))
        if np.any(wrong):
            expected = f"be class ids in 0 … {task.channels - 1}, or {task.ignore} to be ignored"
            raise wrong_labels(task, expected, list_values(labels[wrong]))

    def decode(self, values: np.ndarray, is_pixels: bool) -> np.ndarray:
        if values.dtype.kind == "f":
            raise ValueError(f"hold integer class ids. Received: dtype {values.dtype}")
        return values

    def draw(
        self, task: "Task", prediction: np.ndarray, activated: bool, value_range: tuple[float, float] | None
    ) -> np.ndarray:
        return drawing.draw_classes(np.argmax(prediction, axis=-1), task.channels)

    def draw_label(
        self, task: "Task", label: np.ndarray, ignored: np.ndarray, value_range: tuple[float, float] | None
    ) -> np.ndarray:
        return drawing.draw_classes(label, task.channels, ignored)

    def legend(self, task: "Task", value_range: tuple[float, float]) -> Legend:
        names = task.class_names or [str(number) for number in range(task.channels)]
        return Swatches(names, drawing.class_palette(task.channels))
