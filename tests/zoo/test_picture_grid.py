"""Sheets of pictures say what their colours mean."""

import numpy as np
import pytest
from PIL import Image

from rc_keras import Task
from rc_keras.tasks import drawing
from rc_keras.zoo.evaluation.results import Results
from rc_keras.zoo.picture_grid import write_grid

NAMES = [f"class {number}" for number in range(12)]
SEGMENTATION = Task("semseg", len(NAMES), "segmentation", class_names=NAMES)
TASKS = [SEGMENTATION, Task("depth", 1, "depth"), Task("normals", 3, "normals"), Task("saliency", 1, "saliency")]


def colours_of(pixels):
    return set(map(tuple, pixels.reshape(-1, 3).tolist()))


def test_pictures_stay_and_every_colour_is_told(tmp_path):
    rows = [[np.full((20, 90, 3), 10 * column + row, "uint8") for column in range(3)] for row in range(2)]
    titles = ["image", "label", "prediction"]
    write_grid(tmp_path / "plain.png", titles, rows)
    legends = {task.name: task.definition.legend(task, (0.0, 7.0)) for task in TASKS}
    write_grid(tmp_path / "told.png", titles, rows, legends)
    plain, told = (np.asarray(Image.open(tmp_path / name)) for name in ("plain.png", "told.png"))
    np.testing.assert_array_equal(told[: len(plain), : plain.shape[1]], plain)
    below = told[len(plain) :]
    classes = set(map(tuple, drawing.class_palette(len(NAMES)).tolist()))
    ends = {tuple(drawing.DEPTH_COLOURS[0].tolist()), tuple(drawing.DEPTH_COLOURS[-1].tolist())}
    assert classes | ends | {tuple(drawing.IGNORED_COLOUR.tolist())} <= colours_of(below)
    assert np.all(below[:, -1] == 255), "words run out of the sheet"


def test_a_narrow_sheet_breaks_lines(tmp_path):
    legend = {"semseg": SEGMENTATION.definition.legend(SEGMENTATION, (0.0, 1.0))}
    sizes = []
    for width in (120, 1200):
        write_grid(tmp_path / "sheet.png", ["image"], [[np.zeros((8, width, 3), "uint8")]], legend)
        sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
        classes = set(map(tuple, drawing.class_palette(len(NAMES)).tolist()))
        assert classes <= colours_of(sheet)
        sizes.append(sheet.shape[0])
    assert sizes[0] > sizes[1]


def test_results_list_classes_from_best_to_worst():
    classes = {"semseg": {"wall": 0.25, "floor": 0.5, "lamp": 0.0}}
    table = Results({"semseg": {"mean_iou": 0.25}}, classes, 8, "validation", {}).to_markdown()
    assert table.endswith(
        "| semseg | IoU ↑ |\n| --- | ---: |\n| floor | 50.0 % |\n| wall | 25.0 % |\n| lamp | 0.0 % |\n"
    )
    assert "IoU ↑ |\n" not in Results({"depth": {"rmse": 0.25}}, {}, 8, "validation", {}).to_markdown()


def test_ends_of_a_scale_are_told_in_its_unit():
    height = Task("height", 1, "regression", unit="cm")
    for task, text in ((height, r"\(low, high\), low < high in cm"), (TASKS[1], r"\(near, far\) in metres")):
        with pytest.raises(ValueError, match=text):
            task.draw(np.zeros((2, 2, 1)), depth_range=(3, 3))
