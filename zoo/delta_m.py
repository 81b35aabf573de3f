"""Δm: how much a multi-task model loses against single-task networks, in one number."""

import math
from collections.abc import Mapping

from rc_keras import nyud, pascal_context
from rc_keras.zoo.measures import measures_of

_CATALOGUE = measures_of((*nyud(), *pascal_context()))
# What enters Δm of the tasks of the catalogue, and whether lower is better.
MEASURES = {task: (measure.key, measure.lower_is_better) for task, measure in _CATALOGUE.items()}


def select_measures(
    metrics: Mapping[str, Mapping[str, float]], names: Mapping[str, str] | None = None
) -> dict[str, float]:
    """The numbers that enter Δm, out of all metrics of an evaluation.

    Of NYUD's `semseg` that is `mean_iou`, over the 40 named classes, which are what `rc_keras.nyud()` trains, as
    Vandenhende's survey and ATRC have it. RCM publishes the mean over 41 classes, of which "unlabelled" is one: with
    `names={"semseg": "mean_iou_41"}` that enters. Its training has 41 classes too: for a Δm beside the paper's, train
    the task `dataclasses.replace(task, ignore=255)`, of which `mean_iou` is over 41.

    Args:
        metrics: `{task: {metric: number}}`.
        names: `{task: metric}` to take instead of that of `MEASURES`, or for tasks that are not in it.

    Returns:
        `{task: number}`.

    Raises:
        ValueError: if a task is in neither, or its metric is missing.
    """
    numbers = {}
    for task, values in metrics.items():
        key = names[task] if names and task in names else _measure(task)[0]
        if key not in values:
            raise ValueError(f"`metrics` must hold {key!r} for task {task!r}. Received: {sorted(values)}")
        numbers[task] = values[key]
    return numbers


def relative_drops(
    results: Mapping[str, float], baseline: Mapping[str, float], directions: Mapping[str, bool] | None = None
) -> dict[str, float]:
    """What each task loses against its baseline, in percent of the baseline.

        100 (−1)^{l_t} (M_b,t − M_m,t) / M_b,t

    with the metric M_m,t of the model and M_b,t of the single-task baseline, and l_t = 1 if lower is
    better, else 0. **Positive is a drop**, negative a gain.

    Args:
        results: `{task: number}` of the model.
        baseline: `{task: number}` of the same tasks and metrics.
        directions: `{task: whether lower is better}`; tasks that are not in it are taken from
            `MEASURES`.

    Returns:
        `{task: percent}`, in the order of `results`.

    Raises:
        ValueError: if there is no task, the tasks differ, a direction is not known, a number is not
            finite, or a baseline is not positive.
    """
    if not results or set(results) != set(baseline):
        raise ValueError(
            "`results` and `baseline` must have the same tasks, at least one. "
            f"Received: results of {sorted(results)}, baseline of {sorted(baseline)}"
        )
    drops = {}
    for task, value in results.items():
        reference = baseline[task]
        lower_is_better = _is_lower_better(task, directions)
        if not (math.isfinite(value) and math.isfinite(reference)):
            raise ValueError(
                f"Numbers must be finite. Received: results[{task!r}]={value}, baseline[{task!r}]={reference}"
            )
        if reference <= 0:
            raise ValueError(f"`baseline` must be positive, for it divides. Received: baseline[{task!r}]={reference}")
        drop = 100.0 * (reference - value) / reference
        drops[task] = -drop if lower_is_better else drop
    return drops


def delta_m(
    results: Mapping[str, float], baseline: Mapping[str, float], directions: Mapping[str, bool] | None = None
) -> float:
    """Mean relative drop against single-task baselines, in percent.

        Δm = 100/T Σ_t (−1)^{l_t} (M_b,t − M_m,t) / M_b,t

    As in the paper (Kanakis et al., ECCV 2020) and ASTMT (Maninis et al., CVPR 2019) a **positive Δm is
    a drop**; others print the negative of it and call it a gain. The paper compares with single-task
    networks of the same backbone. Numbers rounded to two decimals are not enough for depth in metres:
    on NYUD that alone moves Δm by half a point.

    Args:
        results, baseline, directions: see `relative_drops`.

    Returns:
        Percent.

    Raises:
        ValueError: see `relative_drops`.

    Example:

    >>> delta_m({"semseg": 65.70, "normals": 13.70}, {"semseg": 66.22, "normals": 13.64})
    0.6125...
    """
    drops = relative_drops(results, baseline, directions)
    return sum(drops.values()) / len(drops)


def format_table(
    results: Mapping[str, float], baseline: Mapping[str, float], directions: Mapping[str, bool] | None = None
) -> str:
    """A Markdown table: a line for each task, and Δm.

    Numbers have the decimals of their measure, two for tasks of your own; those below 10 (shares, metres) have four.

    Args:
        results, baseline, directions: see `relative_drops`.

    Returns:
        The table, ending with a line break.

    Raises:
        ValueError: see `relative_drops`.
    """
    drops = relative_drops(results, baseline, directions)
    lines = ["| task | baseline | model | relative drop % |", "| --- | ---: | ---: | ---: |"]
    for task, drop in drops.items():
        decimals = _CATALOGUE[task].scale.decimals if task in _CATALOGUE else 2
        decimals = 4 if max(abs(baseline[task]), abs(results[task])) < 10 else decimals
        arrow = "↓" if _is_lower_better(task, directions) else "↑"
        numbers = f"{baseline[task]:.{decimals}f} | {results[task]:.{decimals}f}"
        lines.append(f"| {task} {arrow} | {numbers} | {drop:+.3f} |")
    lines.append(f"| **Δm** (positive: drop) | | | **{sum(drops.values()) / len(drops):+.3f}** |")
    return "\n".join(lines) + "\n"


def _is_lower_better(task: str, directions: Mapping[str, bool] | None) -> bool:
    return directions[task] if directions and task in directions else _measure(task)[1]


def _measure(task: str) -> tuple[str, bool]:
    if task not in MEASURES:
        raise ValueError(
            f"`directions` must say whether lower is better for a task other than {sorted(MEASURES)}. "
            f"Received: task {task!r}"
        )
    return MEASURES[task]
