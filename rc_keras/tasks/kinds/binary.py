"""What kinds of yes and no share: one logit a pixel against 0 and 1."""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from rc_keras.base.keras_types import Tensor
from rc_keras.losses import MaskedBinaryCrossentropy, MaskedBinaryFocalCrossentropy, MaskedDice
from rc_keras.tasks import drawing
from rc_keras.tasks.kinds.kind import Kind
from rc_keras.tasks.labels import list_values, wrong_labels
from rc_keras.tasks.legend import Legend, Ramp

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task

_LEAST_PROBABILITY = 1e-7  # and 1 minus the greatest, of which the logit is told again


class Binary(Kind):
    """One logit, a probability once activated; labels are 0 and 1."""

    values = "probabilities"
    ignore = 255
    continuous = False
    binary = True
    quantity = "probability"
    limits = (0.0, 1.0)
    ramp = drawing.GREYS

    def named_losses(self, task: "Task") -> Mapping[str, Callable[[], keras.losses.Loss]]:
        crossentropy = partial(MaskedBinaryCrossentropy, ignore=task.ignore)
        return {
            "crossentropy": crossentropy,
            "ce": crossentropy,
            "dice": partial(MaskedDice, ignore=task.ignore),
            "focal": partial(MaskedBinaryFocalCrossentropy, ignore=task.ignore),
        }

    def activate(self, raw: Tensor) -> Tensor:
        return ops.sigmoid(raw)

    def deactivate(self, activated: np.ndarray) -> np.ndarray:
        probability = np.clip(activated, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        return np.log(probability / (1 - probability))

    def constant_guess(self, task: "Task", labels: np.ndarray) -> tuple[str, np.ndarray]:
        return "foreground everywhere", np.full(1, 20.0)

    def check_values(self, task: "Task", labels: np.ndarray) -> None:
        wrong = (labels != 0) & (labels != 1) & (labels != task.ignore)
        if np.any(wrong):
            raise wrong_labels(task, f"be 0, 1, or {task.ignore} to be ignored", list_values(labels[wrong]))
        if task.ignore == 255 and np.any(labels == 255) and not np.any(labels == 1):
            warnings.warn(
                f"`{task.name}` labels hold 255, which is ignored, and no 1. If 255 stands for the "
                "foreground, divide the labels by 255.",
                stacklevel=4,
            )

    def draw(
        self, task: "Task", prediction: np.ndarray, activated: bool, value_range: tuple[float, float] | None
    ) -> np.ndarray:
        if not activated:
            prediction = 0.5 * (1.0 + np.tanh(0.5 * prediction))  # a sigmoid that cannot overflow
        return drawing.draw_probabilities(prediction[..., 0])

    def draw_label(
        self, task: "Task", label: np.ndarray, ignored: np.ndarray, value_range: tuple[float, float] | None
    ) -> np.ndarray:
        return drawing.draw_probabilities(label, ignored)

    def legend(self, task: "Task", value_range: tuple[float, float]) -> Legend:
        black_to_white = np.array([[0] * 3, [255] * 3], "uint8")
        return Ramp(black_to_white, "0", f"1, probability of {task.name}")
