"""Comparisons: what the tables say follows from the cells, and cells are run once, resumed, and fail alone."""

import dataclasses
import json
import math
import re
import signal
import subprocess
import sys
import time

import keras
import pytest
from PIL import Image

from rc_keras.files.whole_files import write_json, write_whole
from rc_keras.zoo.compare import digest
from rc_keras.zoo.compare.cells import Cell, CellError, grid
from rc_keras.zoo.compare.figures import draw_comparison
from rc_keras.zoo.compare.incremental import Chain, MeasuredStep, order_tasks, plan_chain, read_chain
from rc_keras.zoo.compare.incremental_report import IncrementalReport, format_chains
from rc_keras.zoo.compare.logged_process import last_line, run_logged
from rc_keras.zoo.compare.presets import PRESETS, choose_methods
from rc_keras.zoo.compare.report import Report
from rc_keras.zoo.compare.runner import run_cells
from rc_keras.zoo.compare.scaling import measure_growth, write_growth
from rc_keras.zoo.compare.seeds import parse_seeds
from rc_keras.zoo.compare.summary import Pooled, Statistic, summarize
from rc_keras.zoo.compare.table import format_table
from rc_keras.zoo.datasets.data import open_data
from rc_keras.zoo.evaluation.report import evaluate
from rc_keras.zoo.measures import directions, measures_of
from rc_keras.zoo.recipes import Recipe
from rc_keras.zoo.recipes.recipe import FIELDS, format_field, parse_field
from rc_keras.zoo.strategy import make_strategy
from rc_keras.zoo.training import run

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="zoo runs are tested on TensorFlow")
STRATEGY = make_strategy("none")
RECIPE = Recipe(
    dataset="scenes/tiny",
    tasks=("depth",),
    crop=(64, 64),
    steps=1,
    checkpoint_every=1,
    decoder_width=8,
    low_level_width=8,
    response_images=2,
    batch_size=4,
)
TASKS = open_data("scenes/tiny").select(["edge", "depth"])
MEASURES = measures_of(TASKS)
DIRECTIONS = directions(MEASURES)

