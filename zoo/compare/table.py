"""The table of a comparison, as Markdown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rc_keras.zoo.compare.markdown import signed, table_lines
from rc_keras.zoo.compare.summary import BASELINE, CONFIDENCE, Pooled, Statistic, Summary
from rc_keras.zoo.measures import Measure


def format_table(summary: Summary, measures: Mapping[str, Measure], sizes: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each method, and below it how to read it.

    Args:
        summary: the `Summary`.
        measures: `{task: Measure}`.
        sizes: `{method: {"parameters": number, "macs": number}}`, see `measure_size`.

    Returns:
        Markdown, ending with a line break.
    """
    methods = list(next(iter(summary.tasks.values()), {}))
    if not methods:
        return "No cell is finished.\n"
    heads = ["method", "seeds", *(f"{task} {measure.heading}" for task, measure in measures.items())]
    heads += ["Δm % ↓", "parameters", f"against {BASELINE}", "GMAC"]
    rows = []
    for method in methods:
        cells = [method, str(len(next(iter(summary.tasks.values()))[method].values))]
        for task, measure in measures.items():
            cells.append(_with_spread(summary, summary.tasks[task], method, measure.show))
        cells.append(_delta_m(summary, method))
        cells += _size(sizes, method)
        rows.append(cells)
    notes = [*_notes(summary), "GMAC: multiply-accumulates of all tasks on one image, nothing folded."]
    return "\n".join([*table_lines(heads, rows), "", "  \n".join(notes)]) + "\n"


def _with_spread(
    summary: Summary, statistics: Mapping[str, Statistic], method: str, show: Callable[[float], str]
) -> str:
    spread, borrowed = summary.spread(statistics, method)
    mean = show(statistics[method].mean)
    return mean if spread is None else f"{mean} ± {show(spread)}{'†' if borrowed else ''}"


def _delta_m(summary: Summary, method: str) -> str:
    if method not in summary.delta_m:
        return "—"
    spread, borrowed = summary.spread(summary.delta_m, method)
    mean = signed(summary.delta_m[method].mean)
    text = mean if spread is None else f"{mean} ± {spread:.2f}{'†' if borrowed else ''}"
    if method == BASELINE:
        return text
    if method == summary.best:
        return f"**{text}**"
    alike = summary.best is not None and summary.within_spread(method, summary.best)
    return f"{text} ≈" if alike else text


def _size(sizes: Mapping[str, Mapping[str, Any]], method: str) -> list[str]:
    if method not in sizes:
        return ["—"] * 3
    count, change = sizes[method]["parameters"], "—"
    if method != BASELINE and BASELINE in sizes:
        change = f"{100 * (count / sizes[BASELINE]['parameters'] - 1):+.1f} %"
    return [f"{count:,}", change, f"{sizes[method]['macs'] / 1e9:.2f}"]


def _notes(summary: Summary) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for method, reason in summary.without_delta_m.items():
        by_reason.setdefault(reason, []).append(method)
    without = [f"No Δm of {_listed(methods)}: {reason}." for reason, methods in by_reason.items()]
    if BASELINE not in summary.delta_m:
        return without
    count = len(summary.delta_m[BASELINE].values)
    runs = f"the mean of its {count} seeds" if count > 1 else "its only seed"
    notes = [
        f"Δm: mean relative drop against {BASELINE}, {runs}; positive is worse. Of several seeds it is the mean of "
        "their Δm.",
        *without,
    ]
    pooled = Pooled.of(summary.delta_m)
    if pooled is None:
        return [*notes, "No method has several seeds: nothing says which differences are more than chance."]
    notes.append("±: standard deviation between seeds.")
    if any(statistic.std is None for statistic in summary.delta_m.values()):
        notes.append(f"†: one seed; the spread is that of {_listed(pooled.methods)} together.")
    notes.append(
        f"Bold: the lowest Δm but {BASELINE}'s. ≈: not told apart from it with {CONFIDENCE:.0%} confidence, the "
        "difference is within t √(s²/n + s'²/n'), of spreads s and numbers of seeds n, each s at least that of all "
        f"together, which has {pooled.freedom} degree{'s' if pooled.freedom > 1 else ''} of freedom."
    )
    alike = [name for name in summary.delta_m if name != BASELINE and summary.within_spread(name, BASELINE)]
    if alike:
        notes.append(f"Not told apart from {BASELINE}: {_listed(alike)}.")
    return notes


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
