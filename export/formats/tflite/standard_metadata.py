"""The metadata that TFLite's own tools read: `TFLITE_METADATA`, and files of labels in a zip behind the network.

As https://github.com/tensorflow/tflite-support, `metadata/metadata_schema.fbs`, says.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rc_keras.export.folding.folded_network import ALL
from rc_keras.export.formats.description import answer_text, image_text
from rc_keras.export.formats.tflite.flatbuffer_tables import Table, pack

NAME = "TFLITE_METADATA"  # of the entry in the file's metadata
_IDENTIFIER = b"M001"
_PARSER = "1.0.0"  # the version of the schema that has all that is used here

_SCHEMA = {
    "ModelMetadata": (
        "name",
        "description",
        "version",
        "subgraph_metadata",
        "author",
        "license",
        "associated_files",
        "min_parser_version",
    ),
    "SubGraphMetadata": ("name", "description", "input_tensor_metadata", "output_tensor_metadata"),
    "TensorMetadata": (
        "name",
        "description",
        "dimension_names",
        "content",
        "process_units",
        "stats",
        "associated_files",
    ),
    "Content": ("content_properties_type", "content_properties", "range"),
    "FeatureProperties": (),
    "ImageProperties": ("color_space", "default_size"),
    "ImageSize": ("width", "height"),
    "ProcessUnit": ("options_type", "options"),
    "NormalizationOptions": ("mean", "std"),
    "Stats": ("max", "min"),
    "AssociatedFile": ("name", "description", "type"),
}
# Members of the schema's unions and enumerations.
_FEATURE, _IMAGE, _NORMALIZATION = np.uint8(1), np.uint8(2), np.uint8(1)
_RGB, _AXIS_LABELS, _VALUE_LABELS = np.int8(1), np.int8(2), np.int8(3)


def standard_metadata(description: Mapping[str, Any]) -> bytes:
    """The content of the entry.

    Args:
        description: see `rc_keras.export.formats.description`; its tasks are the subgraphs, in their order, and where
            `joint` one of all tasks comes behind them.
    """
    tasks = description["tasks"]
    names = ", ".join(task["name"] for task in tasks)
    subgraphs = [_subgraph(description, task["name"], [task]) for task in tasks]
    if description["joint"]:
        subgraphs.append(_subgraph(description, ALL, tasks))
    root = {
        "name": names,
        "description": f"From an image to {names}: a signature for each task, exported by rc_keras.",
        "version": str(description["model_version"]),
        "subgraph_metadata": subgraphs,
        "author": f"rc_keras {description['package_version']}",
        "license": description["license"],
        "min_parser_version": _PARSER,
    }
    return pack(("ModelMetadata", root), _SCHEMA, _IDENTIFIER)


def with_label_files(content: bytes, description: Mapping[str, Any]) -> bytes:
    """A .tflite file with a zip behind it that holds the names of classes, a line each; unchanged without classes."""
    files = {label_file(task): _lines(task["classes"]) for task in description["tasks"] if task["classes"]}
    if not files:
        return content
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, lines in files.items():
            archive.writestr(zipfile.ZipInfo(name), lines)  # of 1980: the same for the same labels
    return stream.getvalue()


def label_file(task: Mapping[str, Any]) -> str:
    """Name of the file with the names of a task's classes."""
    return f"{task['name']}_labels.txt"


def _lines(classes: Sequence[Mapping[str, Any]]) -> str:
    return "".join(" ".join(entry["name"].split()) + "\n" for entry in classes)


def _subgraph(description: Mapping[str, Any], name: str, tasks: Sequence[Mapping[str, Any]]) -> Table:
    return "SubGraphMetadata", {
        "name": name,
        "description": "; ".join(f"{task['name']}: {answer_text(task)}" for task in tasks),
        "input_tensor_metadata": [_image(description["input"])],
        "output_tensor_metadata": [_answer(task) for task in tasks],
    }


def _image(image: Mapping[str, Any]) -> Table:
    height, width = image["shape"][1:3]
    size = None if None in (height, width) else ("ImageSize", {"width": np.uint32(width), "height": np.uint32(height)})
    content = {
        "content_properties_type": _IMAGE,
        "content_properties": ("ImageProperties", {"color_space": _RGB, "default_size": size}),
    }
    unchanged = ("NormalizationOptions", {"mean": [np.float32(0)], "std": [np.float32(1)]})
    low, high = ([np.float32(value)] for value in image["range"])
    return "TensorMetadata", {
        "name": image["name"],
        "description": image_text(image),
        "dimension_names": ["batch", "height", "width", "channels"],
        "content": ("Content", content),
        "process_units": [("ProcessUnit", {"options_type": _NORMALIZATION, "options": unchanged})],
        "stats": ("Stats", {"min": low, "max": high}),
    }


def _answer(task: Mapping[str, Any]) -> Table:
    output, files, stats = task["output"], [], None
    if task["classes"]:
        kind = _VALUE_LABELS if output["values"] == "class ids" else _AXIS_LABELS
        files.append(
            ("AssociatedFile", {"name": label_file(task), "description": "names of the classes", "type": kind})
        )
    if output["range"]:
        low, high = ([np.float32(value)] for value in output["range"])
        stats = "Stats", {"min": low, "max": high}
    return "TensorMetadata", {
        "name": task["name"],
        "description": answer_text(task),
        "dimension_names": ["batch", *["height", "width"][: 2 * task["dense"]], "channels"][: len(output["shape"])],
        "content": (
            "Content",
            {"content_properties_type": _FEATURE, "content_properties": ("FeatureProperties", {})},
        ),
        "stats": stats,
        "associated_files": files,
    }