# edge in 0..1, depth in metres. Δm of single_task is ∓0.5 %, that of rcm 5 % and 7 %, that of rc 5.9 %.
SCORES = {
    "single_task": {0: {"edge": 0.505, "depth": 1.0}, 1: {"edge": 0.495, "depth": 1.0}},
    "rcm": {0: {"edge": 0.45, "depth": 1.0}, 1: {"edge": 0.45, "depth": 1.04}},
    "rc": {0: {"edge": 0.5, "depth": 1.118}},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    data = open_data("scenes/tiny", data_dir=str(tmp_path_factory.mktemp("data")))
    data.prepare()
    return data


@pytest.fixture
def in_process(data, monkeypatch):
    """Cells are run in this process, which has TensorFlow in memory already; answers the list of what was started."""
    started = []

    def start(cell, module, flags):
        started.append((module.rpartition(".")[2], cell.folder.name))
        if module == "rc_keras.zoo.train":
            model = run.train(cell.recipe, data, cell.folder, STRATEGY, verbose=0)
            evaluate(model, cell.recipe, data, STRATEGY, cell.folder)
        else:
            digests = digest.digest_predictions(cell.folder / "model.keras", cell.recipe, data)
            write_whole(cell.folder / digest.FILE, json.dumps(digests).encode())

    monkeypatch.setattr(Cell, "start", start)
    return started


def pretend(cell, numbers, seconds=(5.0, 10.0), since=None):
    """Makes the folder of a finished cell."""
    cell.folder.mkdir(parents=True)
    cell.recipe.save(cell.folder / "recipe.json")
    (cell.folder / "model.keras").touch()
    lines = [{"step": k, "since": 0, "seconds": s, "loss": 9.0 - k} for k, s in enumerate(seconds)]
    if since is not None:
        lines = [{**line, "since": s} for line, s in zip(lines, since, strict=True)]
    history = "".join(json.dumps(line) + "\n" for line in lines)
    (cell.folder / "history.jsonl").write_text(history)
    metrics = {task: {MEASURES[task].key: number, "other": 0.5} for task, number in numbers.items()}
    details = {"dataset": "scenes", "seconds": 2.0}
    results = {"tasks": metrics, "classes": {}, "images": 8, "split": "validation", "details": details}
    write_json(cell.folder / "results.json", results)


# Arithmetic


def test_summary_by_hand():
    summary = summarize(SCORES, DIRECTIONS)
    assert summary.baseline == pytest.approx({"edge": 0.5, "depth": 1.0})
    assert summary.delta_m["single_task"].values == pytest.approx({0: -0.5, 1: 0.5})
    assert summary.delta_m["rcm"].values == pytest.approx({0: 5.0, 1: 7.0})
    assert summary.delta_m["rcm"].mean == pytest.approx(6.0)
    assert summary.delta_m["rcm"].std == pytest.approx(math.sqrt(2))
    assert summary.tasks["depth"]["rcm"].std == pytest.approx(0.04 / math.sqrt(2))
    # s² = (0.5 + 2) / 2
    assert summary.spread(summary.delta_m, "rc") == (pytest.approx(math.sqrt(1.25)), True)
    assert summary.spread(summary.delta_m, "rcm") == (pytest.approx(math.sqrt(2)), False)
    assert summary.best == "rc"


def test_pooling_weighs_by_degrees_of_freedom():
    three, two = Statistic({0: 0.0, 1: 1.0, 2: 2.0}), Statistic({0: 0.0, 1: 4.0})  # variances 1 and 8
    pooled = Pooled.of({"a": three, "b": two, "c": Statistic({0: 9.0})})
    assert pooled.std == pytest.approx(math.sqrt((2 * 1 + 1 * 8) / 3)) and pooled.methods == ("a", "b")
    assert pooled.freedom == 3
    assert Pooled.of({"c": Statistic({0: 9.0})}) is None


def test_what_lies_within_the_spread_is_said():
    summary = summarize(SCORES, DIRECTIONS)
    assert summary.within_spread("rcm", "rc")  # 0.1 apart
    # 6 apart. The pooled spread is √1.25, that of rcm √2; Student's t at two degrees of freedom is 4.303: 5.49.
    assert not summary.within_spread("rcm", "single_task")
    nearer = {**SCORES, "rcm": {0: {"edge": 0.45, "depth": 0.988}, 1: {"edge": 0.45, "depth": 1.028}}}
    assert summarize(nearer, DIRECTIONS).delta_m["rcm"].mean == pytest.approx(5.4)
    assert summarize(nearer, DIRECTIONS).within_spread("rcm", "single_task")
    # Two seeds that agree by chance do not make a method certain: the pooled spread holds at least.
    agreeing = {"single_task": SCORES["single_task"] | {2: {"edge": 0.6, "depth": 1.0}}}
    agreeing |= {
        name: {seed: {"edge": edge, "depth": 1.0} for seed in (0, 1)} for name, edge in (("a", 0.5), ("b", 0.51))
    }
    summary = summarize(agreeing, DIRECTIONS)
    assert summary.delta_m["a"].std == 0 and summary.within_spread("a", "b")


SIZES = {"single_task": {"parameters": 2000, "macs": 3e9}, "rcm": {"parameters": 1500, "macs": 4.5e9}}


def test_table():
    lines = format_table(summarize(SCORES, DIRECTIONS), MEASURES, SIZES).splitlines()
    assert lines[0] == (
        "| method | seeds | edge odsF % ↑ | depth RMSE m ↓ | Δm % ↓ | parameters | against single_task | GMAC |"
    )
    assert lines[2] == "| single_task | 2 | 50.00 ± 0.71 | 1.0000 ± 0.0000 | +0.00 ± 0.71 | 2,000 | — | 3.00 |"
    assert lines[3] == "| rcm | 2 | 45.00 ± 0.00 | 1.0200 ± 0.0283 | +6.00 ± 1.41 ≈ | 1,500 | -25.0 % | 4.50 |"
    assert lines[4] == "| rc | 1 | 50.00 ± 0.50† | 1.1180 ± 0.0200† | **+5.90 ± 1.12†** | — | — | — |"
    notes = "\n".join(lines[5:])
    assert (
        "the mean of its 2 seeds" in notes
        and "†: one seed; the spread is that of single_task and rcm together" in notes
    )


def test_table_without_several_seeds_or_baseline():
    single = {method: {0: seeds[0]} for method, seeds in SCORES.items()}
    table = format_table(summarize(single, DIRECTIONS), MEASURES, {})
    assert "±" not in table and "≈" not in table and "No method has several seeds" in table
    assert "| rcm | 1 | 45.00 | 1.0000 | **+5.45** |" in table
    table = format_table(summarize({"rcm": SCORES["rcm"]}, DIRECTIONS), MEASURES, {})
    assert "| — |" in table and "No Δm of rcm: no run of single_task is finished." in table
    assert format_table(summarize({}, DIRECTIONS), MEASURES, {}) == "No cell is finished.\n"


def test_a_baseline_of_zero_costs_the_delta_m_only():
    nothing = {"single_task": {0: {"edge": 0.0, "depth": 1.0}}}
    assert "No Δm of single_task: `baseline` must be positive" in format_table(
        summarize(nothing, DIRECTIONS), MEASURES, {}
    )


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_number_that_is_none_costs_its_method_the_delta_m(broken, tmp_path):
    scores = SCORES | {"rc_nff": {seed: {"edge": 0.5, "depth": depth} for seed, depth in ((0, 1.0), (1, broken))}}
    summary = summarize(scores, DIRECTIONS)
    assert summary.delta_m == summarize(SCORES, DIRECTIONS).delta_m and list(summary.without_delta_m) == ["rc_nff"]
    assert summary.tasks["depth"]["rc_nff"].std is None and summary.tasks["edge"]["rc_nff"].std == 0
    table = format_table(summary, MEASURES, {})
    assert "| rc_nff | 2 | 50.00 ± 0.00 | nan | — |" in table and "No Δm of rc_nff: Numbers must be finite" in table
    draw_comparison(tmp_path / "a.png", summary, MEASURES)
    assert Image.open(tmp_path / "a.png").size[0] > 1000
    scores["single_task"] = {0: {"edge": broken, "depth": 1.0}}
    table = format_table(summarize(scores, DIRECTIONS), MEASURES, {})
    assert "No Δm of single_task, rcm, rc and rc_nff: Numbers must be finite" in table


def test_cells_without_numbers_are_reported(tmp_path):
    """JSON has no NaN: what was written comes back."""
    cells = {cell.recipe.method: cell for cell in grid(tmp_path / "cells", RECIPE, {"single_task": (0,), "rc": (0,)})}
    for method, rmse in (("single_task", 1.0), ("rc", math.nan)):
        pretend(cells[method], {"depth": rmse})
    table = Report(tmp_path, RECIPE, TASKS[1:], cells).write()
    assert "| rc | 1 | nan | — |" in table and "No Δm of rc: Numbers must be finite" in table
    content = json.loads((tmp_path / "compare.json").read_text(), parse_constant=pytest.fail)
    assert content["cells"]["rc"]["metrics"]["depth"]["rmse"] is None
    steps = plan_chain(tmp_path / "chain", RECIPE, ("depth",))
    pretend(steps[0], {"depth": math.inf})
    write_json(steps[0].folder / digest.FILE, {"depth": "a"})
    report = IncrementalReport(tmp_path, RECIPE, TASKS[1:], {}, {("rcm", "low_to_high"): steps})
    assert "| rcm | +depth | nan |" in report.write()


# Seeds


@pytest.mark.parametrize(
    "text, seeds",
    [
        ("0", {"rc": (0,), "rcm": (0,), "low": (0,)}),
        ("2, 1", {"rc": (2, 1), "rcm": (2, 1), "low": (2, 1)}),
        ("rcm:0,1;*:0", {"rc": (0,), "rcm": (0, 1), "low": (0,)}),
        ("3; rcm, low:0,1", {"rc": (3,), "rcm": (0, 1), "low": (0, 1)}),
        ("rc:0;rcm:1;low:2", {"rc": (0,), "rcm": (1,), "low": (2,)}),
    ],
)
def test_seeds(text, seeds):
    parsed = parse_seeds(text, ["rc", "rcm", "low"])
    assert parsed == seeds and list(parsed) == ["rc", "rcm", "low"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("many", "must be like 0,1 or"),
        ("rcm:", "must be like"),
        ("0,0", "different"),
        ("-1", "none negative"),
        ("rcmm:0;*:1", "Did you mean 'rcm'"),
        ("rcm:0", "must have seeds for method 'rc'"),
        ("rcm:0;rcm:1;*:0", "once for each method"),
    ],
)
def test_wrong_seeds(text, message):
    with pytest.raises(ValueError, match=message):
        parse_seeds(text, ["rc", "rcm"])


