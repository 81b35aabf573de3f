"""What ONNX graphs say about themselves, for Netron and other tools, and the description of a folder of them."""

import json
import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from rc_keras.export.formats.description import FILE, NAME, answer_text, image_text, of_tasks
from rc_keras.export.formats.metadata import to_json
from rc_keras.version import __version__

if TYPE_CHECKING:
    import onnx


def describe_graph(model: "onnx.ModelProto", description: dict[str, Any], tasks: Collection[str]) -> None:
    """Writes into a graph what it takes and answers, in place.

    Outputs come in the order of the tasks, and operator sets that the graph does not use are dropped.

    Args:
        model: the graph.
        description: of the export, see `rc_keras.export.formats.description`.
        tasks: names of the tasks that the graph answers.
    """
    description = of_tasks(description, tasks)
    answers = {task["name"]: answer_text(task) for task in description["tasks"]}
    text = "; ".join(f"{name}: {answer}" for name, answer in answers.items())
    model.doc_string = model.graph.doc_string = f"From an image to {text}"
    model.producer_version, model.model_version = __version__, description["model_version"]
    model.graph.input[0].doc_string = image_text(description["input"])
    outputs = sorted(model.graph.output, key=lambda output: list(answers).index(output.name))
    del model.graph.output[:]
    for output in outputs:
        model.graph.output.add().CopyFrom(output)
        model.graph.output[-1].doc_string = answers[output.name]
    model.metadata_props.add(key=NAME, value=to_json(description).decode())
    used = {*_domains(model.graph), ""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def read_description(path: str) -> dict[str, Any] | None:
    """The description in a graph; `None` in one of an earlier version."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    return next((json.loads(entry.value) for entry in model.metadata_props if entry.key == NAME), None)


def join(
    descriptions: Iterable[dict[str, Any] | None], order: Iterable[str], joint: str | None
) -> dict[str, Any] | None:
    """One description of all graphs of a folder.

    What is not about a task is that of the graph with the largest `model_version`; `license` is all of theirs, joined
    as in SPDX, or `None` if one of them says nothing.

    Args:
        descriptions: those of the graphs.
        order: names of tasks that come first, in this order.
        joint: see the description.

    Returns:
        The description; `None` if no graph has one.
    """
    parts = {part["tasks"][0]["name"]: part for part in descriptions if part is not None}
    if not parts:
        return None
    names = list(dict.fromkeys([*(name for name in order if name in parts), *parts]))
    newest = max((parts[name] for name in reversed(names)), key=lambda part: part["model_version"])
    licenses = {part["license"] for part in parts.values()}
    return {
        **newest,
        "license": None if None in licenses else " AND ".join(sorted(licenses)),
        "joint": joint,
        "tasks": [parts[name]["tasks"][0] for name in names],
    }


def tasks_of(folder: str) -> list[str]:
    """The order of tasks in the description of a folder; empty where there is none that can be read."""
    try:
        with open(os.path.join(folder, FILE), "rb") as file:
            return [str(task["name"]) for task in json.load(file)["tasks"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _domains(graph: "onnx.GraphProto") -> set[str]:
    """The domains of the operators in a graph and in those inside it."""
    found = {node.domain for node in graph.node}
    inner = (attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g"))
    return found.union(*map(_domains, inner))
