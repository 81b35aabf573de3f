"""Accuracy against cost, as a picture."""

import os

from rc_keras.reports.diagrams import new_figure, save
from rc_keras.zoo.chart_style import GREY, INK, OURS, SINGLE_TASK, tidy
from rc_keras.zoo.compare.cost_table import Costs, median, parameters_of_a_task
from rc_keras.zoo.compare.summary import BASELINE, Summary


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
    figure = new_figure(13.2, 4.2)
    for axes, (title, cost) in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
        tidy(axes)
        axes.axhline(0, color=INK, lw=0.8)
        axes.set_xlabel(title, fontsize=9)
        axes.tick_params(labelsize=8)
        for name in rows:
            colour = {"rcm": OURS, BASELINE: SINGLE_TASK}.get(name, GREY)
            spread, borrowed = summary.spread(summary.delta_m, name)
            x, y = cost(costs[name]), summary.delta_m[name].mean
            bar = axes.errorbar(x, y, yerr=spread, fmt="o", ms=6, color=colour, lw=1.3, capsize=3)
            if borrowed:
                bar.lines[2][0].set_linestyle("--")
            axes.annotate(name, (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8)
        axes.set_xlim(left=0)
        axes.margins(x=0.25, y=0.2)
    figure.axes[0].set_ylabel("Δm [%], lower is better", fontsize=9)
    save(figure, path)