def test_every_method_comes_once_before_second_seeds():
    cells = grid("cells", RECIPE, {"rcm": (0, 1), "rc": (5,)})
    assert [cell.folder.as_posix() for cell in cells] == ["cells/rcm/seed0", "cells/rc/seed5", "cells/rcm/seed1"]
    assert cells[1].recipe == dataclasses.replace(RECIPE, method="rc", seed=5)
    assert cells[1].log.as_posix() == "cells/rc/seed5.log"


def test_methods_are_chosen():
    for preset, methods in PRESETS.items():
        assert choose_methods(preset, None) == methods
    assert choose_methods("ablation", ["rc", "rcm"]) == ("rc", "rcm")
    with pytest.raises(ValueError, match="`--preset` or `--methods` must be given"):
        choose_methods(None, None)
    for twice in ("rcm,rcm", "low_rank,low_rank(8)"):
        with pytest.raises(ValueError, match=re.escape(f"different ones. Received: --methods={twice}")):
            choose_methods(None, twice.split(","))
    with pytest.raises(ValueError, match="paralel_adapter.*Did you mean 'parallel_adapter'"):
        choose_methods(None, ["rcm", "paralel_adapter"])  # before hours of training


def test_fields_are_read_as_they_are_written():
    recipe = dataclasses.replace(
        RECIPE, tasks=("edge", "depth"), scales=(0.5, 1.0), resize=(64, 64), learning_rate=1e-5
    )
    for field in FIELDS:
        value = getattr(recipe, field.name)
        assert parse_field(field.name, format_field(value)) == value


