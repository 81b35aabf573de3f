"""Kinds of tasks: ours keep the contract, and one of a user's own does all that ours do."""

import inspect
import pathlib

import keras
import numpy as np
import pytest
from keras import ops
from support.kind_check import check_kind
from support.tiny import arrays, assert_same_bits, tiny_data, tiny_model

import rc_keras
from rc_keras.tasks import kinds

# A user's own kind, as a user would write it


class HeatmapLoss(rc_keras.losses.MaskedLoss):
    """Mean squared error."""

    def pixel_loss(self, y_true, y_pred):
        return ops.mean(ops.square(ops.sigmoid(y_pred) - y_true), axis=-1), ops.any(y_true != -1.0, axis=-1)


class HeatmapError(rc_keras.metrics.MaskedMetric):
    """Mean absolute error."""

    def __init__(self, name="error"):
        super().__init__(name=name)
        self.total, self.count = (self.add_variable((), "zeros", name=name) for name in ("total", "count"))

    def update_pixels(self, y_true, y_pred, kept):
        valid = ops.any(y_true != -1.0, axis=-1) & kept
        error = ops.mean(ops.abs(ops.sigmoid(y_pred) - y_true), axis=-1)
        self.total.assign_add(ops.sum(ops.where(valid, error, 0.0)))
        self.count.assign_add(ops.sum(ops.cast(valid, "float32")))

    def result(self):
        return self.total / self.count


class Keypoints(kinds.Kind):
    """One heat map for each keypoint, in 0..1."""

    name, values, ignore = "keypoints", "probabilities", -1
    channels = None
    interpolation = "bilinear"

    def make_loss(self, task):
        return HeatmapLoss()

    def make_metrics(self, task):
        return [HeatmapError()]

    def activate(self, raw):
        return ops.sigmoid(raw)

    def deactivate(self, activated):
        return np.log(activated / (1 - activated))

    def draw(self, task, prediction, activated, value_range):
        return super().draw(task, prediction if activated else 1 / (1 + np.exp(-prediction)), True, value_range)


@pytest.fixture
def keypoints():
    kinds.register(Keypoints())
    yield rc_keras.Task("joints", 4, "keypoints")
    del kinds.KINDS["keypoints"]


def test_own_kind_keeps_the_contract(keypoints):
    check_kind(keypoints.definition)


def test_own_kind_is_trained_drawn_saved_and_loaded(keypoints, tmp_path):
    model = tiny_model([keypoints, "depth"])
    images, labels = tiny_data(4)
    joints = np.random.default_rng(0).uniform(size=(*images.shape[:3], 4)).astype("float32")
    joints[:, :3] = -1
    data = {"joints": joints, "depth": labels["depth"]}
    summary = rc_keras.check_data((images, data), model)
    assert summary.tasks["joints"].ignored == 4 * 3 * images.shape[2]
    model.compile(optimizer="sgd")
    before = arrays({w.path: w for w in model.branch("joints").trainable_weights})
    logs = model.fit(images, data, batch_size=4, verbose=0).history
    assert np.isfinite(logs["joints_loss"]).all() and np.isfinite(logs["joints_error"]).all()
    after = arrays({w.path: w for w in model.branch("joints").trainable_weights})
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    raw = ops.convert_to_numpy(model(images)["joints"])
    assert raw.shape == joints.shape
    assert keypoints.draw(raw).shape == keypoints.draw_label(joints).shape == images.shape
    model.save(tmp_path / "m.keras")
    model.save_task("joints", tmp_path / "joints.rctask")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert loaded.task("joints") == keypoints
    assert_same_bits(arrays(loaded(images)), arrays(model(images)))
    loaded.remove_task("joints")
    loaded.load_task(tmp_path / "joints.rctask")
    assert_same_bits(arrays(loaded(images)), arrays(model(images)))


def test_wrong_tasks_of_an_own_kind(keypoints):
    with pytest.raises(ValueError, match="`channels` must be at least 1 for a task of kind keypoints"):
        rc_keras.Task("joints", 0, "keypoints")
    assert rc_keras.Task("joints", 1, "keypoints", ignore=0).ignore == 0
    with pytest.raises(ValueError, match=r"must be of shape \(1, 2, 3, 4\).*Received: shape \(1, 2, 3\)"):
        keypoints.check_labels(np.zeros((1, 2, 3), "float32"), (1, 2, 3, 3))
    with pytest.raises(ValueError, match="must be floating-point probabilities.*uint8"):
        keypoints.check_labels(np.zeros((1, 2, 3, 4), "uint8"), (1, 2, 3, 3))


def test_a_file_with_a_kind_that_is_not_registered_says_so(keypoints, tmp_path):
    config = keypoints.get_config()
    del kinds.KINDS["keypoints"]
    with pytest.raises(ValueError, match="(?s)kind='keypoints'.*rc_keras.tasks.kinds.register"):
        rc_keras.Task.from_config(config)
    kinds.register(Keypoints())


# The registry


@pytest.mark.parametrize("name", kinds.KINDS)
def test_kinds_keep_the_contract(name):
    kind = kinds.KINDS[name]
    assert kind.name == name
    assert pathlib.Path(inspect.getfile(type(kind))).stem == name, "one kind a file, named for it"
    check_kind(kind)


def test_levels_order_the_kinds():
    listed = ["edge", "normals", "depth", "saliency", "segmentation", "classification"]
    assert sorted(listed, key=lambda name: kinds.KINDS[name].level) == listed


def test_an_own_kind_registered_again_replaces_the_first(keypoints):
    again = Keypoints()
    kinds.register(again)
    assert keypoints.definition is again


def test_names_are_not_taken_twice(keypoints):
    class Other(Keypoints):
        pass

    class Fake(Keypoints):
        name = "depth"

    for kind, owner in ((Other(), "Keypoints"), (Fake(), "Depth"), (type(kinds.get("depth"))(), "Depth")):
        with pytest.raises(ValueError, match=f"must not be taken. Received: '{kind.name}', taken by .*{owner}"):
            kinds.register(kind)


def test_what_cannot_be_registered():
    class Nameless(Keypoints):
        name = property()

    for kind in (Keypoints, "keypoints", None):
        with pytest.raises(ValueError, match="`kind` must be an instance of a subclass of `Kind`"):
            kinds.register(kind)
    with pytest.raises(ValueError, match=r"must have the attributes.*Received: none of \['name'\]"):
        kinds.register(Nameless())
    with pytest.raises(TypeError, match="abstract"):
        kinds.Kind()


@pytest.mark.parametrize(
    "attributes",
    [{"unit_length": True}, {"zero_is_unlabelled": True}, {"unit_length": True, "zero_is_unlabelled": True}],
)
def test_attributes_that_contradict_each_other_are_refused(attributes):
    contradictory = type("Contradictory", (Keypoints,), {"name": "contradictory", "ignore": -1, **attributes})
    with pytest.raises(ValueError, match="`ignore = 0` with `zero_is_unlabelled`.*ignore=-1 of 'contradictory'"):
        kinds.register(contradictory())
    assert "contradictory" not in kinds.KINDS
