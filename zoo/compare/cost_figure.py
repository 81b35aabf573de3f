"""Accuracy against cost, as a picture."""

import os
from typing import TYPE_CHECKING

from rc_keras.reports.diagrams import new_figure, save
from rc_keras.zoo.chart_style import GREY, INK, OURS, SINGLE_TASK, tidy
from rc_keras.zoo.compare.cost_table import Costs, median, parameters_of_a_task
from rc_keras.zoo.compare.summary import BASELINE, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEIGHT = 4.6  # of the picture, inches
_LINE = 0.042  # of the panels' height: what a name takes


def draw_costs(path: str | os.PathLike, summary: Summary, costs: Costs) -> None:
    """Draws Δm over time, bytes and parameters: a point a row, with the spread of its seeds; low and left is good.

    Args:
        path: of the PNG.
        summary: the `Summary`.
        costs: see `Costs`; rows without Δm are left out.
    """
    panels = (
        (f"LiteRT time of all tasks, of {BASELINE}'s", lambda runs: median(runs, "latency", "ratio")),
        ("file with all tasks [MB]", lambda runs: median(runs, "file_bytes") / 1e6),
        ("parameters of a task [millions]", lambda runs: parameters_of_a_task(runs) / 1e6),
    )
    rows = [name for name in costs if name in summary.delta_m]
    figure = new_figure(13.2, _HEIGHT)
    for axes, (title, cost) in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
        tidy(axes)
        axes.axhline(0, color=INK, lw=0.8)
        axes.set_xlabel(title, fontsize=9)
        axes.tick_params(labelsize=8)
        points = {name: (cost(costs[name]), summary.delta_m[name].mean) for name in rows}
        for name, (x, y) in points.items():
            spread, borrowed = summary.spread(summary.delta_m, name)
            bar = axes.errorbar(x, y, yerr=spread, fmt="o", ms=6, color=_colour(name), lw=1.3, capsize=3)
            if borrowed:
                bar.lines[2][0].set_linestyle("--")
        axes.margins(x=0.08, y=0.08)
        axes.set_xlim(left=0)
        _name_points(axes, points)
    figure.axes[0].set_ylabel("Δm [%], lower is better", fontsize=9)
    save(figure, path)


def _colour(name: str) -> str:
    return {"rcm": OURS, BASELINE: SINGLE_TASK}.get(name, GREY)


def _name_points(axes: "Axes", points: dict[str, tuple[float, float]]) -> None:
    """Writes the names in a column beside the panel, as near to their points' heights as they fit."""
    import numpy as np
    from scipy.optimize import isotonic_regression

    names = sorted(points, key=lambda name: points[name][1])
    bottom, top = axes.get_ylim()
    steps = _LINE * (top - bottom) * np.arange(len(names))
    heights = isotonic_regression([points[name][1] for name in names] - steps).x + steps
    for name, height in zip(names, heights, strict=True):
        axes.annotate(
            name,
            points[name],
            xytext=(1.04, height),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": _colour(name), "lw": 0.6, "shrinkA": 1, "shrinkB": 3},
        )
