"""What a file says about itself for programs that know nothing of this package: `description.json`."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras

from rc_keras.export.folding.folded_network import ALL
from rc_keras.export.options import ExportOptions
from rc_keras.tasks.description import describe
from rc_keras.tasks.task import Task
from rc_keras.version import __version__

FORMAT = "rc_keras.description"
FORMAT_VERSION = 1
NAME = FORMAT  # of the entry in a file's own metadata
FILE = "description.json"  # name of it in a folder; beside a file, `<file>.description.json`

Place = Mapping[str, str | None]


def description(
    tasks: Mapping[str, Task],
    models: Mapping[str, keras.Model],
    bank_fingerprint: str,
    options: ExportOptions,
    image_shape: Sequence[int | None],
    place: Callable[[str], Place],
) -> dict[str, Any]:
    """Describes an export: what it takes, and what its answers mean.

    Args:
        tasks: `{name: Task}` of the exported tasks, in the model's order.
        models: `{name: model}`, from an image to what the file answers.
        bank_fingerprint: see `FilterBank.fingerprint`.
        options: of the export.
        image_shape: `(height, width, channels)` of the input, `None` where free.
        place: see `Format.place`.

    Returns:
        Plain data. Numbers that are not fixed, such as those of a free size, are `None`.

        | key | value |
        | --- | --- |
        | `format`, `format_version` | `"rc_keras.description"`, 1 |
        | `package_version` | of rc_keras |
        | `license`, `model_version` | as given to the exporter |
        | `bank_fingerprint`, `precision`, `mode` | as in the report |
        | `input` | `name`, `shape`, `dtype`, `layout`, `channels` and `range` of images; `fitting`: how to make them |
        | `joint` | name of the signature or graph that answers all tasks, or `None` |
        | `tasks` | a list, of what `rc_keras.tasks.description.describe` says of each |

        A task also has its `signature` or its `file`, and its `output` a `name`, `shape` and `dtype`.
    """
    batch = options.batch_size
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "package_version": __version__,
        "license": options.license,
        "model_version": options.model_version,
        "bank_fingerprint": bank_fingerprint,
        "precision": options.precision,
        "mode": options.mode,
        "input": {
            "name": "image",
            "shape": [batch, *(None if n is None else int(n) for n in image_shape)],
            "dtype": "float32",
            "layout": "NHWC",
            "channels": "RGB",
            "range": [0, 255],
            "fitting": _fitting(image_shape),
        },
        "joint": ALL if options.joint else None,
        "tasks": [_describe(task, models[name], options, place(name)) for name, task in tasks.items()],
    }


def of_tasks(description: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The part of a description that is about some of the tasks."""
    return {**description, "tasks": [task for task in description["tasks"] if task["name"] in names]}


def to_json(description: dict[str, Any]) -> bytes:
    """A description as it stands in a file of its own: indented, but lists of numbers on one line."""
    text = json.dumps(description, indent=1, allow_nan=False)
    numbers = r"\[\n[^\"{}]*\n\s*\]"  # lists without strings and objects; JSON's strings hold no line breaks
    return re.sub(numbers, lambda found: re.sub(r"\n\s*", "", found[0]).replace(",", ", "), text).encode() + b"\n"


def image_text(image: Mapping[str, Any]) -> str:
    """What a file takes, from `description["input"]`, for people."""
    low, high = image["range"]
    return f"{image['channels']} in {low}..{high}, {image['layout']}; {image['fitting']}"


def answer_text(task: Mapping[str, Any]) -> str:
    """What a file answers for a task, from an entry of `description["tasks"]`, for people."""
    output, classes = task["output"], task["classes"]
    axes = (["batch", "height", "width"] if task["dense"] else ["batch"]) + ["channels"]
    text = f"{output['values']} ({', '.join(axes[: len(output['shape'])])})"
    if task["axes"]:
        text += f"; {task['axes']}"
    if classes:
        text += f"; classes: {', '.join(entry['name'] for entry in classes)}"
    return text


def _describe(task: Task, model: keras.Model, options: ExportOptions, place: Place) -> dict[str, Any]:
    data = describe(task)
    if task.definition.is_class_map and options.segmentation == "class_ids":
        data["output"] = {"values": "class ids", "unit": "", "range": [0, task.channels - 1]}
    output = {"name": task.name, "shape": [options.batch_size, *model.output.shape[1:]], "dtype": model.output.dtype}
    return {"name": task.name, "kind": task.kind, **place, **data, "output": {**output, **data["output"]}}


def _fitting(image_shape: Sequence[int | None]) -> str:
    numbers = "give the bytes as numbers, not normalized"
    sizes = " x ".join("any" if n is None else str(n) for n in image_shape[:2])
    if sizes == "any x any":
        return f"any height and width; to change them, resize bilinearly; {numbers}"
    return (
        f"resize bilinearly, keeping the aspect ratio, until the image just covers {sizes} (height x width), and crop "
        f"the centre; {numbers}"
    )
