"""Steps that compute once what all tasks have in common."""

import keras
import numpy as np
import pytest
from support.tiny import TASKS, assert_same_bits, differs, state, tiny_data, tiny_decoder, tiny_model

import rc_keras
from rc_keras.layers import BankConv2D, Frozen

STEM = "stem_relu"
STAGES = [0, STEM, "low_relu"]  # the last: low-level features are common too
SAME_STEP = 1e-6


def trained(model, tasks, run_eagerly=False):
    images, labels = tiny_data(8)
    model.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.01), run_eagerly=run_eagerly)
    model.fit(images, {name: labels[name] for name in tasks}, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("stages", STAGES)
def test_separate_is_joint_and_no_bit_of_the_common_part_moves(stages):
    names = [task.name for task in TASKS[:2]]
    joint = tiny_model(TASKS[:2], shared_stages=stages)
    before = {name: state(joint.branch(name)) for name in names}
    trained(joint, names)
    shared = {f"{layer.name}/{w.name}" for layer in joint.bank.frozen_layers for w in layer.weights}
    assert len(shared) == {0: 0, STEM: 5, "low_relu": 10}[stages]
    for task in TASKS[:2]:
        alone = trained(tiny_model([task], shared_stages=stages), [task.name])
        assert_same_bits(state(alone.branch(task.name)), state(joint.branch(task.name)))
        moved = set(differs(before[task.name], state(joint.branch(task.name))))
        assert len(moved) > 10 and not moved & shared


@pytest.mark.parametrize("stages", STAGES[1:])
def test_zero_interference(stages):
    model = trained(tiny_model(TASKS[:2], shared_stages=stages), ["edge"])
    before, answers = state(model.branch("edge")), model.predict(tiny_data(4)[0], verbose=0)["edge"]
    model.add_task(TASKS[3])
    trained(model, ["depth"])
    assert_same_bits(before, state(model.branch("edge")))
    np.testing.assert_array_equal(answers, model.predict(tiny_data(4)[0], verbose=0)["edge"])


@pytest.mark.parametrize("stages", STAGES)
def test_once_a_batch(stages, monkeypatch):
    model = tiny_model(TASKS[:3], shared_stages=stages)
    calls = []
    for kind in (BankConv2D, Frozen):
        call = kind.call

        def counted(self, *args, call=call, **kwargs):
            calls.append(self.name)
            return call(self, *args, **kwargs)

        monkeypatch.setattr(kind, "call", counted)
    images, labels = tiny_data(4)
    labels = {name: labels[name] for name in model.tasks}
    model.compile(optimizer="sgd", run_eagerly=True)
    calls.clear()
    model.train_on_batch(images, labels)
    assert calls.count("stem_conv") == 1 and calls.count("high_conv") == (1 if stages == "low_relu" else 3)
    calls.clear()
    model.test_on_batch(images, labels)
    assert calls.count("stem_conv") == 1


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="gradients are taken by tf.GradientTape")
@pytest.mark.parametrize("stages", STAGES)
def test_a_step_is_that_of_the_whole_branch(stages):
    import tensorflow as tf

    model, oracle = (tiny_model(TASKS[:2], shared_stages=stages) for _ in range(2))
    images, labels = tiny_data(4)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    model.train_on_batch(images, {name: labels[name] for name in model.tasks})
    for name in oracle.tasks:
        branch, task = oracle.branch(name), oracle.task(name)
        with tf.GradientTape() as tape:
            loss = task.make_loss()(labels[name], branch(images, training=True)) * task.loss_weight
        variables = branch.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign(variable - 0.1 * gradient)
        expected = state(branch)
        for key, value in state(model.branch(name)).items():
            np.testing.assert_allclose(value, expected[key], rtol=1e-5, atol=SAME_STEP, err_msg=key)


class Flip(keras.layers.Layer):
    def call(self, x):
        return keras.ops.flip(x, axis=2)


SECOND = {  # what the stem is called on again
    "flip": (Flip, ["stem", "stem_1"]),
    "operation": (lambda: lambda x: 255.0 - x, ["stem", "stem_1"]),
    "norm": (keras.layers.BatchNormalization, []),  # of each task's own, so that the stem is too
}


def stem_twice(kind, depth):
    """A network whose stem is called on the image and on another; `depth` makes Keras walk through it otherwise."""
    layers = keras.layers
    image = keras.Input((64, 64, 3))
    stem = layers.Conv2D(16, 3, strides=4, padding="same", name="stem")
    low, high = stem(image), stem(SECOND[kind][0]()(image))
    for _ in range(depth):
        low = layers.ReLU()(low)
    high = layers.Conv2D(16, 3, strides=4, padding="same", name="last")(high)
    return keras.Model(image, {"low_level": low, "high_level": high})


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("kind", SECOND)
def test_a_layer_that_is_called_twice(kind, depth):
    model = rc_keras.build(["edge", "depth"], stem_twice(kind, depth), decoder=tiny_decoder(), image_shape=(64, 64, 3))
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    together = model.predict(images, verbose=0)
    for task in model.tasks:
        alone = model.predict(images, tasks=[task], verbose=0)[task]
        np.testing.assert_allclose(together[task], alone, rtol=0, atol=SAME_STEP * np.ptp(alone))
    common = model.bank.common_part
    assert sorted(common.output if common else []) == SECOND[kind][1]
    model.compile("sgd")
    model.train_on_batch(images, {name: np.ones((2, 64, 64, 1), "float32") for name in model.tasks})


def test_operations_before_a_shared_stage_are_common_too():
    image = keras.Input((64, 64, 3))
    low = keras.layers.Conv2D(16, 3, strides=4, padding="same", name="stem")(image[..., ::-1] / 255.0)
    high = keras.layers.Conv2D(16, 3, strides=4, padding="same", name="last")(keras.layers.ReLU()(low))
    network = keras.Model(image, {"low_level": low, "high_level": high})
    model = rc_keras.build(["edge", "depth"], network, decoder=tiny_decoder(), image_shape=(64, 64, 3))
    assert "stem" in model.own_part("depth").input
