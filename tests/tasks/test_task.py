"""Tasks: what is allowed, what is serialized, what is drawn, and which labels pass."""

import dataclasses
import importlib.util
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from support.folders import ROOT, TESTS, environment
from support.kind_check import valid_labels

from rc_keras import losses, metrics
from rc_keras.tasks import drawing
from rc_keras.tasks.kinds import KINDS
from rc_keras.tasks.labels import find_labelled
from rc_keras.tasks.task import Task, nyud, pascal_context

CHANNELS = {name: kind.channels or 4 for name, kind in KINDS.items()}
SHAPE = (2, 6, 8)
IMAGES = (*SHAPE, 3)


@pytest.fixture(params=KINDS)
def task(request):
    return Task("t", CHANNELS[request.param], request.param)


def make(kind, **arguments):
    return Task("mine", CHANNELS[kind], kind, **arguments)


@keras.saving.register_keras_serializable(package="test_task")
class Offset(keras.losses.Loss):
    """A user's own loss."""

    def __init__(self, by=1.0, name="offset"):
        super().__init__(name=name)
        self.by = by

    def call(self, y_true, y_pred):
        return ops.mean(y_pred - y_true) + self.by

    def get_config(self):
        return {"by": self.by, "name": self.name}


# Names


@pytest.mark.parametrize("name", ["semseg", "human_parts", "a", "T2", "depth-v2", "serves", "vals"])
def test_names_that_serve_as_keys_everywhere(name):
    assert Task(name, 1, "depth").name == name


@pytest.mark.parametrize(
    "name",
    ["", "a__b", "a/b", "serve", "serving_default", "all", "loss", "val", "val_depth", "_a", "a_"]
    + ["2d", "a b", "a.b", "é", "a\n", "..", "Loss", "image", None, 3],
)
def test_names_that_would_collide(name):
    with pytest.raises(ValueError, match="(?s)`name` must be letters.*reserved.*Received: name="):
        Task(name, 1, "depth")


# Arguments


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("edge", {"channels": 2}, "`channels` must be 1 .*kind edge.*channels=2"),
        ("saliency", {"channels": 0}, "`channels` must be 1 .*channels=0"),
        ("depth", {"channels": 3}, "`channels` must be 1 .*channels=3"),
        ("depth", {"channels": True}, "`channels` must be 1 .*channels=True"),
        ("normals", {"channels": 2}, "`channels` must be 3 .*channels=2"),
        ("segmentation", {"channels": 1}, "at least 2.*channels=1"),
        ("classification", {"channels": "10"}, "at least 2.*channels='10'"),
        ("segmentation", {"channels": 21.0}, "at least 2.*channels=21.0"),
        ("depth", {"loss_weight": -1}, "`loss_weight` must be a finite.*loss_weight=-1"),
        ("depth", {"loss_weight": float("nan")}, "`loss_weight` must be a finite.*nan"),
        ("depth", {"loss_weight": float("inf")}, "`loss_weight` must be a finite.*inf"),
        ("depth", {"loss_weight": None}, "`loss_weight` must be a finite.*None"),
        ("segmentation", {"ignore": "void"}, "`ignore` must be an integer.*'void'"),
        ("segmentation", {"ignore": 1.5}, "`ignore` must be an integer.*1.5"),
        ("segmentation", {"channels": 847}, "`ignore` must be given.*255"),
        ("edge", {"ignore": 0}, "`ignore` must not be 0 or 1.*ignore=0"),
        ("saliency", {"ignore": 1}, "`ignore` must not be 0 or 1.*ignore=1"),
        ("depth", {"ignore": 255}, "`ignore` must be 0 for kind depth.*ignore=255"),
        ("normals", {"ignore": 255}, "`ignore` must be 0 for kind normals.*ignore=255"),
        ("depth", {"loss": "mse"}, "`loss` must be a `keras.losses.Loss`.*'mse'"),
        ("depth", {"metrics": ["mse"]}, "`metrics` must be a list.*'mse'"),
        ("depth", {"metrics": metrics.RMSE()}, "`metrics` must be a list"),
        ("depth", {"metrics": [metrics.RMSE(), metrics.RMSE()]}, "different names"),
        ("depth", {"class_names": ["near", "far"]}, "`class_names` must be None but for"),
        ("segmentation", {"class_names": ["a"]}, "`class_names` must be 4 strings"),
        ("segmentation", {"class_names": "abcd"}, "`class_names` must be 4 strings.*'abcd'"),
    ],
)
def test_wrong_arguments(kind, arguments, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        Task(**{"name": "mine", "channels": CHANNELS[kind], "kind": kind, **arguments})


def test_unknown_kind_lists_the_kinds_and_the_nearest():
    with pytest.raises(ValueError, match="(?s)classification.*segmentation.*Did you mean 'normals"):
        Task("a", 3, "normal")


def test_kinds_ignore_by_default(task):
    expected = {"normals": 0, "depth": 0, "classification": -1, "segmentation": 255, "edge": 255, "saliency": 255}
    expected = expected.get(task.kind, task.definition.ignore)
    assert task.ignore == expected
    assert task.make_loss().get_config().get("ignore", expected) == expected


def test_a_task_cannot_be_changed_but_replaced():
    task = make("depth")
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.loss_weight = 2.0
    assert dataclasses.replace(task, loss_weight=2.0).loss_weight == 2.0
    with pytest.raises(ValueError, match="`loss_weight`"):
        dataclasses.replace(task, loss_weight=-2.0)


# Catalogue


def test_pascal_context_is_the_papers():
    weights = {task.name: (task.channels, task.loss_weight) for task in pascal_context()}
    assert weights == {
        "edge": (1, 50),
        "semseg": (21, 1),
        "human_parts": (7, 2),
        "saliency": (1, 5),
        "normals": (3, 10),
    }
    assert all(task.kind == "segmentation" for task in pascal_context() if task.class_names)
    assert Task.get("semseg").class_names[15] == "person"
    assert Task.get("human_parts").class_names[1] == "head"


def test_nyud_keeps_the_papers_head_and_ignores_unlabelled():
    weights = {task.name: (task.channels, task.loss_weight) for task in nyud()}
    assert weights == {"edge": (1, 50), "semseg": (41, 1), "normals": (3, 10), "depth": (1, 1)}
    semseg = nyud()[1]
    assert semseg.ignore == 0 and semseg.class_names[:2] == ("unlabelled", "wall")


def test_get():
    assert Task.get("semseg") == pascal_context()[1]
    assert Task.get("depth") == nyud()[3]
    task = make("edge")
    assert Task.get(task) is task
    with pytest.raises(ValueError, match="(?s)depth.*edge.*human_parts.*Did you mean 'semseg'"):
        Task.get("semsge")
    with pytest.raises(ValueError, match="(?s)human_parts.*Received: task=7"):
        Task.get(7)


# Configuration


def test_config_round_trip(task):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(task)))
    assert config["registered_name"] == "rc_keras>Task"
    again = keras.saving.deserialize_keras_object(config)
    assert again == task and hash(again) == hash(task)
    assert again != dataclasses.replace(task, loss_weight=3)
    assert again != task.name


