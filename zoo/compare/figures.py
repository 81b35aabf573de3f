"""The figures of comparisons."""

import os
from collections.abc import Iterable, Mapping, Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes

from rc_keras.reports.diagrams import new_figure, save
from rc_keras.zoo.chart_style import GREY, INK, OURS, SINGLE_TASK, tidy
from rc_keras.zoo.compare.growth import TASK_COUNTS, Growth
from rc_keras.zoo.compare.incremental import Chain
from rc_keras.zoo.compare.summary import BASELINE, Statistic, Summary
from rc_keras.zoo.measures import Measure

_COLUMNS = 3


def draw_comparison(path: str | os.PathLike, summary: Summary, measures: Mapping[str, Measure]) -> None:
    """Draws Δm as bars, and each task's metric as points, with the spreads as whiskers and every seed as a dot.

    Args:
        path: of the PNG.
        summary: the `Summary`, of at least one method.
        measures: `{task: Measure}`.
    """
    methods = list(next(iter(summary.tasks.values())))
    rows, lines = range(len(methods)), -(-(len(measures) + 1) // _COLUMNS)
    figure = new_figure(3.6 * _COLUMNS, (0.8 + 0.3 * len(methods)) * lines)
    panels = figure.subplots(lines, _COLUMNS, sharey=True).flat
    for axes in panels[len(measures) + 1 :]:
        axes.remove()
    axes = panels[0]
    axes.set_yticks(rows, methods)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    _plain(axes, "Δm [%], left is better")
    axes.locator_params(axis="x", nbins=6)
    axes.axvline(0, color=INK, lw=0.8)
    for row, method in enumerate(methods):
        if method in summary.delta_m:
            axes.barh(row, summary.delta_m[method].mean, height=0.62, color=_colour(method), alpha=0.85)
            _whisker(axes, row, summary, summary.delta_m, method, 1.0, INK)
        else:
            axes.annotate("none", (0, row), xytext=(3, 0), textcoords="offset points", fontsize=7, va="center")
    for axes, (task, measure) in zip(panels[1 : len(measures) + 1], measures.items(), strict=True):
        better = "left" if measure.lower_is_better else "right"
        _plain(axes, f"{task}: {measure.title}{measure.scale.in_brackets}, {better} is better")
        axes.margins(x=0.12)
        statistics = summary.tasks[task]
        if summary.baseline:
            axes.axvline(measure.scale.factor * summary.baseline[task], color=SINGLE_TASK, lw=1, ls=":")
        for row, method in enumerate(methods):
            axes.plot(measure.scale.factor * statistics[method].mean, row, "D", ms=6, color=_colour(method))
            _whisker(axes, row, summary, statistics, method, measure.scale.factor, _colour(method))
    save(figure, path)


def draw_growth(path: str | os.PathLike, growths: Mapping[str, Mapping[str, Growth]]) -> None:
    """Draws parameters of the encoder alone, as the paper does, and of all, and multiply-accumulates, over tasks.

    Args:
        path: of the PNG.
        growths: `{method: {part: Growth}}`.
    """
    figure = new_figure(13.2, 3.8)
    counts = [count for count in TASK_COUNTS if count <= 10]
    colours = _palette(growths)
    panels = {
        "encoder": ("Encoder: parameters [millions]", 1e6),
        "network": ("Whole network: parameters [millions]", 1e6),
        "macs": ("Whole network: GMAC per image", 1e9),
    }
    for axes, (part, (title, unit)) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        _plain(axes, title)
        drawn = set()
        for method, parts in growths.items():
            line = "--" if parts[part] in drawn else "-"  # over an equal one, so that both are seen
            drawn.add(parts[part])
            values = [parts[part](count) / unit for count in counts]
            axes.plot(counts, values, line, color=colours[method], lw=1.8, marker="o", ms=3.5, label=method)
        axes.set_xlabel("tasks")
        axes.set_xticks(counts)
        axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)


def draw_steps(
    path: str | os.PathLike,
    chains: Sequence[Chain],
    measures: Mapping[str, Measure],
    baseline: Mapping[str, float] | None,
) -> None:
    """Draws each task's metric after every step, from its own on: a row for each order, a column for each task.

    Args:
        path: of the PNG.
        chains: the `Chain`s, one of them with a finished step.
        measures: `{task: Measure}`.
        baseline: `{task: number}` of single-task networks, drawn dotted, or `None`.
    """
    chains = [chain for chain in chains if chain.steps]
    orders = list(dict.fromkeys(chain.order for chain in chains))
    colours = _palette({chain.method: None for chain in chains})
    figure = new_figure(3.2 * len(measures), 0.6 + 2.5 * len(orders))
    panels = figure.subplots(len(orders), len(measures), squeeze=False)
    for line, order in zip(panels, orders, strict=True):
        for axes, (task, measure) in zip(line, measures.items(), strict=True):
            _plain(axes, f"{task}: {measure.title}{measure.scale.in_brackets}, {measure.better} is better")
            if baseline:
                axes.axhline(measure.scale.factor * baseline[task], color=INK, lw=1, ls=":", label=BASELINE)
            for chain in chains:
                if chain.order != order:
                    continue
                points = [(k, step.numbers[task]) for k, step in enumerate(chain.steps, 1) if task in step.numbers]
                steps = [step for step, _ in points]  # none where its own step is not taken yet
                values = [measure.scale.factor * value for _, value in points]
                axes.plot(steps, values, color=colours[chain.method], lw=1.8, marker="o", ms=4, label=chain.method)
            tasks = next(chain.tasks for chain in chains if chain.order == order)
            axes.set_xticks(range(1, len(tasks) + 1), [f"+{name}" for name in tasks], rotation=20, fontsize=8)
            axes.set_xlim(0.8, len(tasks) + 0.2)
            axes.margins(y=0.15)
            axes.ticklabel_format(axis="y", useOffset=False)
        line[0].set_ylabel(order.replace("_", " "))
    panels[0][-1].legend(frameon=False, fontsize=8)
    save(figure, path)


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9)
    tidy(axes)
    axes.tick_params(labelsize=8)


def _colour(method: str) -> str:
    return {"rcm": OURS, BASELINE: SINGLE_TASK}.get(method, GREY)


def _palette(methods: Iterable[str]) -> dict[str, str | Sequence[float]]:
    """A colour for each method; ours and the baseline keep theirs."""
    others = [method for method in methods if method not in ("rcm", BASELINE)]
    shades = dict(zip(others, colormaps["tab10"]([0, 1, 4, 5, 6, 7, 8, 9]), strict=False))
    return {method: shades.get(method, _colour(method)) for method in methods}


def _whisker(
    axes: Axes, row: int, summary: Summary, statistics: Mapping[str, Statistic], method: str, factor: float, colour: str
) -> None:
    """The spread, dashed where it is that of other methods, and the seeds."""
    statistic = statistics[method]
    spread, borrowed = summary.spread(statistics, method)
    if spread is not None:
        bar = axes.errorbar(factor * statistic.mean, row, xerr=factor * spread, color=colour, lw=1.3, capsize=3)
        if borrowed:
            bar.lines[2][0].set_linestyle("--")
    if len(statistic.values) > 1:
        values = [factor * value for value in statistic.values.values()]
        axes.plot(values, [row] * len(values), ".", ms=5, color="white", mec=INK, mew=0.7)
