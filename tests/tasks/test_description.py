"""What a task says of itself to other programs."""

import rc_keras
from rc_keras.tasks.description import describe


def test_the_unit_is_the_task_s_own():
    tasks = [rc_keras.Task("height", 1, "regression", unit="cm"), rc_keras.Task("far", 1, "depth")]
    assert [describe(task)["output"]["unit"] for task in tasks] == ["cm", "m"]


def test_an_ignored_class_is_told_from_a_label_that_is_no_class():
    ignored = [describe(rc_keras.Task("s", 3, "segmentation", ignore=label))["ignored"] for label in (0, 255)]
    assert [entry["label"] for entry in ignored] == [0, 255] and not any(entry["predicted"] for entry in ignored)
    assert "neither trained nor measured" in ignored[0]["text"] and "not labelled" in ignored[1]["text"]