# Cells


def test_cells_are_run_reported_and_not_run_again(tmp_path, monkeypatch, capsys):
    rmse = {"single_task": 0.8, "rc": 0.9}
    seconds = (60.0, 5400.0)

    def start(cell, *_):
        if cell.recipe.method not in rmse:
            raise CellError("no memory")
        pretend(cell, {"depth": rmse[cell.recipe.method]}, seconds)

    monkeypatch.setattr(Cell, "start", start)
    seeds = {"single_task": (0,), "rcm": (0,), "rc": (0,)}
    cells = {cell.recipe.method: cell for cell in grid(tmp_path / "cells", RECIPE, seeds)}
    report = Report(tmp_path, RECIPE, TASKS[1:], cells)
    assert run_cells(cells, [], report.write) == {"rcm": "no memory"}
    content = json.loads((tmp_path / "compare.json").read_text())
    assert list(content["tasks"]["depth"]) == list(content["sizes"]) == ["single_task", "rc"]
    assert content["not_finished"] == ["rcm"]
    assert content["cells"]["rc"]["metrics"]["depth"]["other"] == 0.5
    assert content["cells"]["rc"]["training_logs"] == {"loss": 8.0}
    sizes = {method: size["parameters"] for method, size in content["sizes"].items()}
    table = (tmp_path / "compare.md").read_text()
    assert f"| rc | 1 | 0.9000 | **+12.50** | {sizes['rc']:,} | +1" in table
    assert "Training took 3.0 h in all, evaluation 0.0 h." in table
    assert sizes["rc"] - sizes["single_task"] == 1_396_736  # its modulators; with one task nothing is saved
    assert Image.open(tmp_path / "compare.png").size[0] > 1000
    run_cells(cells, [], lambda: pytest.fail("nothing was to be run"))  # the failing one fails again
    assert "[1/3] single_task … there already" in capsys.readouterr().out


