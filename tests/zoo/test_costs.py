"""What trained models cost: measured in turn, kept beside each run, and shown; and rows that are more than a method."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from PIL import Image
from support import tiny
from support.tiny import SIZE, assert_same_bits, differs, micro_backbone, state, tiny_model

from rc_keras.files.whole_files import write_json
from rc_keras.zoo.compare import costs, latency
from rc_keras.zoo.compare.cells import Cell, CellError, grid
from rc_keras.zoo.compare.cost_table import format_costs
from rc_keras.zoo.compare.costed_cell import CostedCell, read_costs
from rc_keras.zoo.compare.presets import PRESETS, choose_methods
from rc_keras.zoo.compare.report import Report
from rc_keras.zoo.compare.runner import run_cells
from rc_keras.zoo.compare.variants import DONOR, FRONTIER, Variant, plan_variants
from rc_keras.zoo.datasets.data import open_data
from rc_keras.zoo.measures import measures_of
from rc_keras.zoo.recipes import Recipe
from rc_keras.zoo.recipes.network import build_network
from rc_keras.zoo.recipes.recipe import FIELDS
from rc_keras.zoo.training.run import make_model

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="zoo runs are tested on TensorFlow")
RECIPE = Recipe(
    dataset="scenes/tiny",
    tasks=("depth", "semseg"),
    crop=(64, 64),
    steps=1,
    checkpoint_every=1,
    decoder_width=8,
    low_level_width=8,
    response_images=2,
    batch_size=4,
)
DATA = open_data("scenes/tiny")
TASKS = DATA.select(["depth", "semseg"])
MEASURES = measures_of(TASKS)


def some_costs(ratio=0.5, **changed):
    times = {"seconds": 0.02 * ratio, "reference_seconds": 0.02, "ratio": ratio, "rounds": 30}
    return {
        "tasks": 2,
        "size": {"parameters": 70, "shared": 10, "tasks": {"depth": 20, "semseg": 40}, "macs": 3e9},
        "latency": {**times, "ratio_quartiles": [ratio - 0.01, ratio + 0.01]},
        "file_bytes": 5_000_000,
        "reference_file_bytes": 9_000_000,
        "peak_bytes": 12_000_000,
        "image_shape": [64, 64, 3],
        "machine": {},
        **changed,
    }


def pretend(cell, numbers, measured=None):
    """Makes the folder of a finished cell."""
    cell.folder.mkdir(parents=True)
    cell.recipe.save(cell.folder / "recipe.json")
    (cell.folder / "model.keras").touch()
    (cell.folder / "history.jsonl").write_text(json.dumps({"step": 1, "since": 0, "seconds": 5.0}) + "\n")
    metrics = {task: {MEASURES[task].key: number} for task, number in numbers.items()}
    details = {"dataset": "scenes", "seconds": 2.0}
    results = {"tasks": metrics, "classes": {}, "images": 8, "split": "validation", "details": details}
    write_json(cell.folder / "results.json", results)
    if measured is not None:
        write_json(cell.folder / costs.FILE, measured)


# Time


class Network:
    """Moves a clock by its own number of seconds."""

    def __init__(self, clock, name, seconds):
        self._clock, self._name, self._seconds = clock, name, seconds

    def run(self, image):
        self._clock.ran.append(self._name)
        self._clock.now += self._seconds * (1 + len(self._clock.ran) // 4)


def test_networks_take_turns_in_both_orders():
    clock = types.SimpleNamespace(now=0.0, ran=[])
    networks = {"a": Network(clock, "a", 1.5), "b": Network(clock, "b", 0.5)}
    seconds = latency.interleaved_seconds(networks, np.zeros((2, 2, 3)), 2, clock=lambda: clock.now)
    assert clock.ran == ["a", "b", "b", "a"] * 2
    # A machine that gets slower with every four runs; two rounds are not counted.
    assert seconds["a"].tolist() == pytest.approx([1.5 * 2, 1.5 * 3])
    assert seconds["b"].tolist() == pytest.approx([0.5 * 2, 0.5 * 2])


def test_the_ratio_is_the_median_of_ratios_round_by_round():
    measured = latency.Latency.of(np.array([1.0, 4.0, 3.0]), np.array([2.0, 4.0, 10.0]))
    assert measured.ratio == pytest.approx(0.5) and measured.ratio_quartiles == pytest.approx((0.4, 0.75))
    assert (measured.seconds, measured.reference_seconds, measured.rounds) == (3.0, 4.0, 3)


def test_files_are_run_in_turn(tmp_path):
    shape = (SIZE, SIZE, 3)
    for name, tasks in (("one", tiny.TASKS[:1]), ("two", tiny.TASKS[1:3])):
        tiny_model(tasks, method="batch_norm").export(tmp_path / f"{name}.tflite", verbose=False)
    image = np.zeros(shape, "uint8")
    measured = latency.compare_latency(tmp_path / "one.tflite", tmp_path / "two.tflite", image, rounds=2)
    assert measured.rounds == 2 and 0 < measured.ratio_quartiles[0] <= measured.ratio <= measured.ratio_quartiles[1]


@pytest.mark.slow
def test_what_a_model_costs(tmp_path):
    """Two tasks of a saved model: its own sizes, its file, and the time of two plain networks beside it."""
    model = build_network(dataclasses.replace(RECIPE, method="batch_norm"), TASKS)
    model.save(tmp_path / "model.keras")
    measured = costs.measure_costs(tmp_path / "model.keras", RECIPE, rounds=3)
    json.dumps(measured)
    assert measured["tasks"] == 2 and measured["size"]["parameters"] == model.parameter_report().total
    assert measured["size"]["macs"] == model.mac_report().total
    report = model.export(tmp_path / "model.tflite", joint=True, verbose=False)
    assert measured["file_bytes"] == report.file_bytes < 0.6 * measured["reference_file_bytes"]
    times = measured["latency"]
    assert times["rounds"] == 3 and min(times["seconds"], times["reference_seconds"]) > 0
    low, high = times["ratio_quartiles"]
    assert 0 < low <= times["ratio"] <= high
    if sys.platform == "linux":
        assert measured["peak_bytes"] > 0.5 * measured["file_bytes"]


def test_plain_networks_know_no_saving():
    recipe = dataclasses.replace(RECIPE, method="rcm", add_to="model.keras", init_from="semseg")
    plain = costs.build_plain(recipe, TASKS)
    assert plain.bank.method.name == "single_task" and plain.tasks == ["depth", "semseg"]
    one, other = state(plain.branch("depth")), state(plain.branch("semseg"))
    assert set(differs(one, other)) >= {name for name in one if name.endswith("/kernel") and "head" not in name}


# Cells


def test_costs_are_measured_once_and_nothing_is_trained_again(tmp_path, monkeypatch):
    started = []

    def start(cell, module, flags):
        started.append((module.rpartition(".")[2], list(flags)))
        if module.endswith("train"):
            pretend(cell, {"depth": 1.0, "semseg": 0.5})
        else:
            write_json(cell.folder / costs.FILE, some_costs())

    monkeypatch.setattr(Cell, "start", start)
    (before,) = grid(tmp_path, RECIPE, {"rcm": (0,)})
    before.run([])
    (cell,) = grid(tmp_path, RECIPE, {"rcm": (0,)}, CostedCell)
    assert before.is_finished() and not cell.is_finished()
    assert run_cells({"rcm": cell}, ["--data_dir=d"], lambda: None) == {}
    assert [module for module, _ in started] == ["train", "costs"] and started[1][1] == []
    assert cell.is_finished() and read_costs([cell, before]) == {"rcm": [cell.costs()]}
    run_cells({"rcm": cell}, [], lambda: pytest.fail("nothing was to be run"))


def test_costs_stand_in_table_picture_and_json(tmp_path):
    seeds = {"single_task": (0,), "rcm": (0, 1)}
    cells = {f"{c.title}, {c.recipe.seed}": c for c in grid(tmp_path / "cells", RECIPE, seeds, CostedCell)}
    for (name, cell), ratio in zip(cells.items(), (1.0, 0.5, 0.7), strict=True):
        peak = {"peak_bytes": None} if name.startswith("single") else {}
        pretend(cell, {"depth": 1.0 + ratio, "semseg": 0.5}, some_costs(ratio, **peak))
    table = Report(tmp_path, RECIPE, TASKS, cells).write()
    assert "| rcm | 12.0 | 0.600 (0.590 … 0.610) | 5.00 | 12 | 3.00 | 30 |" in table
    assert "| single_task | 20.0 | 1.000 (0.990 … 1.010) | 5.00 | — | 3.00 | 30 |" in table
    assert "| 70 | +0.0 % | 3.00 |" in table  # of what was trained, in the first table too
    content = json.loads((tmp_path / "compare.json").read_text())
    assert content["cells"]["rcm, 1"]["costs"]["latency"]["ratio"] == 0.7
    assert content["sizes"]["rcm"]["parameters"] == 70
    assert Image.open(tmp_path / "costs.png").size[0] > 1000
    assert format_costs({"rcm": [some_costs()]}).endswith("the median.\n")


@pytest.fixture
def sizes_known(monkeypatch):
    monkeypatch.setattr("rc_keras.zoo.compare.report.measure_size", lambda *_: some_costs()["size"])


def test_without_costs_nothing_is_said_of_them(tmp_path, sizes_known):
    cells = {c.title: c for c in grid(tmp_path / "cells", RECIPE, {"rcm": (0,)})}
    pretend(cells["rcm"], {"depth": 1.0, "semseg": 0.5})
    assert "LiteRT" not in Report(tmp_path, RECIPE, TASKS, cells).write()
    assert not (tmp_path / "costs.png").exists()
    assert "costs" not in json.loads((tmp_path / "compare.json").read_text())["cells"]["rcm"]


# Rows that are more than a method


def test_rows_and_what_they_start_from(tmp_path):
    seeds = {"rcm": (0,), "rcm_warm": (0, 3)}
    rows = [variant for variant in FRONTIER if variant.name in seeds]
    donors, cells = plan_variants(tmp_path, RECIPE, rows, seeds, CostedCell)
    assert list(donors) == ["rcm_semseg, seed 0", "rcm_semseg, seed 3"]
    assert list(cells) == ["rcm_warm, seed 0", "rcm, seed 0", "rcm_warm, seed 3"]
    warm, donor = cells["rcm_warm, seed 3"], donors["rcm_semseg, seed 3"]
    assert warm.folder == tmp_path / "rcm_warm/seed3" and warm.title == "rcm_warm"
    assert type(warm) is CostedCell and type(donor) is Cell
    expected = {"seed": 3, "init_from": "semseg"}
    expected["add_to"] = str((donor.folder / "model.keras").resolve())
    assert warm.recipe == dataclasses.replace(RECIPE, **expected)
    assert donor.recipe == dataclasses.replace(RECIPE, tasks=("semseg",), seed=3)
    assert cells["rcm, seed 0"].recipe == RECIPE
    with pytest.raises(CellError, match="which it starts from, is not there"):
        warm.run([])
    with pytest.raises(ValueError, match="`--tasks` must hold semseg for 'rcm_semseg'. Received: --tasks=depth"):
        plan_variants(tmp_path, dataclasses.replace(RECIPE, tasks=("depth",)), rows, seeds)


def test_the_frontier_says_what_recipes_have():
    fields = {field.name for field in FIELDS}
    for variant in FRONTIER:
        assert variant.fields.keys() <= fields
        assert (DONOR in variant.fields.values()) == (variant.donor is not None)
    assert len({variant.name for variant in FRONTIER}) == len(FRONTIER) and FRONTIER[0].name == "single_task"
    assert choose_methods("frontier", None) == PRESETS["frontier"]
    assert choose_methods("frontier", ["rcm_warm"]) == ("rcm_warm",)
    with pytest.raises(ValueError, match="Did you mean 'rcm_warm'"):
        choose_methods("frontier", ["rcm_wram"])
    with pytest.raises(ValueError, match="must be different ones"):
        choose_methods("frontier", ["rcm", "rcm"])


def test_donors_are_in_no_table(tmp_path, sizes_known):
    recipe = dataclasses.replace(RECIPE, tasks=("depth", "semseg"))
    start = Variant("start", {"method": "rcm"}, tasks=("semseg",))
    rows = [Variant("single_task", {"method": "single_task"}), Variant("warm", {"add_to": DONOR}, donor=start)]
    donors, cells = plan_variants(tmp_path / "cells", recipe, rows, {"single_task": (0,), "warm": (0,)})
    report = Report(tmp_path, recipe, TASKS, cells, donors)
    assert list(report.cells) == ["start, seed 0", "single_task, seed 0", "warm, seed 0"]
    pretend(donors["start, seed 0"], {"semseg": 0.5})
    for cell, rmse in zip(cells.values(), (1.0, 0.9), strict=True):
        pretend(cell, {"depth": rmse, "semseg": 0.5})
    table = report.write()
    assert "| warm | 1 |" in table and "start" not in table and "-5.00" in table
    content = json.loads((tmp_path / "compare.json").read_text())
    assert content["not_finished"] == [] and content["cells"]["warm, seed 0"]["method"] == "warm"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    data = open_data("scenes/tiny", data_dir=str(tmp_path_factory.mktemp("data")))
    data.prepare()
    return data


@pytest.mark.parametrize("init_from", ["semseg", pytest.param("nearest", marks=pytest.mark.slow)])
def test_a_recipe_says_what_tasks_start_from(init_from, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rc_keras.training.nearest_task._TURNS", 2)
    backbone = micro_backbone(size=64)
    donor = tiny_model(data.select(["semseg"]), backbone=backbone, image_shape=(64, 64, 3))
    norm = donor.branch("semseg").get_layer("semseg__decoder_norm")
    norm.gamma.assign(norm.gamma + 0.5)
    donor.save(tmp_path / "model.keras")
    added = {"tasks": ("depth",), "add_to": str(tmp_path / "model.keras"), "init_from": init_from}
    model = make_model(dataclasses.replace(RECIPE, **added), data)
    start, source = state(model.branch("depth")), state(model.branch("semseg"))
    body = [name for name in source if "decoder_head/" not in name]
    assert_same_bits({name: start[name] for name in body}, {name: source[name] for name in body})
    assert model.trainable_tasks == ["depth"]
    assert ("depth starts from semseg" in capsys.readouterr().out) == (init_from == "nearest")
    with pytest.raises(ValueError, match="`init_from` must be None without `add_to`"):
        dataclasses.replace(RECIPE, init_from="semseg")
    with pytest.raises(ValueError, match="`decoder_bank` must be None with `add_to`"):
        dataclasses.replace(RECIPE, decoder_bank="model.keras", **added)


@pytest.mark.slow
def test_a_recipe_says_what_the_bank_is_made_of(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, weights=None, response_images=2, decoder_width=8, low_level_width=8)
    donor = make_model(dataclasses.replace(recipe, tasks=("semseg",)), data)
    donor.save(tmp_path / "model.keras")
    own = dataclasses.replace(
        recipe,
        decoder_bank=str(tmp_path / "model.keras"),
        response_energy=0.9,
        shared_stages=1,
        tasks=("depth", "semseg"),
    )
    model = make_model(own, data)
    bank = model.bank
    assert (bank.donor.task, bank.shared_stages, model.trainable_tasks) == ("semseg", 1, ["depth", "semseg"])
    assert bank.ranks and all(
        rank <= donor.bank.convolutions[name].filters
        for name, rank in bank.ranks.items()
        if name in donor.bank.convolutions
    )
    assert any(name.startswith("decoder_") for name in bank.convolutions)
    model.save(tmp_path / "two.keras")
    with pytest.raises(ValueError, match="`decoder_bank` must have one task. Received: .*two.keras, which has .*depth"):
        make_model(dataclasses.replace(own, decoder_bank=str(tmp_path / "two.keras")), data)


@pytest.mark.slow
def test_the_command(data, tmp_path):
    """Every process of it is a real one."""
    recipe = ["--recipe=scenes", "--scale=tiny", "--tasks=depth,semseg", "--steps=1", "--checkpoint_every=1"]
    recipe += ["--decoder_width=8", "--low_level_width=8", f"--data_dir={data.builder._data_dir_root}"]
    line = [sys.executable, "-m", "rc_keras.zoo.compare", "--preset=frontier", f"--out={tmp_path}", *recipe]
    done = subprocess.run([*line, "--methods=single_task,rcm_warm"], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "[1/3] rcm_semseg, seed 0 … " in done.stdout and "| rcm_warm | 1 |" in done.stdout
    content = json.loads((tmp_path / "compare.json").read_text())
    assert set(content["cells"]) == {"rcm_semseg, seed 0", "single_task, seed 0", "rcm_warm, seed 0"}
    measured = {name: cell["costs"] for name, cell in content["cells"].items() if "costs" in cell}
    ratios = {name: found["latency"]["ratio"] for name, found in measured.items()}
    assert set(ratios) == {"single_task, seed 0", "rcm_warm, seed 0"} and min(ratios.values()) > 0
    assert pathlib.Path(tmp_path / "costs.png").exists()
