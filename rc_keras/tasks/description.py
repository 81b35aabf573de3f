"""What the answers of a task mean, as plain data that other programs can read."""

from typing import TYPE_CHECKING, Any

from rc_keras.tasks.legend import Swatches

if TYPE_CHECKING:
    from rc_keras.tasks.task import Task


def describe(task: "Task") -> dict[str, Any]:
    """All that a program needs to show an activated prediction as `Task.draw` does.

    Args:
        task: the `Task`.

    Returns:
        Plain data:

        - `name`, `kind`;
        - `output`: `values`, what the numbers are, `unit`, their sign, or empty, and `range`, `[lowest, highest]`, or
          `None` for any;
        - `dense`: whether there is an answer a pixel, rather than one an image;
        - `classes`: `[{"id", "name", "colour"}]`, colours RGB in 0..255; `None` without classes;
        - `ignored`: `label`, what stands for "not labelled" in the labels of the task, `predicted`, `False`, since
          training never asks for it as an answer, and `text`, the same for people;
        - `axes`: which way the channels point, or `None`;
        - `ramp`: 256 `colours` from the number `low` to the number `high`; where these are `None`, from the lowest of a
          picture to the highest. `None` where pictures have no such scale.
    """
    kind = task.definition
    low, high = kind.limits or (None, None)
    ramp = None if kind.ramp is None else {"colours": kind.ramp.tolist(), "low": low, "high": high}
    return {
        "name": task.name,
        "kind": kind.name,
        "output": {
            "values": kind.quantity or kind.values,
            "unit": kind.unit_of(task),
            "range": None if kind.limits is None else list(kind.limits),
        },
        "dense": kind.dense,
        "classes": _classes(task),
        "ignored": _ignored(task),
        "axes": kind.axes or None,
        "ramp": ramp if kind.dense else None,
    }


def _classes(task: "Task") -> list[dict[str, Any]] | None:
    legend = task.definition.legend(task, (0.0, 1.0))
    if not isinstance(legend, Swatches):
        return None
    colours = legend.colours.tolist()
    return [{"id": i, "name": name, "colour": colours[i]} for i, name in enumerate(legend.names)]


def _ignored(task: "Task") -> dict[str, Any]:
    if task.definition.of_classes and 0 <= task.ignore < task.channels:
        text = "the class with this id is neither trained nor measured: a trained network does not answer it"
    else:
        text = "marks what is not labelled; it is no answer"
    return {"label": task.ignore, "predicted": False, "text": text}
