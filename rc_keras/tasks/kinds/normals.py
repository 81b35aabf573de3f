"""Surface normals: which way a pixel's surface faces."""

from typing import TYPE_CHECKING

import keras
import numpy as np

from rc_keras.losses import NormalsL1
from rc_keras.metrics import MeanAngle
from rc_keras.tasks import drawing
from rc_keras.tasks.kinds.kind import Kind
from rc_keras.tasks.labels import wrong_labels
from rc_keras.tasks.legend import Legend, Sample

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task

# An 8-bit pixel cannot say the zero vector, 127.5, so a short vector stands for "unknown".
SHORTEST_NORMAL = 0.5
# A typical normal must have length 1 within 5 %: JPEG coding moves single ones by more, a wrong
# decoding moves all of them.
_LENGTH_TOLERANCE = 0.05
_BALL_SIZE = 192  # pixels


class Normals(Kind):
    """Unit vectors `(B, H, W, 3)`; labels are such vectors, zero where there is none. Measured by the mean angle."""

    name = "normals"
    values = "unit vectors"
    level = 1
    channels = 3
    ignore = 0
    zero_is_unlabelled = True
    unit_length = True
    interpolation = "bilinear"
    mirror_factors = (-1.0, 1.0, 1.0)  # x points to the right of the image
    limits = (-1.0, 1.0)
    axes = (
        "x points right, y down and z away from the camera: a surface that faces the camera is (0, 0, -1), "
        "a floor in front of a level camera (0, -1, 0)"
    )
    ramp = None
    integer_hint = " (8-bit normals decode as 2 v / 255 - 1)"

    def make_loss(self, task: "Task") -> keras.losses.Loss:
        return NormalsL1()

    def make_metrics(self, task: "Task") -> list[keras.metrics.Metric]:
        return [MeanAngle()]

    def make_output_layer(self, name: str) -> keras.layers.Layer:
        return keras.layers.UnitNormalization(dtype="float32", name=name)

    def constant_guess(self, task: "Task", labels: np.ndarray) -> tuple[str, np.ndarray]:
        mean = labels.reshape(-1, 3).mean(axis=0, dtype="float64")
        return "mean normal", mean / np.linalg.norm(mean)

    def check_values(self, task: "Task", labels: np.ndarray) -> None:
        length = np.sqrt(np.sum(np.square(labels, dtype="float64"), axis=-1))
        length = length[length > 0]
        if not length.size:
            return
        typical = np.median(length)
        if abs(typical - 1.0) > _LENGTH_TOLERANCE or np.max(np.abs(labels)) > 1.0 + _LENGTH_TOLERANCE:
            raise wrong_labels(
                task,
                "be vectors of length 1 within 5 %, or zero where there is no label",
                f"vectors of median length {typical:.3g} and components in {labels.min():.3g} … {labels.max():.3g}",
            )

    def decode(self, values: np.ndarray, is_pixels: bool) -> np.ndarray:
        """Bytes v are n = 2 v / 255 - 1, zero where that is shorter than `SHORTEST_NORMAL`, and black pixels too."""
        if values.ndim != 3 or values.shape[-1] != 3:
            raise ValueError(f"hold vectors (height, width, 3). Received: shape {values.shape}")
        if values.dtype != np.uint8:
            return values
        n = values.astype(np.float32) * np.float32(2 / 255) - 1
        unknown = np.einsum("hwc,hwc->hw", n, n) < SHORTEST_NORMAL**2
        if is_pixels:  # black is no direction, but what many tools leave where there is none
            unknown |= ~np.any(values, axis=-1)
        return np.where(unknown[..., None], np.float32(0), n)

    def draw(
        self, task: "Task", prediction: np.ndarray, activated: bool, value_range: tuple[float, float] | None
    ) -> np.ndarray:
        return drawing.draw_normals(prediction)

    def draw_label(
        self, task: "Task", label: np.ndarray, ignored: np.ndarray, value_range: tuple[float, float] | None
    ) -> np.ndarray:
        return drawing.draw_normals(label, ignored)

    def legend(self, task: "Task", value_range: tuple[float, float]) -> Legend:
        """A ball as the camera sees it, each point in the colour of its normal."""
        x, y = np.meshgrid(*[(np.arange(_BALL_SIZE) + 0.5) / _BALL_SIZE * 2 - 1] * 2)
        inside = x**2 + y**2 <= 1
        ball = drawing.draw_normals(np.stack([x, y, -np.sqrt(np.maximum(1 - x**2 - y**2, 0))], axis=-1))
        alpha = np.where(inside, 255, 0).astype("uint8")
        return Sample(
            np.concatenate([ball, alpha[..., None]], axis=-1),
            "a ball in the colours of its normals",
            "A ball in the same colours: walls that face you are olive, floors purple.",
        )
