"""What the numbers of a comparison were obtained with, in words."""

from collections.abc import Mapping
from typing import Any

from rc_keras.zoo.compare.cells import Cell
from rc_keras.zoo.compare.runner import finished_cells
from rc_keras.zoo.recipes import Recipe


def describe_origin(recipe: Recipe, cells: Mapping[str, Cell]) -> str:
    """Markdown lines, ending with a line break: data, recipe, duration, machines, and which cells are missing.

    Args:
        recipe: the `Recipe` that all cells share.
        cells: `{name: Cell}`.
    """
    finished = finished_cells(cells)
    measured = dict.fromkeys(cell.images() for cell in finished.values())
    height, width = recipe.crop
    lines = [
        *(f"{count} images of `{split}`, {data}." for count, split, data in measured),
        f"{recipe.backbone}, {recipe.steps} steps of {recipe.batch_size} images of {height}x{width}.",
    ]
    if finished:
        seconds = [cell.seconds() for cell in finished.values()]
        hours = {what: sum(s[what] for s in seconds) / 3600 for what in ("training", "evaluation")}
        lines.append(f"Training took {hours['training']:.1f} h in all, evaluation {hours['evaluation']:.1f} h.")
        known = [machine for cell in finished.values() if (machine := cell.machine())]
        machines = list(dict.fromkeys(map(_in_words, known)))
        if 0 < len(known) < len(finished):
            machines.append(f"not recorded for {len(finished) - len(known)} of {len(finished)} runs")
        lines += [f"On {'; '.join(machines)}."] if machines else []
    missing = [name for name in cells if name not in finished]
    if missing:
        lines.append(f"Not finished: {'; '.join(missing)}.")
    return "  \n".join(lines) + "\n"


def _in_words(machine: Mapping[str, Any]) -> str:
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ""
    return f"{machine['processor']}, {machine['cores']} cores{gpus}"
