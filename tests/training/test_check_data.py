"""`check_data` finds what is wrong in any batch, in all data that `fit` takes."""

import warnings

import keras
import numpy as np
import pytest
from support.tiny import TASKS, tiny_data, tiny_model

import rc_keras

BATCH, BATCHES = 4, 3


def batches(change=None):
    """Three batches of all tasks; `change` is applied to the labels of the last."""
    images, labels = tiny_data(BATCH * BATCHES)
    labels = {name: label.copy() for name, label in labels.items()}
    if change is not None:
        change(images, {name: label[-BATCH:] for name, label in labels.items()})
    parts = [slice(i, i + BATCH) for i in range(0, BATCH * BATCHES, BATCH)]
    return [(images[part], {name: label[part] for name, label in labels.items()}) for part in parts]


def as_dataset(parts):
    tf = pytest.importorskip("tensorflow")
    images = np.concatenate([images for images, _ in parts])
    labels = {name: np.concatenate([labels[name] for _, labels in parts]) for name in parts[0][1]}
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH)


def as_py_dataset(parts):
    class Parts(keras.utils.PyDataset):
        def __len__(self):
            return len(parts)

        def __getitem__(self, index):
            return parts[index]

    return Parts()


def as_loader(parts):
    torch = pytest.importorskip("torch")
    return torch.utils.data.DataLoader(parts, batch_size=None, collate_fn=None)


KINDS = {
    "dataset": as_dataset,
    "py dataset": as_py_dataset,
    "loader": as_loader,
    "generator": lambda parts: (part for part in parts),
    "list": lambda parts: parts,
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_batches_of_all_data(kind):
    def ignore(images, labels):
        labels["semseg"][:, :16] = 255
        labels["depth"][:, :, :8] = 0

    parts = batches(ignore)
    parts[0][1]["depth"][0, 0, 0], parts[0][1]["depth"][0, 1, 1] = 0.5, 9.0
    summary = rc_keras.check_data(KINDS[kind](parts), TASKS)
    assert (summary.batches, summary.images) == (BATCHES, BATCH * BATCHES)
    semseg = np.concatenate([labels["semseg"] for _, labels in parts])
    counts = {i: np.count_nonzero(semseg == i) for i in range(5)}
    assert summary.tasks["semseg"].counts == counts
    assert summary.tasks["semseg"].labelled == semseg.size - BATCH * 16 * 32
    assert summary.tasks["semseg"].ignored == BATCH * 16 * 32
    depth = np.concatenate([labels["depth"] for _, labels in parts])
    assert summary.tasks["depth"].low == depth[depth > 0].min() and summary.tasks["depth"].high == depth.max()
    assert summary.tasks["depth"].ignored == BATCH * 32 * 8
    assert summary.tasks["normals"].labelled == depth.size and summary.tasks["edge"].counts.keys() == {0, 1}
    table = str(summary).splitlines()
    assert table[0] == "3 batches, 12 images"
    assert table[1] == "semseg   3 batches,  83.3% labelled: classes 0, 1, 2, 3, 4"


def at(name, value):
    def change(images, labels):
        labels[name][1, 2, 3] = value

    return change


LATE = {
    "class id": (at("semseg", 5), r"Batch 2: `semseg` labels .* 0 … 4.*Received: values 5 in 1 places"),
    "NaN": (at("depth", np.nan), "Batch 2: `depth` labels .*finite"),
    "infinity": (at("normals", np.inf), "Batch 2: `normals` labels .*finite"),
    "negative": (at("depth", -1.0), "Batch 2: `depth` labels .*metres"),
    "length": (at("normals", 1.5), "Batch 2: `normals` labels .*length 1"),
    "edge": (at("edge", 2), "Batch 2: `edge` labels .*0, 1"),
}


@pytest.mark.parametrize("case", LATE)
def test_what_is_wrong_in_a_late_batch_only(case):
    change, message = LATE[case]
    with pytest.raises(ValueError, match=message):
        rc_keras.check_data(as_py_dataset(batches(change)), TASKS)


def test_images_and_keys():
    parts = batches()
    parts[1] = (parts[1][0][:, :16], parts[1][1])
    with pytest.raises(ValueError, match=r"Batch 1: .*\(4, 16, 32, 3\)"):
        rc_keras.check_data(parts, tiny_model(TASKS))
    parts = batches()
    parts[2] = (parts[2][0], list(parts[2][1].values()))
    with pytest.raises(ValueError, match="Batch 2: Labels must be a dict"):
        rc_keras.check_data(parts, TASKS)
    parts[2] = ({"image": parts[2][0]}, parts[1][1])
    with pytest.raises(ValueError, match="Batch 2: Images must be one array"):
        rc_keras.check_data(parts, TASKS)
    renamed = [(images, {"dpeth": labels["depth"], "edge": labels["edge"]}) for images, labels in batches()]
    with (
        pytest.warns(UserWarning, match="'depth' for 'dpeth'"),
        pytest.raises(ValueError, match=r"none in any batch for \['depth'\]"),
    ):
        rc_keras.check_data(renamed, [TASKS[1], TASKS[3]])


def test_tasks_of_some_batches():
    parts = batches()
    parts[0] = (parts[0][0], {"depth": parts[0][1]["depth"]})
    summary = rc_keras.check_data(parts, [TASKS[3], TASKS[1]])
    assert [summary.tasks[name].batches for name in ("depth", "edge")] == [3, 2]


def test_doubts_of_all_batches_are_told_once():
    """A dark image looks normalized, and an image without edges looks like 255 for edges: alone that means nothing."""

    def doubtful(parts):
        for _, labels in parts:
            labels["edge"][labels["edge"] == 1] = 255
        return [(images / (255.0 + images.max()), {"edge": labels["edge"]}) for images, labels in parts]

    parts = batches()
    with pytest.warns(UserWarning) as caught:
        rc_keras.check_data(doubtful(parts), TASKS[1])
    first, second = (str(warning.message) for warning in caught)
    assert "look normalized already" in first and "divide the labels by 255" in second
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        rc_keras.check_data([*doubtful(batches())[:1], *batches()[1:]], TASKS)


def test_ways_to_name_tasks_and_data():
    images, labels = tiny_data(4)
    for tasks in ("depth", ["depth"], TASKS[3], tiny_model([TASKS[3]])):
        assert list(rc_keras.check_data((images, {"depth": labels["depth"]}), tasks).tasks) == ["depth"]
    with pytest.raises(ValueError, match="Did you mean 'depth'"):
        rc_keras.check_data((images, labels), ["dept"])
    with pytest.raises(ValueError, match="at least one task"):
        rc_keras.check_data((images, labels), [])
    with pytest.raises(ValueError, match="at least one batch"):
        rc_keras.check_data(iter(()), TASKS)


def test_data_must_end():
    endless = as_dataset(batches()).repeat()
    with pytest.raises(ValueError, match="take"):
        rc_keras.check_data(endless, TASKS)
    assert rc_keras.check_data(endless.take(4), TASKS).batches == 4

    class Endless(keras.utils.PyDataset):
        @property
        def num_batches(self):
            return None

    with pytest.raises(ValueError, match="must end"):
        rc_keras.check_data(Endless(), TASKS)