def test_own_loss_metrics_and_names_survive():
    own = make(
        "segmentation",
        loss_weight=3,
        ignore=-1,
        loss=Offset(by=2.0),
        metrics=[metrics.MeanIoU(4, name="iou"), keras.metrics.MeanSquaredError(name="mse")],
        class_names=["a", "b", "c", "d"],
    )
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(own))))
    assert again == own
    assert again.ignore == -1 and again.class_names == ("a", "b", "c", "d")
    assert isinstance(again.make_loss(), Offset) and again.make_loss().by == 2.0
    assert [metric.name for metric in again.make_metrics()] == ["iou", "mse"]
    assert again != dataclasses.replace(own, loss=Offset(by=3.0))
    assert dataclasses.replace(own, metrics=[]).make_metrics() == []


def test_repr_says_what_matters():
    assert repr(Task.get("semseg")) == ("Task('semseg', channels=21, kind='segmentation', loss_weight=1)")


# Losses and metrics


def test_losses_and_metrics_are_the_kinds_own_and_fresh(task):
    expected = {
        "segmentation": (losses.MaskedCrossentropy, "mean_iou"),
        "edge": (losses.BalancedBinaryCrossentropy, "max_f"),
        "saliency": (losses.MaskedBinaryCrossentropy, "max_iou"),
        "normals": (losses.NormalsL1, "mean_angle"),
        "depth": (losses.DepthL1, "rmse"),
        "classification": (losses.MaskedCrossentropy, "accuracy"),
    }
    if task.kind in expected:
        loss, name = expected[task.kind]
        assert type(task.make_loss()) is loss
        assert [metric.name for metric in task.make_metrics()] == [name]
    assert task.make_loss() is not task.make_loss()
    assert task.make_metrics()[0] is not task.make_metrics()[0]
    own = dataclasses.replace(task, loss=Offset(), metrics=[metrics.RMSE()])
    assert own.make_loss() is not own.loss
    assert own.make_metrics()[0] is not own.metrics[0]


def test_activate(task):
    raw = np.random.default_rng(0).normal(size=(*SHAPE, task.channels)).astype("float32")
    activated = ops.convert_to_numpy(task.activate(ops.convert_to_tensor(raw)))
    if task.kind in ("edge", "saliency"):
        assert np.allclose(activated, 1 / (1 + np.exp(-raw)), atol=1e-6)
    else:
        assert np.array_equal(activated, raw)


