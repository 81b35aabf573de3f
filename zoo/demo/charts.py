"""The charts of the page."""

import os
from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rc_keras.network.response_init import ResponseReport
from rc_keras.reports.diagrams import new_figure, save
from rc_keras.tasks.task import Task
from rc_keras.zoo.chart_style import GREY, OURS, SINGLE_TASK, tidy
from rc_keras.zoo.demo.results import TaskResult
from rc_keras.zoo.demo.training import metric_key


def draw_curve(
    path: str | os.PathLike, task: Task, result: TaskResult, histories: Mapping[str, Mapping[str, list[float]]]
) -> None:
    """Draws a task's metric on the validation images after each epoch."""
    figure, axes = _chart()
    entry = f"val_{metric_key(task)}"
    measure, factor = result.measure, result.measure.scale.factor
    for name, colour, style, label in (
        ("single", SINGLE_TASK, "--", "single-task network"),
        ("multi", OURS, "-", "multi-task model"),
    ):
        values = factor * np.array(histories[name][entry])
        epochs = np.arange(1, len(values) + 1)
        axes.plot(epochs, values, style, color=colour, lw=2, marker="o", ms=3.5, label=label)
    axes.axhline(factor * result.baseline, color=GREY, lw=1.5, ls=":", label=result.guess)
    axes.set_title(f"{task.name}: {measure.name}{measure.scale.in_brackets}, {measure.better} is better")
    axes.set_xlabel("epoch")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=9)
    save(figure, path, dpi=200)


def draw_energy(path: str | os.PathLike, responses: ResponseReport) -> None:
    """Draws for each layer which share of the response energy its leading responses hold."""
    figure, axes = _chart()
    layers = list(responses.spectra)
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(layers)))
    for layer, colour in zip(layers, colours, strict=True):
        spectrum = responses.spectra[layer]
        share = np.concatenate([[0.0], np.cumsum(spectrum) / max(spectrum.sum(), np.finfo("float64").tiny)])
        ends = {layers[0]: f"{layer} (first)", layers[-1]: f"{layer} (last)"}
        size = np.linspace(0, 100, len(share))
        axes.plot(size, 100 * share, color=colour, lw=1.8, label=ends.get(layer))
    axes.axhline(99, color=GREY, lw=1, ls=":")
    axes.set_title("Response energy [%] in the leading responses")
    axes.set_xlabel("leading responses [% of the layer]")
    axes.set_ylim(0, 102)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    save(figure, path, dpi=200)


def _chart() -> tuple[Figure, Axes]:
    figure = new_figure(5.2, 3.6)
    axes = figure.add_subplot()
    tidy(axes)
    axes.title.set_fontsize(10.5)
    return figure, axes
