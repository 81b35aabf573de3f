"""What a file says about itself."""

import json
from typing import TYPE_CHECKING, Any

import rc_keras
from rc_keras.tasks.task import Task

if TYPE_CHECKING:
    from rc_keras.export.job import ExportJob

NAME = "rc_keras"  # of the entry in a file's own metadata


def metadata(job: "ExportJob") -> dict[str, Any]:
    """Describes an export, as plain data.

    Args:
        job: the `ExportJob`, folded.

    Returns:
        `{"rc_keras": version, "precision": …, "mode": …, "bank_fingerprint": …, "input": {…}, "tasks": {name: {…}}}`. A
        task has its kind, the names of its classes if it has them, and what the numbers of its output are.
    """
    return {
        "rc_keras": rc_keras.__version__,
        "precision": job.precision,
        "mode": job.mode,
        "bank_fingerprint": job.model.bank.fingerprint,
        "input": {
            "name": "image",
            "shape": [None if n is None else int(n) for n in job.image_shape],
            "values": "RGB in 0..255, channels last; the network normalizes them itself",
        },
        "tasks": {name: _describe(task, job) for name, task in job.tasks.items()},
    }


def to_json(data: dict[str, Any]) -> bytes:
    """Metadata as bytes, the same for the same data."""
    return json.dumps(data).encode()


def _describe(task: Task, job: "ExportJob") -> dict[str, Any]:
    kind = task.definition
    shape = f"({'batch, height, width' if kind.dense else 'batch'}, {kind.channels or 'channels'})"
    description = {"kind": task.kind, "channels": task.channels, "output": f"{kind.values} {shape}"}
    if kind.is_class_map:
        description["resolution"] = job.resolution
        if job.segmentation == "class_ids":
            description["output"] = "class ids, uint8 (batch, height, width)"
    if task.class_names is not None:
        description["class_names"] = list(task.class_names)
    return description
