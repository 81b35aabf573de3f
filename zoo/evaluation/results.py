"""What a model scored: JSON and a table."""

import dataclasses
import os
from typing import Any

from rc_keras.files.whole_files import write_json
from rc_keras.zoo.measures import IN_UNIT_OF_TASK, SHARE, measure_of_key


@dataclasses.dataclass(frozen=True)
class Results:
    """Metrics of a model on a split.

    Attributes:
        tasks: `{task: {metric: number}}`; shares in 0..1, angles in degrees, depth in metres.
        classes: `{task: {class name: intersection over union}}` of segmentation tasks.
        images: how many.
        split: which.
        details: what else the JSON should tell: model, data set, versions, seconds; `units` of tasks that say theirs.
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
        """A table with a line for each metric, and one of the classes of each segmentation, the best first."""
        lines = [f"{self.images} images of `{self.split}`.", "", "| task | metric | value |", "| --- | --- | ---: |"]
        for task, metrics in self.tasks.items():
            for key, value in metrics.items():
                measure = measure_of_key(key)
                unit = self.details.get("units", {}).get(task, "") if measure.scale is IN_UNIT_OF_TASK else ""
                shown = f"{measure.show_with_unit(value)} {unit}".rstrip()
                lines.append(f"| {task} | {f'{key} {measure.arrow}'.rstrip()} | {shown} |")
        for task, classes in self.classes.items():
            lines += ["", f"| {task} | IoU ↑ |", "| --- | ---: |"]
            best_first = sorted(classes.items(), key=lambda entry: entry[1], reverse=True)
            lines += [f"| {name} | {SHARE.factor * iou:.1f} {SHARE.unit} |" for name, iou in best_first]
        return "\n".join(lines) + "\n"
