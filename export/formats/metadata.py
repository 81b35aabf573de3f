"""What a file says about itself."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rc_keras.export.options import ExportOptions
from rc_keras.tasks.task import Task
from rc_keras.version import __version__

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
        "rc_keras": __version__,
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
    kind = task.definition
    shape = f"({'batch, height, width' if kind.dense else 'batch'}, {kind.channels or 'channels'})"
    description = {"kind": task.kind, "channels": task.channels, "output": f"{kind.values} {shape}"}
    if kind.is_class_map:
        description["resolution"] = options.resolution
        if options.segmentation == "class_ids":
            description["output"] = "class ids, uint8 (batch, height, width)"
    if task.unit is not None:
        description["unit"] = task.unit
    if task.class_names is not None:
        description["class_names"] = list(task.class_names)
    return description
