"""The page's pictures are those of `Task.draw`: its own JavaScript, run by node."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from support.tiny import TASKS

import rc_keras
from rc_keras.tasks.description import describe
from rc_keras.view.page import SOURCES

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")

HEIGHT, WIDTH = 12, 17
CLASSES = rc_keras.Task("classes", 30, "segmentation", ignore=255)
BY_NAME = {task.name: task for task in (*TASKS, CLASSES, rc_keras.Task("saliency", 1, "saliency"))}

SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
import { draw, shapeOf } from "./drawing.mjs";
const { task, dims, type } = JSON.parse(readFileSync("task.json")), raw = readFileSync("values.bin");
const buffer = raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length);
const values = type === "float32" ? new Float32Array(buffer) : new Uint8Array(buffer);
writeFileSync("pixels.bin", draw(task, values, shapeOf(task, dims).channels));
"""


def page_picture(task, values, folder):
    """RGB of the page for `(height, width, channels)` numbers, or ids `(height, width)`."""
    shutil.copy(SOURCES / "drawing.js", folder / "drawing.mjs")
    (folder / "main.mjs").write_text(SCRIPT)
    asked = {"task": describe(task), "dims": [1, *values.shape], "type": values.dtype.name}
    (folder / "task.json").write_text(json.dumps(asked))
    (folder / "values.bin").write_bytes(values.tobytes())
    done = subprocess.run(["node", "main.mjs"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pixels = np.frombuffer((folder / "pixels.bin").read_bytes(), "uint8").reshape(HEIGHT, WIDTH, 4)
    assert (pixels[..., 3] == 255).all()
    return pixels[..., :3]


def assert_same_picture(task, values, folder):
    np.testing.assert_array_equal(page_picture(task, values, folder), task.draw(values, activated=True))


@pytest.mark.parametrize("name", BY_NAME)
def test_any_numbers(name, tmp_path):
    task = BY_NAME[name]
    values = np.random.default_rng(0).normal(0.4, 0.5, (HEIGHT, WIDTH, task.channels)).astype("float32")
    assert_same_picture(task, values, tmp_path)


@pytest.mark.parametrize("name", ["edge", "depth", "normals"])
def test_numbers_half_way_between_two_colours(name, tmp_path):
    """Bytes are rounded to the even one, in float32."""
    task = BY_NAME[name]
    steps = (np.arange(HEIGHT * WIDTH * task.channels) % 511 / 2 / 255).astype("float32")
    values = (2 * steps - 1 if name == "normals" else steps).reshape(HEIGHT, WIDTH, task.channels)
    assert_same_picture(task, values, tmp_path)


@pytest.mark.parametrize("name", ["edge", "depth", "normals"])
def test_what_is_no_number(name, tmp_path):
    task = BY_NAME[name]
    values = np.random.default_rng(1).uniform(0, 1, (HEIGHT, WIDTH, task.channels)).astype("float32")
    values[0, :3, 0] = np.nan, np.inf, -np.inf
    assert_same_picture(task, values, tmp_path)


def test_depth_that_is_the_same_everywhere_or_nowhere(tmp_path):
    for number in (2.5, np.nan):
        assert_same_picture(BY_NAME["depth"], np.full((HEIGHT, WIDTH, 1), number, "float32"), tmp_path)


def test_equal_logits_and_class_ids(tmp_path):
    logits = np.random.default_rng(2).integers(0, 3, (HEIGHT, WIDTH, 30)).astype("float32")
    assert_same_picture(CLASSES, logits, tmp_path)
    ids = np.argmax(logits, axis=-1).astype("uint8")
    np.testing.assert_array_equal(page_picture(CLASSES, ids, tmp_path), CLASSES.draw(logits))
    ids[0, 0] = 99  # none of the classes
    np.testing.assert_array_equal(page_picture(CLASSES, ids, tmp_path)[0, 0], [255, 0, 255])
