"""The state of each task's optimizer: saved by role and index, and taken up again to the last bit."""

import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from support import optimizer_cases
from support.folders import environment
from support.optimizer_cases import CLASSES, OPTIONS
from support.small import small_data, small_model
from support.tiny import arrays, assert_same_bits

from rc_keras.training.optimizer_copies import leaves
from rc_keras.training.optimizer_slots import named_slots
from rc_keras.training.per_task_optimizer import PerTaskOptimizer

WRITTEN_FIRST = Path(__file__).parent / "optimizer_states"
# A loss scale wraps no choice of optimizers: the choice has no learning rate that it could read.
CASES = [(n, o) for n in CLASSES for o in OPTIONS if (n, o) != ("MultiOptimizer", "dynamically scaled")]
QUICK = [case for case in CASES if "Nadam" in case or "plain" in case]


def steps(optimizer, weights, tasks, seed):
    """Three steps of some tasks with random gradients."""
    generator = np.random.default_rng(seed)
    for _ in range(3):
        for task in tasks:
            gradients = [generator.normal(size=v.shape).astype("float32") for v in weights[task]]
            optimizer.apply_task(task, [keras.ops.convert_to_tensor(g) for g in gradients], weights[task])


def make_weights():
    generator = np.random.default_rng(0)
    shapes = {"kernel": (3, 2), "gamma": (2,), "kernel_scale": ()}
    return {
        task: [
            keras.Variable(generator.normal(size=shape), dtype="float32", name=name) for name, shape in shapes.items()
        ]
        for task in ("depth", "height")
    }


@pytest.mark.parametrize(
    "name, option", [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES]
)
def test_states_are_taken_up_again(name, option):
    weights, again = make_weights(), make_weights()
    optimizer = PerTaskOptimizer(optimizer_cases.make(name, option))
    steps(optimizer, weights, ["depth", "height"], seed=1)
    store = {}
    optimizer.save_own_variables(store)
    resumed = PerTaskOptimizer(optimizer_cases.make(name, option))  # Keras's automatic names have gone on
    resumed.load_own_variables(store)
    unused = {}
    resumed.save_own_variables(unused)  # a state that no step has used yet is not lost
    assert_same_bits(unused, store)
    for task in weights:
        for variable, value in zip(again[task], weights[task], strict=True):
            variable.assign(value)
    before = arrays(dict(enumerate(again["height"])))
    for each, own in ((optimizer, weights), (resumed, again)):
        steps(each, own, ["depth"], seed=2)
    for task in weights:
        assert_same_bits(arrays(dict(enumerate(again[task]))), arrays(dict(enumerate(weights[task]))))
    assert_same_bits(arrays(dict(enumerate(again["height"]))), before)
    stores = {}, {}
    optimizer.save_own_variables(stores[0])
    resumed.save_own_variables(stores[1])
    assert_same_bits(*stores)


def test_an_interrupted_run_goes_on(tmp_path):
    model = optimizer_cases.half_way("Nadam", "averaged")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        optimizer_cases.fit(each, ["depth"], steps=2)
    assert_same_bits(optimizer_cases.weights(loaded), optimizer_cases.weights(model))


@pytest.mark.slow
def test_interrupted_runs_go_on_in_a_fresh_process(tmp_path):
    uninterrupted = {}
    for i, (name, option) in enumerate(CASES):
        model = optimizer_cases.half_way(name, option)
        model.save(tmp_path / f"{i}.keras")
        optimizer_cases.fit(model, ["depth"], steps=2)
        uninterrupted[i] = optimizer_cases.weights(model)
    command = [sys.executable, optimizer_cases.__file__, str(tmp_path)]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    for i, case in enumerate(CASES):
        with np.load(tmp_path / f"{i}.npz") as weights:
            assert weights.files, case
            assert_same_bits(dict(weights), uninterrupted[i])


