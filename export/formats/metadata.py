"""What a file says about itself."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import rc_keras
from rc_keras.export.options import ExportOptions
from rc_keras.tasks.task import Task

NAME = "rc_keras"  # of the entry in a file's own metadata


def metadata(
    tasks: Mapping[str, Task], bank_fingerprint: str, options: ExportOptions, image_shape: Sequence[int | None]
) -> dict[str, Any]:
    """Describes an export, as plain data.

    Args:
        tasks: `{name: Task}` of the exported tasks.
        bank_fingerprint: see `FilterBank.fingerprint`.
        options: of the export.
        image_shape: `(height, width, channels)` of the input, `None` where free.

    Returns:
        `{"rc_keras": version, "precision": …, "mode": …, "bank_fingerprint": …, "input": {…}, "tasks": {name: {…}}}`. A
        task has its kind, the names of its classes if it has them, and what the numbers of its output are.
    """
    return {
        "rc_keras": rc_keras.__version__,
        "precision": options.precision,
        "mode": options.mode,
        "bank_fingerprint": bank_fingerprint,
        "input": {
            "name": "image",
            "shape": [None if n is None else int(n) for n in image_shape],
            "values": "RGB in 0..255, channels last; the network normalizes them itself",
        },
        "tasks": {name: _describe(task, options) for name, task in tasks.items()},
    }


def to_json(data: dict[str, Any]) -> bytes:
    """Metadata as bytes, the same for the same data."""
    return json.dumps(data).encode()


def _describe(task: Task, options: ExportOptions) -> dict[str, Any]:
    description = {"kind": task.kind, "channels": task.channels, "output": _OUTPUTS[task.kind]}
    if task.kind == "segmentation":
        description["resolution"] = options.resolution
        if options.segmentation == "class_ids":
            description["output"] = "class ids, uint8 (batch, height, width)"
    if task.class_names is not None:
        description["class_names"] = list(task.class_names)
    return description


_OUTPUTS = {
    "segmentation": "logits (batch, height, width, channels)",
    "edge": "probabilities (batch, height, width, 1)",
    "saliency": "probabilities (batch, height, width, 1)",
    "normals": "unit vectors (batch, height, width, 3)",
    "depth": "metres (batch, height, width, 1)",
    "classification": "logits (batch, channels)",
}
