"""Steps that compute once what all tasks have in common."""

import keras
import numpy as np
import pytest
from support.tiny import TASKS, assert_same_bits, differs, state, tiny_data, tiny_model

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
