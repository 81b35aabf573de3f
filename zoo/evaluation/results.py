"""What a model scored: JSON and a table."""

import dataclasses
import os
from typing import Any

from rc_keras.files.whole_files import write_json

# How a metric is shown: factor, unit, decimals. Depth has four, for it is a few tenths of a metre.
_SHARE, _DEGREES, _METRES, _PLAIN = (100, "%", 2), (1, "°", 2), (1, "m", 4), (1, "", 4)
_SHOWN = {
    "mean_angle": _DEGREES,
    "median_angle": _DEGREES,
    "rmse_angle": _DEGREES,
    "rmse": _METRES,
    "rmse_per_image": _METRES,
    "log_rmse": _PLAIN,
    "log_rmse_median": _PLAIN,
    "abs_rel": _PLAIN,
}
_LOWER_IS_BETTER = frozenset(_SHOWN)


@dataclasses.dataclass(frozen=True)
class Results:
    """Metrics of a model on a split.

    Attributes:
        tasks: `{task: {metric: number}}`; shares in 0..1, angles in degrees, depth in metres.
        classes: `{task: {class name: intersection over union}}` of segmentation tasks.
        images: how many.
        split: which.
        details: what else the JSON should tell: model, data set, versions, seconds.
    """

    tasks: dict[str, dict[str, float]]
    classes: dict[str, dict[str, float]]
    images: int
    split: str
    details: dict[str, Any]

    def save(self, path: str | os.PathLike) -> None:
        """Writes JSON."""
        write_json(path, dataclasses.asdict(self))

    def to_markdown(self) -> str:
        """A table with a line for each metric."""
        lines = [f"{self.images} images of `{self.split}`.", "", "| task | metric | value |", "| --- | --- | ---: |"]
        for task, metrics in self.tasks.items():
            for name, value in metrics.items():
                arrow = "" if name.endswith("threshold") else " ↓" if name in _LOWER_IS_BETTER else " ↑"
                lines.append(f"| {task} | {name}{arrow} | {_show(name, value)} |")
        return "\n".join(lines) + "\n"


def _show(name: str, value: float) -> str:
    factor, unit, decimals = _SHOWN.get(name, _SHARE)
    if name.endswith("threshold"):
        factor, unit, decimals = 1, "", 3
    return f"{factor * value:.{decimals}f}{' ' if unit not in ('', '°') else ''}{unit}"