def test_what_is_there_is_accepted_or_refused(tmp_path):
    cell = Cell(tmp_path / "rcm/seed0", RECIPE)
    assert not cell.is_finished()
    pretend(cell, {"depth": 1.0}, seconds=(5.0, 10.0, 11.0, 20.0), since=(0, 0, 2, 2))  # resumed at step 2
    assert cell.is_finished()
    assert cell.seconds() == {"training": 30.0, "evaluation": 2.0}
    results = json.loads((cell.folder / "results.json").read_text())
    for change in ({"split": "train"}, {"details": {**results["details"], "edge_suppression": False}}):
        (cell.folder / "results.json").write_text(json.dumps({**results, **change}))
        assert not cell.is_finished()  # measured on something else afterwards
    (cell.folder / "results.json").write_text(json.dumps(results))
    other = Cell(cell.folder, dataclasses.replace(RECIPE, l2=0.5))
    with pytest.raises(CellError, match="Received: l2=0.0001 there, 0.5 here"):
        other.is_finished()
    (cell.folder / "model.keras").rename(tmp_path / "model.keras")
    assert not other.is_finished()  # nothing was trained there
    (tmp_path / "model.keras").rename(cell.folder / "model.keras")
    of_one_task = Cell(tmp_path / "rcm/seed1", dataclasses.replace(RECIPE, tasks=("edge", "depth"), seed=1))
    pretend(of_one_task, {"depth": 1.0})  # as `zoo.evaluate --tasks depth` leaves it
    assert not of_one_task.is_finished()
    (cell.folder / "results.json").unlink()
    assert not cell.is_finished()


def test_a_failing_cell_says_why_and_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    def run(command, log):
        log.parent.mkdir(parents=True, exist_ok=True)
        if "--method=rc" in command:
            log.write_text("Traceback:\nMemoryError: too large\n")
            return 3
        folder = next(flag.partition("=")[2] for flag in command if flag.startswith("--workdir="))
        (cell,) = (cell for cell in cells.values() if str(cell.folder) == folder)
        pretend(cell, {"depth": 1.0})
        return 0

    monkeypatch.setattr("rc_keras.zoo.compare.cells.run_logged", run)
    cells = {cell.recipe.method: cell for cell in grid(tmp_path, RECIPE, {"rc": (0,), "rcm": (0,)})}
    calls = []
    failed = run_cells(cells, ["--data_dir=d"], lambda: calls.append(1))
    assert list(failed) == ["rc"] and "exit code 3" in failed["rc"] and "MemoryError: too large" in failed["rc"]
    assert len(calls) == 1 and cells["rcm"].is_finished()


def test_output_is_kept_in_the_log(tmp_path):
    for code in (0, 7):
        assert (
            run_logged([sys.executable, "-c", f"print('says', {code}); raise SystemExit({code})"], tmp_path / "a.log")
            == code
        )
    log = (tmp_path / "a.log").read_text()
    assert "says 0" in log and log.count("$ ") == 2 and last_line(tmp_path / "a.log") == "says 7"


def test_an_interrupt_ends_the_cell_too(tmp_path):
    script = "import time; print('begun', flush=True); time.sleep(60)"
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 2.0)
    begin = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_logged([sys.executable, "-c", script], tmp_path / "a.log")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.perf_counter() - begin < 15  # it waited for the end of the process, which did not sleep on


