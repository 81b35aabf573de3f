"""The table of what the rows of a comparison cost."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rc_keras.zoo.compare.markdown import table_lines
from rc_keras.zoo.compare.summary import BASELINE

Costs = Mapping[str, Sequence[Mapping[str, Any]]]  # {row: costs of each seed}, see `costs.measure_costs`

NOTE = (
    "LiteRT: float32, one thread, CPU time of the median round of all tasks on one image in one call; against "
    f"{BASELINE}: the median of the ratios round by round, with its quartiles, to as many plain networks run in turn "
    "with it. File: all tasks. Memory: what a process grows by at most that opens the file and runs it. Parameters of "
    "a task: those that only it has, the mean over the tasks. Of several seeds the median."
)


def format_costs(costs: Costs) -> str:
    """Markdown, ending with a line break: a line for each row, and how to read it."""
    heads = ["costs", "LiteRT ms", f"against {BASELINE}", "file MB", "memory MB", "GMAC", "parameters of a task"]
    rows = []
    for name, runs in costs.items():
        low, high = (median(runs, "latency", "ratio_quartiles", end) for end in (0, 1))
        peak = [run["peak_bytes"] for run in runs if run["peak_bytes"] is not None]
        rows.append(
            [
                name,
                f"{1e3 * median(runs, 'latency', 'seconds'):.1f}",
                f"{median(runs, 'latency', 'ratio'):.3f} ({low:.3f} … {high:.3f})",
                f"{median(runs, 'file_bytes') / 1e6:.2f}",
                f"{statistics.median(peak) / 1e6:.0f}" if peak else "—",
                f"{median(runs, 'size', 'macs') / 1e9:.2f}",
                f"{parameters_of_a_task(runs):,.0f}",
            ]
        )
    return "\n".join([*table_lines(heads, rows), "", NOTE]) + "\n"


def median(runs: Sequence[Mapping[str, Any]], *keys: str | int) -> float:
    """The median over the seeds of one number of their costs."""
    values = []
    for run in runs:
        value: Any = run
        for key in keys:
            value = value[key]
        values.append(float(value))
    return statistics.median(values)


def parameters_of_a_task(runs: Sequence[Mapping[str, Any]]) -> float:
    """The mean over the tasks of the parameters that only one has."""
    return statistics.fmean(runs[0]["size"]["tasks"].values())