# Labels


def labels_of(task):
    rng = np.random.default_rng(0)
    if task.kind == "segmentation":
        return rng.choice([0, 1, 2, 3, 255], SHAPE).astype("uint8")
    if task.kind == "normals":
        n = rng.normal(size=(*SHAPE, 3))
        n /= np.linalg.norm(n, axis=-1, keepdims=True)
        n = np.round((n + 1) * 127.5) / 127.5 - 1  # 8-bit
        n[0, :2] = 0
        return n.astype("float32")
    if task.kind == "depth":
        return np.where(rng.random(SHAPE) < 0.3, 0, rng.uniform(1, 9, SHAPE)).astype("float32")
    if task.kind == "classification":
        return np.array([3, -1])
    if task.kind not in ("edge", "saliency"):
        return valid_labels(task)
    return rng.choice([0, 1, 255], SHAPE).astype("uint8")


def test_right_labels_pass(task):
    labels = labels_of(task)
    task.check_labels(labels, IMAGES)
    task.check_labels(ops.convert_to_tensor(labels), IMAGES)
    if task.definition.label_channels(task) == 1:
        task.check_labels(labels[..., None], IMAGES)
    if task.kind in ("segmentation", "edge", "saliency"):
        task.check_labels(labels.astype("float32"), IMAGES)
    task.check_labels(np.full_like(labels, task.ignore), np.array(IMAGES)) if task.ignore <= 0 else 0


def test_wrong_shapes(task):
    labels = labels_of(task)
    wrong = [labels[:1], np.stack([labels] * 2, axis=-1)]
    if task.kind != "classification":
        wrong += [labels[:, :3], np.swapaxes(labels, 1, 2), labels[0]]
    for case in wrong:
        message = f"(?s)`t` labels.*must be of shape.*Received: shape .{case.shape[0]}, ?"
        with pytest.raises(ValueError, match=message):
            task.check_labels(case, IMAGES)
    with pytest.raises(ValueError, match="`images_shape` must be"):
        task.check_labels(labels, IMAGES[1:])


def spoilt(kind, value, dtype=None):
    labels = labels_of(make(kind))
    labels = labels.astype(dtype or labels.dtype)
    labels[(0,) * labels.ndim] = value
    return labels


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        ("segmentation", spoilt("segmentation", 4), "class ids in 0 … 3, or 255.*values 4 in 1 pl"),
        ("segmentation", spoilt("segmentation", -1, "int32"), "class ids in 0 … 3.*values -1"),
        ("segmentation", spoilt("segmentation", 1.5, "float32"), "whole class ids.*values 1.5"),
        ("segmentation", spoilt("segmentation", np.nan, "float32"), "finite.*1 values of NaN"),
        ("classification", spoilt("classification", 5), "class ids in 0 … 3, or -1.*values 5"),
        ("edge", spoilt("edge", 2), "0, 1, or 255 to be ignored.*values 2"),
        ("saliency", spoilt("saliency", 0.5, "float32"), "0, 1, or 255.*values 0.5"),
        ("normals", spoilt("normals", 0, "uint8"), "floating-point unit vec.*dtype uint8"),
        (
            "normals",
            labels_of(make("normals")) * 0.9,
            "vectors of length 1 within 5 %.*median length 0.9",
        ),
        ("normals", spoilt("normals", 1.2), "vectors of length 1 within 5 %.*components"),
        ("normals", spoilt("normals", np.inf), "finite.*1 values of NaN or infinity"),
        ("depth", spoilt("depth", -0.5), "metres above 0.*values -0.5"),
        ("depth", spoilt("depth", np.nan), "finite.*1 values of NaN"),
        ("depth", spoilt("depth", 1200, "uint16"), "floating-point metres.*dtype uint16"),
        ("depth", np.full(SHAPE, "1.0"), "numbers.*dtype <U3"),
    ],
)
def test_wrong_values(kind, labels, message):
    with pytest.raises(ValueError, match=f"(?s)`mine` labels .{kind}. must be {message}"):
        make(kind).check_labels(labels, IMAGES)


def test_foreground_of_255_is_warned_about():
    labels = np.where(labels_of(make("edge")) == 1, 0, labels_of(make("edge")))
    with pytest.warns(UserWarning, match="`mine` labels hold 255.*divide"):
        make("edge").check_labels(labels, IMAGES)


# Drawing


def one_hot(ids, count):
    return np.eye(count, dtype="float32")[ids]


