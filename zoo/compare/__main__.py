"""Compares methods on a recipe; started again, goes on where it was stopped.

Usage:
    python -m rc_keras.zoo.compare --preset ablation --recipe nyud --scale small --manual_dir DIR \\
        --weights resnet18.pth --seeds "rcm,single_task:0,1;*:0" --out OUT
    python -m rc_keras.zoo.compare --methods rcm,single_task --recipe scenes --seeds 0,1,2 --out OUT
    python -m rc_keras.zoo.compare --preset incremental --recipe nyud --manual_dir DIR --weights imagenet --out OUT
    python -m rc_keras.zoo.compare --preset frontier --recipe nyud --scale small --manual_dir DIR --weights imagenet \\
        --out OUT
    python -m rc_keras.zoo.compare --preset scaling --recipe nyud --scale paper --backbone resnet34 --out OUT

Every field of the recipe but `method`, `seed`, `add_to`, `init_from` and `decoder_bank` is a flag, as in
`rc_keras.zoo.train`. A cell, one run of a method with a seed on all tasks, is such a run in
`OUT/cells/<method>/seed<seed>/`, in a process of its own that writes to `seed<seed>.log`. Finished cells are kept,
wherever they were run, an interrupted one goes on at its last checkpoint, and one that fails does not stop the others.
After each cell `compare.md`, `compare.png` and `compare.json` are written again: every metric with its spread between
seeds, Δm against `single_task`, and parameters.

With `--costs` each cell also gets `costs.json` (see `rc_keras.zoo.compare.costs`): LiteRT time, bytes and memory of the
file with all tasks, for a second table and `costs.png`, Δm against cost. Cells that were trained without are measured
and not trained again. `frontier` does so: it compares what makes tasks cheaper, where a row is more than a method (see
`rc_keras.zoo.compare.variants`). `rcm_semseg`, which is trained first, gives `rcm_warm` what its tasks start from and
`decoder_bank…` the bank; they know that run by its path, so that OUT must not be moved halfway. They train semseg
again, which so has twice the steps that it has in the other rows.

`incremental` adds the tasks one after the other, from low to high level and back, and measures all tasks after each
step, a run in `OUT/incremental/<method>/<order>/step<number>-<task>/`; jointly trained methods train all tasks so far
in each. A step knows the model before it by its path: OUT must not be moved halfway, and who removes a step removes the
later ones too. Out come `incremental.md`, `.png` and `.json`. `scaling` trains nothing and counts parameters:
`scaling.md`, `.png`, `.json`.

Presets: ablation, baselines, incremental, scaling, frontier; `--methods` replaces a preset's. Ends with 1 if a cell
failed.
"""

import dataclasses
import pathlib
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from absl import app, flags

from rc_keras.reports.diagrams import new_figure
from rc_keras.tasks.task import Task
from rc_keras.zoo.command_line import (
    DATA_DIR,
    MANUAL_DIR,
    RECIPE,
    SCALE,
    STRATEGY,
    WORKDIR,
    field_values,
    resolve_recipe,
    run_on_recipe,
)
from rc_keras.zoo.compare.cells import Cell
from rc_keras.zoo.compare.presets import PRESETS, choose_methods
from rc_keras.zoo.compare.seeds import parse_seeds
from rc_keras.zoo.recipes import Recipe

if TYPE_CHECKING:
    from rc_keras.zoo.compare.incremental_report import IncrementalReport
    from rc_keras.zoo.compare.report import Report

_PRESET = flags.DEFINE_enum("preset", None, list(PRESETS), "Which methods are compared, and how.")
_METHODS = flags.DEFINE_list("methods", None, "Keys of rc_keras.methods.METHODS between commas; those of the preset.")
_SEEDS = flags.DEFINE_string("seeds", "0", "Seeds of each method: 0,1 for all, or rcm,single_task:0,1;*:0.")
_OUT = flags.DEFINE_string("out", None, "Folder of the cells and the tables.")
_COSTS = flags.DEFINE_bool("costs", None, "Measure what the trained models cost; with preset frontier the default.")
_RUN = flags.DEFINE_bool(
    "run", True, "Run the cells that are missing; otherwise write the tables of the finished ones."
)
_RESERVED = ("method", "seed", "add_to", "init_from", "decoder_bank")  # fields that the comparison sets


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Arguments must be flags. Received: {argv[1:]}")
    if _OUT.value is None:
        raise app.UsageError("`--out` must be given.")
    if WORKDIR.value is not None:
        raise app.UsageError("`--workdir` must not be given; cells have theirs in `--out`.")
    try:
        reserved = {*_RESERVED}
        if _PRESET.value == "frontier":
            reserved |= {"response_energy", "shared_stages"}  # the rows say them
        given = sorted(reserved & field_values().keys())
        if given:
            raise ValueError(f"`--{given[0]}` is set by the comparison; give `--methods` and `--seeds`.")
        methods = choose_methods(_PRESET.value, _METHODS.value)
        recipe = resolve_recipe()
        plans = {"incremental": _incremental, "scaling": _scaling, "frontier": _frontier}
        if _COSTS.value and _PRESET.value in ("incremental", "scaling"):
            raise ValueError(f"`--costs` must not be given with preset {_PRESET.value}.")
        plan = plans.get(_PRESET.value, _grid)
        work = plan(recipe, methods, pathlib.Path(_OUT.value))
        new_figure(1, 1)  # where matplotlib is missing, this is said before the hours of training
    except (ValueError, ImportError) as error:
        raise app.UsageError(str(error)) from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _leave_gpus_to_cells()
    try:
        failed = work()
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on from here.", flush=True)
        sys.exit(130)
    for name, reason in failed.items():
        print(f"Failed: {name}: {reason}", file=sys.stderr)
    sys.exit(1 if failed else 0)


