"""Labels that no task takes, and tasks that get none, are told once; validation measures what is trained."""

import warnings

import keras
import numpy as np
import pytest
from support.tiny import TASKS, tiny_data, tiny_model

LOSS = 1e-5  # relative, float32


@pytest.fixture
def model():
    model = tiny_model([TASKS[0], TASKS[3]])
    model.compile(optimizer=keras.optimizers.SGD(1e-3))
    return model


def data(**renamed):
    """Images and labels of semseg and depth, under other names."""
    images, labels = tiny_data(4)
    return images, {key: labels[name] for key, name in renamed.items()}


BOTH = {"semseg": "semseg", "depth": "depth"}


def told(act):
    """What is warned of labels and tasks."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return [str(w.message) for w in caught if issubclass(w.category, UserWarning) and "abels" in str(w.message)]


def test_a_misspelt_key_is_told_once(model):
    def fit():
        model.fit(*data(semseg="semseg", dpeth="depth"), epochs=2, verbose=0)

    unknown, missing = told(fit)
    assert "['dpeth']" in unknown and "'depth' for 'dpeth'" in unknown
    assert "['depth']" in missing and "not trained" in missing
    assert told(fit) == []
    assert len(told(lambda: model.fit(*data(semseg="semseg", dept="depth"), verbose=0))) == 1  # another one


def test_what_is_meant_is_not_told(model):
    assert told(lambda: model.fit(*data(**BOTH), validation_data=data(**BOTH), verbose=0)) == []
    model.trainable_tasks = ["depth"]
    assert told(lambda: model.fit(*data(**BOTH), verbose=0)) == []  # labels of a frozen task
    assert told(lambda: model.fit(*data(depth="depth"), verbose=0)) == []
    assert told(lambda: model.evaluate(*data(depth="depth"), verbose=0)) == []


def test_keys_of_validation_and_evaluation(model):
    validation = data(semseg="semseg", dpeth="depth")
    unknown, missing = told(lambda: model.fit(*data(**BOTH), validation_data=validation, verbose=0))
    assert "validation" in unknown and "'depth' for 'dpeth'" in unknown
    assert "validation" in missing and "['depth'], which are trained" in missing
    (unknown,) = told(lambda: model.evaluate(*validation, verbose=0))
    assert "'depth' for 'dpeth'" in unknown


def test_keys_of_a_dataset_are_told_before_it_is_read(model):
    tf = pytest.importorskip("tensorflow")
    read = []

    def generate():
        read.append(1)
        yield data(semseg="semseg", raod="depth")

    images, labels = data(semseg="semseg", raod="depth")
    signature = keras.tree.map_structure(lambda a: tf.TensorSpec(a.shape, a.dtype), (images, labels))
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="raod"):
            model.fit(dataset, verbose=0)
    assert read == []


def test_validation_loss_sums_what_is_trained(model):
    images, labels = data(**BOTH)
    model.trainable_tasks = ["depth"]
    validation = {"validation_data": (images, labels), "verbose": 0}
    history = model.fit(images, labels, **validation).history
    assert {name for name in history if "semseg" in name} == set()
    assert history["val_loss"] == history["val_depth_loss"]
    history = model.fit(images, labels, validation_tasks=["semseg"], **validation).history
    assert {"val_semseg_loss", "val_semseg_mean_iou", "val_depth_loss"} <= set(history)
    assert history["val_loss"] == history["val_depth_loss"]
    logs = model.evaluate(images, labels, return_dict=True, verbose=0)  # all tasks, whatever `fit` measured
    np.testing.assert_allclose(logs["loss"], logs["semseg_loss"] + logs["depth_loss"], rtol=LOSS)
    np.testing.assert_allclose(history["val_semseg_loss"], logs["semseg_loss"], rtol=LOSS)
    logs = model.test_on_batch(images, labels, return_dict=True)
    assert {"semseg_loss", "depth_loss"} <= set(logs)


@pytest.mark.parametrize("method", ["multi_task", "fine_tune"])
def test_validation_loss_with_a_shared_encoder(method):
    model = tiny_model([TASKS[0], TASKS[3]], method=method)
    model.compile(optimizer=keras.optimizers.SGD(1e-3))
    head = model.branch("semseg").get_layer("semseg__decoder_head").kernel
    head.regularizer = keras.regularizers.L2(100.0)
    images, labels = data(**BOTH)
    model.trainable_tasks = ["depth"]
    validation = {"validation_data": (images, labels), "validation_tasks": ["semseg"], "verbose": 0}
    history = model.fit(images, labels, **validation).history
    assert "val_semseg_loss" in history and history["val_loss"] == history["val_depth_loss"]


def test_only_frozen_tasks_can_be_validated(model):
    """Then there is no `val_loss`, rather than one of nothing."""
    images, labels = data(**BOTH)
    model.trainable_tasks = ["depth"]
    frozen = (images, {"semseg": labels["semseg"]})
    with pytest.raises(ValueError, match=r"must hold one of the tasks \['depth'\]"):
        model.fit(images, labels, validation_data=frozen, verbose=0)
    with pytest.warns(UserWarning, match="not validated"):
        history = model.fit(images, labels, validation_data=frozen, validation_tasks=["semseg"], verbose=0).history
    assert "val_semseg_mean_iou" in history and "val_loss" not in history


def test_names_of_validation_tasks_are_checked(model):
    with pytest.raises(ValueError, match="must be a list of task names. Received: validation_tasks='depth'"):
        model.fit(*data(**BOTH), validation_tasks="depth", verbose=0)
    with pytest.raises(ValueError, match="Did you mean 'depth'"):
        model.fit(*data(**BOTH), validation_tasks=["dept"], verbose=0)


def test_evaluate_within_fit_measures_all(model):
    """By a callback, between validations of what is trained; nothing is traced twice."""
    images, labels = data(**BOTH)
    model.trainable_tasks = ["depth"]
    logs, traced = [], []
    loss = model.task("depth").make_loss()

    def count(y_true, y_pred):
        traced.append(1)
        return loss(y_true, y_pred)

    model.compile(optimizer=keras.optimizers.SGD(1e-3), loss={"depth": count})
    evaluate = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: logs.append(model.evaluate(images, labels, verbose=0, return_dict=True))
    )
    history = model.fit(images, labels, epochs=3, validation_data=(images, labels), callbacks=[evaluate], verbose=0)
    assert "val_semseg_loss" not in history.history
    assert len(logs) == 3 and all("semseg_loss" in each for each in logs)
    if keras.backend.backend() == "tensorflow":
        assert len(traced) == 3  # training, validation, evaluation