def test_drawn_classes_have_the_voc_colours():
    task = Task.get("semseg")
    ids = np.array([[0, 1, 2], [15, 20, 7]])
    picture = task.draw(one_hot(ids, 21))
    assert picture.dtype == np.uint8 and picture.shape == (2, 3, 3)
    expected = [[215, 215, 208], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128], [128, 128, 128]]
    assert picture.reshape(-1, 3).tolist() == expected
    assert np.array_equal(task.draw_label(ids.astype("uint8")), picture)
    assert len(np.unique(drawing.class_palette(1 << 16), axis=0)) == 1 << 16
    assert drawing.class_palette(2).mean(axis=1).min() > 40  # nothing is as black as what is not there


def test_ignored_labels_are_marked(task):
    if task.kind == "classification":
        with pytest.raises(ValueError, match="must have a map.*classification"):
            task.draw_label(labels_of(task))
        with pytest.raises(ValueError, match="must have a map.*classification"):
            task.draw(np.zeros((2, 5)))
        return
    labels = labels_of(task)
    ignored = labels == task.ignore
    if task.definition.label_channels(task) > 1:
        ignored = np.all(ignored, axis=-1)
    picture = task.draw_label(labels)
    marked = np.all(picture == drawing.IGNORED_COLOUR, axis=-1)
    assert ignored.any() and np.array_equal(marked, ignored)
    assert np.array_equal(task.draw_label(labels[0])[marked[0]], picture[0][marked[0]])
    if task.definition.label_channels(task) == 1:
        assert np.array_equal(task.draw_label(labels[..., None]), picture)
    with pytest.raises(ValueError, match="A label of task 't' must be of shape.*Received"):
        task.draw_label(np.zeros(5))


def test_drawn_probabilities_are_grey():
    task = make("saliency")
    z = np.array([[-100.0, 0.0, 100.0, np.log(3)]], "float32")[..., None]
    assert task.draw(z)[0].tolist() == [[0] * 3, [128] * 3, [255] * 3, [191] * 3]
    activated = ops.convert_to_numpy(task.activate(z))
    assert np.array_equal(task.draw(activated, activated=True), task.draw(z))


def test_drawn_normals():
    n = np.array([[[0, 0, 1], [1, 0, 0], [0, -1, 0]]], "float32")
    assert make("normals").draw(n)[0].tolist() == [[128, 128, 255], [255, 128, 128], [128, 0, 128]]


def test_drawn_depth_is_bright_when_near():
    task = make("depth")
    metres = np.array([[[2.0], [5.0], [8.0]]], "float32")
    near, middle, far = task.draw(metres)[0]
    assert near.tolist() == [253, 231, 37] and far.tolist() == [68, 1, 84]
    assert near.sum() > middle.sum() > far.sum()
    clipped = task.draw(metres, depth_range=(5.0, 8.0))[0]
    assert clipped[0].tolist() == clipped[1].tolist() == near.tolist()
    metres[0, 0] = np.nan
    assert np.array_equal(task.draw(metres)[0, 0], drawing.IGNORED_COLOUR)
    assert task.draw_label(np.zeros((2, 2))).shape == (2, 2, 3)
    with pytest.raises(ValueError, match="`depth_range` must be .near, far."):
        task.draw(metres, depth_range=(3, 3))
    with pytest.raises(ValueError, match="`depth_range` must be None but for depth"):
        make("edge").draw(metres, depth_range=(1, 3))


def test_drawn_shapes(task):
    if task.kind == "classification":
        return
    raw = np.random.default_rng(0).normal(size=(*SHAPE, task.channels)).astype("float32")
    batch = task.draw(ops.convert_to_tensor(raw))
    assert batch.dtype == np.uint8 and batch.shape == (*SHAPE, 3)
    if not task.definition.colour_scale:  # whose scale is the batch's
        assert np.array_equal(task.draw(raw[0]), batch[0])
    for wrong in (raw[0, 0], np.repeat(raw, 2, axis=-1)):
        with pytest.raises(ValueError, match="A prediction of task 't' must be of shape.*Received"):
            task.draw(wrong)


# Other backends


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="run once, by the default")
@pytest.mark.parametrize(
    ("backend", "names"),
    [
        ("torch", ("tasks/test_task", "losses/test_losses", "metrics/test_metrics")),
        ("jax", ("tasks/test_task", "losses/test_losses", "metrics/test_metrics")),
    ],
)
def test_same_on_other_backends(backend, names):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    files = [str(TESTS / f"{name}.py") for name in names]
    script = (
        "import sys, pytest, rc_keras.tasks.task; "
        "assert 'tensorflow' not in sys.modules, 'rc_keras imported tensorflow'; "
        f"sys.exit(pytest.main(['-q', '-x', '-p', 'no:cacheprovider', *{files!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(KERAS_BACKEND=backend),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_a_normal_along_an_axis_is_a_label():
    normals = np.array([[[0, 0, 1], [0, 0, 0], [-0.6, 0, 0.8]]], "float32")
    assert find_labelled(Task("normals", 3, "normals"), normals).tolist() == [[True, False, True]]