def _grid(recipe: Recipe, methods: Sequence[str], out: pathlib.Path) -> Callable[[], dict[str, str]]:
    """Methods by seeds."""
    from rc_keras.zoo.compare.report import Report

    seeds = parse_seeds(_SEEDS.value, methods)
    cells = _named_grid(recipe, seeds, out, _kind(default=False))
    return _cells(Report(out, recipe, _tasks(recipe), cells))


def _frontier(recipe: Recipe, methods: Sequence[str], out: pathlib.Path) -> Callable[[], dict[str, str]]:
    """Variants by seeds, after the runs that they start from."""
    from rc_keras.zoo.compare.report import Report
    from rc_keras.zoo.compare.variants import FRONTIER, plan_variants

    variants = [variant for variant in FRONTIER if variant.name in methods]
    seeds = parse_seeds(_SEEDS.value, methods)
    donors, cells = plan_variants(out / "cells", recipe, variants, seeds, _kind(default=True))
    return _cells(Report(out, recipe, _tasks(recipe), cells, donors))


def _incremental(recipe: Recipe, methods: Sequence[str], out: pathlib.Path) -> Callable[[], dict[str, str]]:
    """Single-task runs to compare with, then the tasks one after the other."""
    from rc_keras.zoo.compare.incremental import ORDERS, order_tasks, plan_chain
    from rc_keras.zoo.compare.incremental_report import IncrementalReport
    from rc_keras.zoo.compare.summary import BASELINE

    methods = [method for method in methods if method != BASELINE]
    seeds = parse_seeds(_SEEDS.value, [*methods, BASELINE])
    for method in methods:
        if len(seeds[method]) > 1:
            raise ValueError(f"Incremental runs have one seed, as in {BASELINE}:0,1;*:0. Received: {seeds[method]}")
    tasks = _tasks(recipe)
    plans = {
        (method, order): plan_chain(
            out / "incremental" / method / order, _with(recipe, method, seeds[method][0]), order_tasks(tasks, order)
        )
        for method in methods
        for order in ORDERS
    }
    baselines = _named_grid(recipe, {BASELINE: seeds[BASELINE]}, out)
    return _cells(IncrementalReport(out, recipe, tasks, baselines, plans))


def _scaling(recipe: Recipe, methods: Sequence[str], out: pathlib.Path) -> Callable[[], dict[str, str]]:
    """Parameters for many tasks; nothing is trained."""
    from rc_keras.zoo.compare.scaling import measure_growth, write_growth

    def work() -> dict[str, str]:
        growths = {method: measure_growth(_with(recipe, method, recipe.seed)) for method in methods}
        print(write_growth(out, growths, recipe))
        return {}

    return work


def _cells(report: "Report | IncrementalReport") -> Callable[[], dict[str, str]]:
    """Runs the cells of a report, which is written after each."""
    from rc_keras.zoo.compare.runner import run_cells

    def work() -> dict[str, str]:
        failed = run_cells(report.cells, _train_flags(), report.write) if _RUN.value else {}
        print(f"\n{report.write()}\n{report.out}")
        return failed

    return work


def _named_grid(
    recipe: Recipe, seeds: Mapping[str, Sequence[int]], out: pathlib.Path, kind: type[Cell] = Cell
) -> dict[str, Cell]:
    from rc_keras.zoo.compare.cells import grid

    cells = grid(out / "cells", recipe, seeds, kind)
    return {f"{cell.recipe.method}, seed {cell.recipe.seed}": cell for cell in cells}


def _kind(default: bool) -> type[Cell]:
    """The class of the cells, by `--costs`."""
    from rc_keras.zoo.compare.costed_cell import CostedCell

    return CostedCell if (default if _COSTS.value is None else _COSTS.value) else Cell


def _tasks(recipe: Recipe) -> list[Task]:
    from rc_keras.zoo.datasets.data import open_data

    return open_data(recipe.dataset, MANUAL_DIR.value, DATA_DIR.value).select(recipe.tasks)


def _with(recipe: Recipe, method: str, seed: int) -> Recipe:
    return dataclasses.replace(recipe, method=method, seed=seed)


def _train_flags() -> list[str]:
    """What a run needs besides the fields of its recipe."""
    named = {"recipe": RECIPE, "scale": SCALE, "manual_dir": MANUAL_DIR, "data_dir": DATA_DIR, "strategy": STRATEGY}
    return [f"--{name}={flag.value}" for name, flag in named.items() if flag.value is not None]


def _leave_gpus_to_cells() -> None:
    """Models are built here to be counted, which must not take the memory that cells train in."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")


if __name__ == "__main__":
    comparison = (_PRESET, _METHODS, _SEEDS, _OUT, _COSTS, _RUN)
    run_on_recipe(
        main, {"The comparison": comparison, "Each run": (RECIPE, SCALE, MANUAL_DIR, DATA_DIR, STRATEGY)}, _RESERVED
    )