def command(tmp_path, data, *flags):
    recipe = ["--recipe=scenes", "--scale=tiny", "--tasks=depth", "--steps=1", "--checkpoint_every=1"]
    recipe += ["--decoder_width=8", "--low_level_width=8", f"--data_dir={data.builder._data_dir_root}"]
    line = [sys.executable, "-m", "rc_keras.zoo.compare", *recipe, f"--out={tmp_path}", *flags]
    return subprocess.run(line, capture_output=True, text=True, timeout=900)


@pytest.mark.slow
def test_the_command(tmp_path, data):
    """One cell in a process of its own, and one whose folder is taken."""
    taken = tmp_path / "cells/rcm/seed0"
    pretend(Cell(taken, dataclasses.replace(RECIPE, l2=0.5)), {"depth": 1.0})
    done = command(tmp_path, data, "--methods=rcm,single_task")
    assert done.returncode == 1, done.stderr
    assert f"Failed: rcm, seed 0: `{taken}` must hold a run of this recipe" in done.stderr
    assert "[2/2] single_task, seed 0 … " in done.stdout and "| single_task | 1 |" in done.stdout
    assert (tmp_path / "cells/single_task/seed0/results.json").exists()
    assert "$ " in (tmp_path / "cells/single_task/seed0.log").read_text()


@pytest.mark.slow
def test_the_command_twice(tmp_path, data):
    """Two methods and two seeds; what is interrupted goes on, what is there stays."""
    flags = ["--methods=rc_nff,single_task", "--seeds=0,1"]
    done = command(tmp_path, data, *flags)
    assert done.returncode == 0, done.stderr
    (tmp_path / "cells/rc_nff/seed1/results.json").unlink()
    done = command(tmp_path, data, *flags)
    assert done.returncode == 0 and done.stdout.count("there already") == 3, done.stdout
    assert "| rc_nff | 2 |" in done.stdout and "±" in done.stdout
    assert "nothing left to train" in (tmp_path / "cells/rc_nff/seed1.log").read_text()


@pytest.mark.slow
def test_the_command_adds_tasks(tmp_path, data):
    """Every process of it is a real one, the digests' too."""
    flags = ["--preset=incremental", "--methods=rcm,multi_task", "--tasks=depth,normals"]
    done = command(tmp_path, data, *flags)
    assert done.returncode == 0, done.stderr
    chains = json.loads((tmp_path / "incremental.json").read_text())["chains"]
    moved = {(chain["method"], chain["order"]): chain["unchanged"] for chain in chains}
    for order, first in (("low_to_high", "normals"), ("high_to_low", "depth")):
        assert moved["rcm", order] == {first: True} and moved["multi_task", order] == {first: False}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--methods=rcm", "--seed=1"], "`--seed` is set by the comparison"),
        (["--preset=incremental", "--seeds=0,1"], "Incremental runs have one seed, as in single_task:0,1;*:0."),
    ],
)
def test_wrong_flags(flags, message, tmp_path, data):
    done = command(tmp_path, data, *flags)
    assert done.returncode != 0 and message in done.stderr + done.stdout
    assert not list(tmp_path.iterdir())


# Tasks added one by one


def chain(*steps, tasks=("edge", "depth", "normals")):
    return Chain("rcm", "low_to_high", tasks, tuple(steps))


def test_forgetting_by_hand():
    measures = measures_of(open_data("scenes/tiny").select(["edge", "depth", "normals"]))
    forgetful = chain(
        MeasuredStep("edge", {"edge": 0.5}, {"edge": "a"}),
        MeasuredStep("depth", {"edge": 0.45, "depth": 1.0}, {"edge": "a", "depth": "b"}),
        MeasuredStep(
            "normals", {"edge": 0.4, "depth": 1.1, "normals": 30.0}, {"edge": "a", "depth": "c", "normals": "d"}
        ),
    )
    assert forgetful.forgetting(measures) == pytest.approx({"edge": 20.0, "depth": 10.0})  # positive is worse
    assert forgetful.unchanged() == {"edge": True, "depth": False}
    baseline = {"edge": 0.5, "depth": 1.0, "normals": 24.0}
    assert forgetful.delta_m(measures, baseline) == pytest.approx([0.0, 5.0, (20 + 10 + 25) / 3])
    table = format_chains([forgetful], measures, baseline)
    assert "| rcm | +20.00 | +10.00 | moved: depth | +0.00 | +5.00 | +18.33 |" in table
    assert "| rcm | +depth | 45.00 | 1.0000 |  |" in table
    assert chain(*forgetful.steps[:1]).forgetting(measures) == {} and chain().forgetting(measures) == {}


