"""A task's copy of an optimizer takes the steps that Keras's own takes, with all that it was told."""

import keras
import numpy as np
import pytest

from rc_keras.training.per_task_optimizer import PerTaskOptimizer

ROUNDING = 1e-6  # float32, one step


def make_weights():
    return [
        keras.Variable(np.full(3, value, "float32"), name=name) for name, value in {"kernel": 1, "gamma": 2}.items()
    ]


def gradients():
    return [keras.ops.convert_to_tensor(np.array(g, "float32")) for g in ([0.5, -1, 2], [-3, 1, 0.5])]


@pytest.mark.parametrize("by", ["name", "variable"])
def test_exclusions_from_weight_decay_hold(by):
    trained = []
    for wrap in (PerTaskOptimizer, lambda optimizer: optimizer):
        weights = make_weights()
        optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
        excluded = {"name": {"var_names": ["gamma"]}, "variable": {"var_list": weights[:1]}}
        optimizer.exclude_from_weight_decay(**excluded[by])
        wrapped = wrap(optimizer)
        for _ in range(2):
            if wrapped is optimizer:
                wrapped.apply(gradients(), weights)
            else:
                wrapped.apply_task("depth", gradients(), weights)
        trained.append([keras.ops.convert_to_numpy(weight) for weight in weights])
    np.testing.assert_array_equal(*trained)


def test_a_loss_scale_grows_as_the_user_said_for_each_task():
    inner = keras.optimizers.SGD(0.1)
    optimizer = PerTaskOptimizer(keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0, dynamic_growth_steps=2))
    weights = {task: make_weights() for task in ("depth", "height")}
    scales = []
    for _ in range(3):
        scales.append([float(optimizer.of(task, weights[task]).scale_loss(1.0)) for task in weights])
        optimizer.apply_task("depth", gradients(), weights["depth"])
    assert scales == [[8.0, 8.0], [8.0, 8.0], [16.0, 8.0]]


def test_several_optimizers_keep_their_loss_scale():
    chosen = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), {"kernel": keras.optimizers.SGD(0.01)})
    optimizer = PerTaskOptimizer(keras.optimizers.MultiOptimizer(chosen, loss_scale_factor=4.0))
    weights = make_weights()
    assert float(optimizer.of("depth", weights).scale_loss(1.0)) == 4.0
    optimizer.apply_task("depth", gradients(), weights)
    kernel, gamma = (keras.ops.convert_to_numpy(weight) for weight in weights)
    np.testing.assert_allclose(kernel, 1 - 0.01 / 4 * np.array([0.5, -1, 2]), rtol=ROUNDING)
    np.testing.assert_allclose(gamma, 2 - 0.1 / 4 * np.array([-3, 1, 0.5]), rtol=ROUNDING)


def test_a_forgotten_task_starts_anew():
    store = {}
    optimizer = PerTaskOptimizer(keras.optimizers.SGD(0.1, momentum=0.9))
    optimizer.apply_task("depth", gradients(), make_weights())
    optimizer.save_own_variables(store)
    loaded = PerTaskOptimizer(keras.optimizers.SGD(0.1, momentum=0.9))
    loaded.load_own_variables(store)
    for each in (optimizer, loaded):  # with a state, and with one that only waits for its first step
        each.forget("depth")
        assert each.tasks == []
        assert int(each.of("depth", make_weights()).iterations) == 0
