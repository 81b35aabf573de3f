"""The charts of the page."""

import os
from collections.abc import Mapping

import numpy as np

from rc_keras.reports.diagrams import new_figure, save
from rc_keras.tasks.task import Task
from rc_keras.zoo.chart_style import GREY, OURS, SINGLE_TASK, tidy
from rc_keras.zoo.demo.results import TaskResult
from rc_keras.zoo.demo.training import metric_key


def draw_curve(path: str | os.PathLike, task: Task, result: TaskResult, history: Mapping[str, list[float]]) -> None:
    """Draws a task's metric on the validation images after each epoch."""
    figure = new_figure(5.2, 3.6)
    axes = figure.add_subplot()
    tidy(axes)
    measure, factor = result.measure, result.measure.scale.factor
    values = factor * np.array(history[f"val_{metric_key(task)}"])
    axes.plot(np.arange(1, len(values) + 1), values, color=OURS, lw=2, marker="o", ms=3.5, label="trained here")
    if result.shipped is not None:
        axes.axhline(factor * result.shipped, color=SINGLE_TASK, lw=1.5, ls="--", label="shipped with the package")
    axes.axhline(factor * result.baseline, color=GREY, lw=1.5, ls=":", label=result.guess)
    axes.set_title(f"{task.name}: {measure.name}{measure.scale.in_brackets}, {measure.better} is better", fontsize=10.5)
    axes.set_xlabel("epoch")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=9)
    save(figure, path, dpi=200)