def test_steps_without_numbers_have_no_percent():
    measures = measures_of(open_data("scenes/tiny").select(["edge", "depth", "normals"]))
    broken = chain(
        MeasuredStep("edge", {"edge": 0.0}, {"edge": "a"}),
        MeasuredStep("depth", {"edge": 0.0, "depth": math.nan}, {"edge": "a", "depth": "b"}),
        MeasuredStep("normals", {"edge": 0.0, "depth": 1.0, "normals": 30.0}, dict.fromkeys(measures, "c")),
    )
    assert broken.forgetting(measures) == {"edge": None, "depth": None}
    baseline = {"edge": 0.5, "depth": 1.0, "normals": 30.0}
    assert broken.delta_m(measures, baseline) == [100.0, None, pytest.approx(100 / 3)]
    assert broken.delta_m(measures, baseline | {"normals": 0.0}) == [100.0, None, None]
    table = format_chains([broken], measures, baseline)
    assert "| rcm | — | — | moved: edge, depth | +100.00 | — | +33.33 |" in table and "| nan |" in table


def test_a_task_that_moved_and_came_back_is_not_unchanged():
    numbers = {"edge": 0.5, "depth": 1.0, "normals": 30.0}
    digests = ({"edge": "a"}, {"edge": "moved", "depth": "b"}, {"edge": "a", "depth": "b", "normals": "c"})
    back = chain(*(MeasuredStep(task, numbers, bits) for task, bits in zip(numbers, digests, strict=True)))
    assert back.unchanged() == {"edge": False, "depth": True}


def test_orders():
    tasks = open_data("scenes/tiny").select(["semseg", "depth", "edge", "normals"])
    assert order_tasks(tasks, "low_to_high") == ("edge", "normals", "depth", "semseg")
    assert order_tasks(tasks, "high_to_low") == ("semseg", "depth", "normals", "edge")


@pytest.mark.slow
def test_tasks_are_added_and_the_earlier_ones_answer_the_same_bits(tmp_path, in_process, monkeypatch):
    tasks = open_data("scenes/tiny").select(["normals", "depth"])
    steps = plan_chain(tmp_path / "incremental/rcm/low_to_high", RECIPE, ("normals", "depth"))
    assert [step.folder.name for step in steps] == ["step1-normals", "step2-depth"]
    assert steps[1].recipe.tasks == ("depth",)
    with pytest.raises(CellError, match="step before is not finished"):
        steps[1].run([])
    report = IncrementalReport(tmp_path, RECIPE, tasks, {}, {("rcm", "low_to_high"): steps})
    assert not run_cells({step.folder.name: step for step in steps}, [], report.write)
    assert in_process == [(module, step.folder.name) for step in steps for module in ("train", "digest")]
    (content,) = json.loads((tmp_path / "incremental.json").read_text())["chains"]
    assert content["unchanged"] == {"normals": True} and content["forgetting_percent"] == {"normals": 0.0}
    assert list(content["steps"][1]["numbers"]) == ["normals", "depth"]
    assert "| rcm | +0.00 | same bits |" in (tmp_path / "incremental.md").read_text()
    assert Image.open(tmp_path / "incremental.png").size[1] > 300
    assert "cores" in (tmp_path / "incremental.md").read_text().splitlines()[-1]  # the machine
    (steps[1].folder / digest.FILE).unlink()  # killed between training and digest: nothing is trained again
    assert len(read_chain("rcm", "low_to_high", steps, measures_of(tasks)).steps) == 1
    assert "Not finished: rcm, low_to_high, step2-depth." in report.write()
    again = []
    monkeypatch.setattr(Cell, "start", lambda cell, module, flags: again.append((module, flags)))
    steps[1].run(["--recipe=scenes", "--data_dir=d"])
    assert again == [("rc_keras.zoo.compare.digest", ["--data_dir=d"])]