def test_names_hold_no_name_of_a_weight():
    weights = make_weights()
    optimizer = PerTaskOptimizer(optimizer_cases.make("Nadam", "averaged"))
    steps(optimizer, weights, ["depth"], seed=1)
    store = {}
    optimizer.save_own_variables(store)
    slots = [f"{role}:{i}" for role in ("average", "momentum", "velocity") for i in range(3)]
    assert set(store) == {":learning_rate", *(f"depth:{name}" for name in ("iteration:0", *slots, "variable:0"))}
    order = list(store)
    assert order.index("depth:momentum:1") < order.index("depth:momentum:2")
    np.testing.assert_array_equal(store["depth:momentum:2"].shape, weights["depth"][2].shape)


def test_roles_do_not_depend_on_paths():
    class Variable:  # what is read of a variable
        def __init__(self, name, path=None):
            self.name, self.path = name, path

    weights = [Variable("kernel", "block/dense_3/kernel"), Variable("kernel", "block/dense_3/kernel_g")]
    slots = [Variable(name) for name in ("block_dense_3_kernel_g_m1", "block_dense_3_kernel_m1", "nnx_variable_7", "m")]
    assert list(named_slots(slots, weights)) == ["m1:0", "m1:1", "nnx_variable:0", "m:0"]


@pytest.mark.parametrize("name", ["nadam", "adam_with_loss_scale"])
def test_states_under_names_of_variables_are_read(name):
    """Files that were written when the keys were `<task>:<position>:<name of the variable>`."""
    optimizers = {
        "nadam": keras.optimizers.Nadam(0.1, use_ema=True),
        "adam_with_loss_scale": keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
    }
    model = small_model()
    model.compile(optimizers[name], run_eagerly=True)
    model.load_weights(WRITTEN_FIRST / f"{name}.weights.h5")
    assert float(model.optimizer.learning_rate) == np.float32(0.02)
    for task, iterations in (("depth", 3), ("height", 2)):
        state = model.optimizer.of(task, model.branch(task).trainable_variables)
        assert int(state.iterations) == iterations
        with h5py.File(WRITTEN_FIRST / f"{name}.weights.h5") as file:
            written = {
                key.split(":")[2]: np.array(value) for key, value in file["optimizer/vars"].items() if task in key
            }
        slots = {v.name: v for v in state.variables if v.name != "learning_rate"}
        product = [key for key in written if key.startswith("variable")]
        for key in product:
            slots[key] = next(v for v in state.variables if v.name.startswith("variable"))
        assert len(product) == (name == "nadam")
        for key in written.keys() - {"iteration", "learning_rate"}:
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(slots[key]), written[key], err_msg=key)
    images, labels = small_data()
    model.fit(images, labels, batch_size=4, verbose=0)


def test_slots_of_another_optimizer_are_refused():
    images, labels = small_data()
    model = small_model()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), run_eagerly=True)
    model.fit(images, labels, batch_size=4, verbose=0)
    store = {}
    model.optimizer.save_own_variables(store)
    other = PerTaskOptimizer(keras.optimizers.RMSprop(0.1))
    other.load_own_variables(store)
    with pytest.raises(ValueError, match="missing: velocity:0"):
        other.of("depth", model.branch("depth").trainable_variables)


@pytest.mark.parametrize("name", ["SGD", "MultiOptimizer"])
def test_learning_rates_in_common_are_saved(name):
    optimizer, resumed = (PerTaskOptimizer(optimizer_cases.make(name, "plain")) for _ in range(2))
    steps(optimizer, make_weights(), ["depth", "height"], seed=1)
    for rate, each in enumerate(leaves(optimizer.prototype), 1):
        each.learning_rate = float(rate)
    store = {}
    optimizer.save_own_variables(store)
    resumed.load_own_variables(store)
    expected = [1.0, 2.0, 3.0] if name == "MultiOptimizer" else [1.0]
    assert [float(each.learning_rate) for each in leaves(resumed.prototype)] == expected
