"""How parameters and multiply-accumulates grow with the number of tasks."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping

import rc_keras
from rc_keras.files.whole_files import write_json, write_whole
from rc_keras.methods import DEFAULT_RANK
from rc_keras.zoo.compare.growth import TASK_COUNTS, Growth
from rc_keras.zoo.compare.markdown import table_lines
from rc_keras.zoo.compare.summary import BASELINE
from rc_keras.zoo.recipes import Recipe
from rc_keras.zoo.recipes.network import build_network


def measure_growth(recipe: Recipe) -> dict[str, Growth]:
    """Counts what a second task adds to a model with one, both with one-channel heads.

    Args:
        recipe: the `Recipe`, whose method, backbone and decoder are counted.

    Returns:
        `{"encoder": Growth, "network": Growth, "macs": Growth}`: parameters of the backbone without decoder and head,
        as the paper plots it, and of all, moving statistics not counted; multiply-accumulates of all on an image of the
        recipe's crop, unfolded.
    """
    first, second = (rc_keras.Task(name, 1, "edge") for name in ("first", "second"))
    model = build_network(dataclasses.replace(recipe, seed=0), [first])
    one, macs_of_one = model.parameter_report(), model.mac_report().total
    model.add_task(second)
    two, macs_of_two = model.parameter_report(), model.mac_report().total
    added = two.total - one.total
    decoder = two.tasks["second"].decoder + two.tasks["second"].head
    shared = one.total - added
    macs = macs_of_two - macs_of_one
    return {
        "encoder": Growth(shared, added - decoder),
        "network": Growth(shared, added),
        "macs": Growth(macs_of_one - macs, macs),
    }


def format_growth(growths: Mapping[str, Mapping[str, Growth]], part: str, unit: float = 1e6) -> str:
    """A table: a line for each method, a column for each number of tasks.

    Args:
        growths: `{method: {part: Growth}}`.
        part: `"encoder"`, `"network"` or `"macs"`.
        unit: what the numbers are counted in.
    """
    rows = [[name, *(f"{parts[part](n) / unit:.2f}" for n in TASK_COUNTS)] for name, parts in growths.items()]
    if BASELINE in growths:
        for name, parts in growths.items():
            if name != BASELINE:
                saved = [100 * (1 - parts[part](n) / growths[BASELINE][part](n)) for n in TASK_COUNTS]
                rows.append([f"saved by {name}", *(f"{round(percent, 1) + 0.0:.1f} %" for percent in saved)])
    return "\n".join(table_lines(["tasks", *map(str, TASK_COUNTS)], rows)) + "\n"


def write_growth(out: str | os.PathLike, growths: Mapping[str, Mapping[str, Growth]], recipe: Recipe) -> str:
    """Writes `scaling.json`, `scaling.md` and `scaling.png`.

    Args:
        out: folder; made if it is missing.
        growths: `{method: {part: Growth}}`.
        recipe: the `Recipe` they were counted with.

    Returns:
        The tables.
    """
    from rc_keras.zoo.compare.figures import draw_growth

    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    decoder = "DeepLabv3+" if recipe.decoder == "deeplabv3plus" else recipe.decoder
    tables = (
        f"Parameters in millions, {recipe.backbone}, moving statistics not counted; the rank of `low_rank` is "
        f"{DEFAULT_RANK}.\n\n"
        f"Encoder:\n\n{format_growth(growths, 'encoder')}\n"
        f"Whole network, {decoder} of width {recipe.decoder_width} with one-channel heads:\n\n"
        f"{format_growth(growths, 'network')}\n"
        f"Multiply-accumulates in billions for one image of {recipe.crop}, output stride {recipe.output_stride}, "
        f"unfolded:\n\n"
        f"{format_growth(growths, 'macs', unit=1e9)}"
    )
    content = {
        method: {
            part: {**dataclasses.asdict(growth), "tasks": {count: growth(count) for count in TASK_COUNTS}}
            for part, growth in parts.items()
        }
        for method, parts in growths.items()
    }
    names = ("backbone", "output_stride", "crop", "decoder", "decoder_width", "low_level_width")
    settings = {name: getattr(recipe, name) for name in names}
    write_json(out / "scaling.json", {**settings, "methods": content})
    write_whole(out / "scaling.md", tables.encode())
    draw_growth(out / "scaling.png", growths)
    return tables