def joint_and_sequential(folder):
    return {
        (method, "low_to_high"): plan_chain(
            folder / method, dataclasses.replace(RECIPE, method=method), ("normals", "depth")
        )
        for method in ("multi_task", "fine_tune")
    }


def test_joint_methods_train_all_tasks_so_far(tmp_path):
    for step in (0, 1):
        joint, sequential = (steps[step].recipe.tasks for steps in joint_and_sequential(tmp_path).values())
        assert joint == ("normals", "depth")[: step + 1] and sequential == (("normals",), ("depth",))[step]


@pytest.mark.slow
def test_joint_training_goes_on_with_the_earlier_tasks(tmp_path, in_process):
    """Both train `normals` on its own first; then `fine_tune` leaves it alone, and `multi_task` takes it along."""
    tasks = open_data("scenes/tiny").select(["normals", "depth"])
    plans = joint_and_sequential(tmp_path)
    report = IncrementalReport(tmp_path, RECIPE, tasks, {}, plans)
    cells = {f"{method}, {step.added}": step for (method, _), steps in plans.items() for step in steps}
    assert not run_cells(cells, [], report.write)
    joint, alone = json.loads((tmp_path / "incremental.json").read_text())["chains"]
    assert joint["unchanged"] == alone["unchanged"] == {"normals": False}  # both train the encoder that it reads
    own = [chain["steps"][0]["digests"]["normals"] for chain in (joint, alone)]
    later = [chain["steps"][1]["digests"]["normals"] for chain in (joint, alone)]
    assert own[0] == own[1] and later[0] != later[1]


# Scaling

# Of the encoder: what tasks share and what each adds, by arithmetic from the architecture; and the totals of 10 tasks.
ENCODERS = {
    "resnet18": {"single_task": (0, 11_176_512), "rcm": (10_994_880, 1_582_272)},
    "resnet34": {"single_task": (0, 21_284_672), "rcm": (21_095_616, 2_715_712)},
}
TENTH = {"resnet18": (111_765_120, 26_817_600), "resnet34": (212_846_720, 48_252_736)}
DECODER = 5_426_272 + 257  # DeepLabv3+ of width 256 and a one-channel head


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet18", "resnet34"])
def test_parameters_grow_as_published(backbone, tmp_path):
    recipe = dataclasses.replace(RECIPE, backbone=backbone, decoder_width=256, low_level_width=48)
    growths = {method: measure_growth(dataclasses.replace(recipe, method=method)) for method in ENCODERS[backbone]}
    for method, (shared, own) in ENCODERS[backbone].items():
        for count in range(1, 11):
            assert growths[method]["encoder"](count) == shared + count * own
            assert growths[method]["network"](count) == shared + count * (own + DECODER)
    assert tuple(growths[method]["encoder"](10) for method in ("single_task", "rcm")) == TENTH[backbone]
    assert growths["single_task"]["macs"].shared == 0
    assert growths["rcm"]["macs"].per_task > growths["single_task"]["macs"].per_task  # by the modulators
    table = write_growth(tmp_path, growths, recipe)
    saved = {"resnet18": "| saved by rcm | -12.5 % | 36.7 % ", "resnet34": "| saved by rcm | -11.9 % | 37.7 % "}
    assert saved[backbone] in table
    content = json.loads((tmp_path / "scaling.json").read_text())
    assert content["methods"]["rcm"]["encoder"]["tasks"]["10"] == TENTH[backbone][1]
    assert Image.open(tmp_path / "scaling.png").size[0] > 1000
