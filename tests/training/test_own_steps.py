"""A `train_step` of the user's own, as Keras's guides have it."""

import keras
import numpy as np
import pytest
from support.tiny import TASKS, arrays, assert_same_bits, micro_backbone, state, tiny_data, tiny_model

import rc_keras

TOTAL = 1e-5  # relative, float32
WEIGHT = 1e-6  # absolute, float32: gradients of one sum, and of each loss alone
BACKEND = keras.backend.backend()
STEPS = pytest.mark.skipif(BACKEND != "tensorflow", reason="the step of the test is written for TensorFlow")


class Own(rc_keras.MultiTaskModel):
    def train_step(self, data):
        import tensorflow as tf

        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False)
        self.metrics[0].update_state(self.compute_loss(x, y, y_pred, sample_weight, training=False))
        return self.compute_metrics(x, y, y_pred, sample_weight)


def own_and_ours(method="rcm", tasks=(TASKS[0], TASKS[3])):
    ours = tiny_model(tasks, backbone=micro_backbone(), method=method)
    own = Own.from_config(ours.get_config())
    for mine, theirs in zip(own.variables, ours.variables, strict=True):
        mine.assign(theirs)
    return own, ours


def trained(model, optimizer, epochs=2, **kwargs):
    model.compile(optimizer=optimizer)
    images, labels = tiny_data(8)
    labels = {name: labels[name] for name in ("semseg", "depth")}
    history = model.fit(
        images,
        labels,
        batch_size=4,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        validation_data=(images, labels),
        **kwargs,
    )
    return history.history


def assert_same_training(own, ours, optimizer):
    mine, theirs = trained(own, optimizer()), trained(ours, optimizer())
    assert mine.keys() == theirs.keys()
    for name, values in theirs.items():
        np.testing.assert_allclose(mine[name], values, rtol=TOTAL, err_msg=name)
    for task in ours.tasks:
        left, right = state(own.branch(task)), state(ours.branch(task))
        for name in right:
            np.testing.assert_allclose(left[name], right[name], rtol=0, atol=WEIGHT, err_msg=name)


@STEPS
@pytest.mark.parametrize("method", ["rcm", "multi_task"])
def test_a_step_of_ones_own_trains_as_ours(method):
    own, ours = own_and_ours(method)
    assert_same_training(own, ours, lambda: keras.optimizers.SGD(1e-2, momentum=0.9, global_clipnorm=1.0))


@STEPS
def test_loss_scales_are_taken_out_again():
    own, ours = own_and_ours()
    scaled = keras.optimizers.SGD
    assert_same_training(own, ours, lambda: scaled(1e-2, loss_scale_factor=256.0))


@STEPS
def test_frozen_and_unlabelled_tasks_stay():
    own, _ = own_and_ours(tasks=TASKS)
    own.trainable_tasks = ["semseg", "depth", "edge"]
    own.compile(optimizer=keras.optimizers.AdamW(1e-2, weight_decay=0.5))
    before = {name: arrays({v.path: v for v in own.branch(name).trainable_variables}) for name in own.tasks}
    images, labels = tiny_data(4)
    with pytest.warns(UserWarning, match=r"tasks \['edge'\]"):
        own.fit(images, {name: labels[name] for name in ("semseg", "depth", "normals")}, verbose=0)
    for name in ("edge", "normals"):
        assert_same_bits(arrays({v.path: v for v in own.branch(name).trainable_variables}), before[name])
    after = arrays({v.path: v for v in own.branch("depth").trainable_variables})
    assert any(not np.array_equal(after[key], value) for key, value in before["depth"].items())


@STEPS
def test_tasks_that_train_an_encoder_in_turn_are_refused():
    own, _ = own_and_ours("fine_tune")
    with pytest.raises(ValueError, match="must be trained one after the other"):
        trained(own, "sgd", epochs=1)


def test_the_loss_is_the_sum_that_fit_logs():
    model = tiny_model([TASKS[0], TASKS[1]])
    model.branch("semseg").get_layer("semseg__decoder_head").kernel.regularizer = keras.regularizers.L2(0.1)
    model.compile(optimizer="sgd")
    images, labels = tiny_data(4)
    expected = model.evaluate(images, labels, verbose=0, return_dict=True)
    labels = {name: keras.ops.convert_to_tensor(label) for name, label in labels.items()}
    predictions = model(images)
    total = float(model.compute_loss(images, labels, predictions, training=False))
    np.testing.assert_allclose(total, expected["loss"], rtol=TOTAL)
    model.trainable_tasks = ["edge"]
    edge = float(model.compute_loss(y=labels, y_pred=predictions))
    np.testing.assert_allclose(edge, 50 * expected["edge_loss"], rtol=TOTAL)


def test_a_loss_of_ones_own_needs_a_step():
    class Loss(rc_keras.MultiTaskModel):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return 0.0

    model = Loss.from_config(tiny_model([TASKS[3]]).get_config())
    model.compile(optimizer="sgd")
    with pytest.raises(NotImplementedError, match="needs a `train_step` of one's own"):
        model.fit(*tiny_data(4), verbose=0)


def test_images_are_one_array():
    model = tiny_model([TASKS[3]])
    model.compile(optimizer="sgd")
    images, labels = tiny_data(4)
    with pytest.raises(ValueError, match=r"must be one array.*Received: dict with keys \['image'\]"):
        model.fit({"image": images}, labels, verbose=0)
    for several in ([images, images], [images]):
        with pytest.raises(ValueError, match="must be one array.*Received: list"):
            model.predict(several, verbose=0)
        with pytest.raises(ValueError, match="must be one array.*Received: list"):
            model(several)
    with pytest.raises(ValueError, match="must be a list of task names, or None. Received: tasks='depth'"):
        model(images, tasks="depth")


@pytest.mark.parametrize("name", ["model.h5", "model.hdf5", "model.weights.h5", "model", "model.tf"])
def test_only_whole_files_are_saved(tmp_path, name):
    model = tiny_model([TASKS[3]])
    with pytest.raises(ValueError, match=r"must end in `.keras`.*save_weights.*Received"):
        model.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_method_with_swapped_letters_is_found():
    with pytest.raises(ValueError, match="Did you mean 'rcm'"):
        tiny_model([TASKS[3]], method="rmc")
    with pytest.raises(ValueError, match="Did you mean 'depth'"):
        rc_keras.Task.get("dpeth")
