"""The preset that the package ships: its size, and what it answers for rooms that it was not trained on."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import rc_keras
from rc_keras.published.registry import packaged_folder
from rc_keras.zoo.rendering import render_scene, scenes_tasks

BYTES = 5_000_000
ROOMS = 12  # of the 500 validation rooms
# What these rooms must at least be answered with; the card has the figures of all 500.
LEAST = {"semseg_mean_iou": 0.68, "parts_mean_iou": 0.55, "edge_max_f": 0.44, "saliency_max_iou": 0.55}
MOST = {"normals_mean_angle": 9.3, "depth_rmse": 0.36}

FIVE_LINES = """
import numpy as np, PIL.Image, rc_keras
model = rc_keras.from_preset("rooms")
image = np.asarray(PIL.Image.open({image!r}))
prediction = model.predict(image[None], tasks=["semseg"], verbose=0)["semseg"][0]
PIL.Image.fromarray(model.task("semseg").draw(prediction)).save({out!r})
"""


@pytest.fixture(scope="module")
def rooms():
    scenes = [render_scene((1, number), 128) for number in range(ROOMS)]
    names = ("image", *(task.name for task in scenes_tasks()))
    return {name: np.stack([scene[name] for scene in scenes]) for name in names}


@pytest.fixture(scope="module")
def model():
    return rc_keras.from_preset("rooms")


def test_it_is_small_and_has_the_tasks_of_the_data_set(model):
    assert sum(path.stat().st_size for path in pathlib.Path(packaged_folder("rooms")).rglob("*")) <= BYTES
    for task in scenes_tasks():
        assert model.task(task.name).get_config() == task.get_config()


def test_what_it_answers(model, rooms):
    labels = {name: rooms[name] for name in model.tasks}
    model.compile()
    results = model.evaluate(rooms["image"], labels, batch_size=8, verbose=0, return_dict=True)
    for name, least in LEAST.items():
        assert results[name] >= least, name
    for name, most in MOST.items():
        assert results[name] <= most, name


def test_it_loads_where_the_global_data_format_is_another(model, rooms):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        other = rc_keras.from_preset("rooms", tasks=["depth"])
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format(before)
    images = rooms["image"][:2]
    expected = model.predict(images, tasks=["depth"], verbose=0)["depth"]
    np.testing.assert_array_equal(other.predict(images, verbose=0)["depth"], expected)


def test_its_card_says_what_was_measured_and_how_it_was_made():
    card = pathlib.Path(packaged_folder("rooms"), "README.md").read_text(encoding="utf-8")
    for word in ("Apache-2.0", "500 rooms", "mean IoU", "seed", "python -m rc_keras.zoo.rooms"):
        assert word in card


@pytest.mark.slow
def test_five_lines_draw_a_prediction(rooms, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.fromarray(rooms["image"][0]).save(tmp_path / "room.png")
    program = FIVE_LINES.format(image=str(tmp_path / "room.png"), out=str(tmp_path / "semseg.png"))
    offline = "import socket\ndef refuse(*args, **kwargs): raise OSError('offline')\nsocket.socket.connect = refuse\n"
    subprocess.run([sys.executable, "-c", offline + program], check=True, capture_output=True, timeout=300)
    drawn = np.asarray(image.open(tmp_path / "semseg.png"))
    truth = rc_keras.from_preset("rooms", tasks=["semseg"]).task("semseg").draw_label(rooms["semseg"][0])
    assert drawn.shape == truth.shape and np.mean(np.all(drawn == truth, axis=-1)) > 0.7
