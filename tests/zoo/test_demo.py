"""The demo runs from the first picture to the page, and the page tells the truth."""

import html
import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the demo exports")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder and the results of a quick demo."""
    pytest.importorskip("ai_edge_litert.interpreter")
    pytest.importorskip("matplotlib")
    from rc_keras.zoo.demo.config import DemoConfig
    from rc_keras.zoo.demo.run import run

    out = tmp_path_factory.mktemp("demo") / "out"
    return out, run(DemoConfig.quick(), out, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def page(demo):
    return (demo[0] / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_page_refers_to_its_own_files_and_to_nothing_else(demo, page):
    references = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert references
    for reference in references:
        assert not re.match(r"[a-z]+:|/", reference), reference
        assert (demo[0] / reference).stat().st_size > 0, reference
    assert "http" not in page and "<script" not in page and "@import" not in page
    assert not [path.name for path in demo[0].rglob(".*")], "a temporary file stayed"


@pytest.mark.slow
def test_page_shows_truth_and_prediction_of_every_task(page):
    for task in ("semseg", "parts", "edge", "saliency", "normals", "depth"):
        kinds = ("truth", "shipped", "file") if task in ("semseg", "depth", "saliency") else ("truth", "shipped")
        for i in (0, 1):
            for kind in kinds:
                assert f"pictures/{i}-{task}-{kind}.png" in page
    assert page.index("0-semseg-shipped.png") < page.index("0-semseg-file.png"), "what is shipped comes first"


@pytest.mark.slow
def test_adding_a_task_changed_nothing(demo, page):
    _, results = demo
    assert results.compared == 4 * 128 * 128 * (14 + 1)  # semseg's and depth's channels
    assert results.differing == 0
    assert "Bit for bit the same." in page


@pytest.mark.slow
def test_files_hold_what_was_computed(demo):
    out, results = demo
    written = json.loads((out / "results.json").read_text())
    assert [task["name"] for task in written["tasks"]] == ["semseg", "depth", "saliency"]
    assert written["export"]["passed"]
    assert written["tasks"][1]["trained"] == results.tasks[1].trained
    assert json.loads((out / "config.json").read_text())["preset"] == "rooms"
    assert results.parameters.total < results.separate_parameters
    for task in results.tasks:  # a step of training is nothing beside what is shipped
        assert (task.shipped < task.trained) == task.measure.lower_is_better, task.name


@pytest.mark.slow
def test_programs_on_the_page_run(demo, page):
    programs = [html.unescape(program) for program in re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)]
    assert len(programs) == 2
    result = subprocess.run([sys.executable, "-c", "\n".join(programs)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "semseg (1, 128, 128, 14)" in result.stdout
    assert "saliency" in result.stdout.split("shared bank")[0].split("modulators")[1], "it was put back"


@pytest.mark.slow
def test_an_interrupted_demo_leaves_no_page(demo, tmp_path, monkeypatch):
    from rc_keras.zoo.demo import run as module
    from rc_keras.zoo.demo.config import DemoConfig

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "Rooms", interrupt)
    (tmp_path / "index.html").write_text("of an earlier run")
    with pytest.raises(KeyboardInterrupt):
        module.run(DemoConfig.quick(), tmp_path)
    assert not (tmp_path / "index.html").exists()


def test_the_preset_was_not_trained_on_the_rooms_of_the_demo():
    from rc_keras.zoo.demo.config import DemoConfig
    from rc_keras.zoo.rooms.pretraining import Pretraining
    from rc_keras.zoo.rooms.run import Rooms

    assert DemoConfig().task_images <= min(Pretraining().train[0], Rooms().train[0])


def test_mirrored_normals_point_the_other_way():
    from rc_keras.zoo.demo.config import DemoConfig
    from rc_keras.zoo.demo.data import training_batches

    image = np.arange(2 * 3 * 3, dtype="uint8").reshape(2, 3, 3)
    normals = np.random.default_rng(0).normal(size=(2, 3, 3)).astype("float32")
    arrays = {"image": np.stack([image] * 32), "normals": np.stack([normals] * 32)}
    seen = set()
    for images, labels in training_batches(arrays, ["normals"], DemoConfig.quick()):
        for drawn, answer in zip(images.numpy(), labels["normals"].numpy(), strict=True):
            mirrored = not np.array_equal(drawn, image)
            seen.add(mirrored)
            if mirrored:
                np.testing.assert_array_equal(drawn, image[:, ::-1])
            expected = normals[:, ::-1] * np.float32([-1, 1, 1]) if mirrored else normals
            np.testing.assert_array_equal(answer, expected)
    assert seen == {True, False}


def test_guesses_without_an_image_have_the_metrics_they_should():
    from rc_keras.tasks.task import Task
    from rc_keras.zoo.demo.baselines import measure_baseline

    depth = np.full((2, 4, 4, 1), 2.0, "float32")
    name, rmse = measure_baseline(Task("depth", 1, "depth"), depth, depth + 1.0)
    assert name == "mean depth, 2 m" and rmse == pytest.approx(1.0, abs=1e-6)
    classes = np.repeat([[0, 0, 1, 0]], 4, axis=0).reshape(1, 4, 4, 1)
    name, iou = measure_baseline(Task("rooms", 2, "segmentation", class_names=["wall", "floor"]), classes, classes)
    assert name == "always wall" and iou == pytest.approx(0.75 / 2, abs=1e-6)
    up = np.broadcast_to(np.float32([0, -1, 0]), (1, 4, 4, 3))
    forward = np.broadcast_to(np.float32([0, 0, -1]), (1, 4, 4, 3))
    assert measure_baseline(Task("normals", 3, "normals"), up, forward)[1] == pytest.approx(90.0, abs=1e-3)
    salient = np.zeros((1, 4, 4, 1), "uint8")
    salient[:, :2] = 1
    assert measure_baseline(Task("saliency", 1, "saliency"), salient, salient)[1] == pytest.approx(0.5, abs=1e-6)
