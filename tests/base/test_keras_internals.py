"""What is used of Keras without a public name is there, takes what we give it, and stands in one file."""

import ast
import functools
import importlib
import inspect
import pkgutil
import textwrap
from pathlib import Path

import keras
import pytest

import rc_keras
from rc_keras.base import keras_internals

HOOKS = {
    "_symbolic_build": ["self", "iterator", "data_batch"],
    "_maybe_symbolic_build": ["self", "iterator", "data_batch"],
    "_get_metrics_result_or_logs": ["self", "logs"],
}
KERAS = Path(inspect.getfile(keras.Model)).parents[1]  # keras/src


@pytest.mark.parametrize("name", HOOKS)
def test_hooks_are_called_as_before(name):
    if name == "_maybe_symbolic_build" and keras.backend.backend() != "tensorflow":
        pytest.skip("a hook of the TensorFlow backend")
    assert list(inspect.signature(getattr(keras.Model, name)).parameters) == HOOKS[name]
    calls = {node.func.attr for node in _nodes(ast.Call, _trainers()) if isinstance(node.func, ast.Attribute)}
    assert name in calls


def test_evaluation_within_fit_is_told():
    keywords = {keyword.arg for node in _nodes(ast.Call, _trainers()) for keyword in node.keywords}
    assert keras_internals.FROM_FIT in keywords


def test_models_answer():
    image = keras.Input((2, 2, 3))
    dense = keras.layers.Dense(1)
    model = keras.Model(image, dense(image))
    assert keras_internals.producer(model.output) is dense
    hooked = keras_internals.HookedModel()
    hooked.list_layers([dense])
    assert hooked.layers == [dense] and hooked.variables == dense.variables
    hooked.compile("sgd", "mse")
    assert isinstance(hooked.loss_tracker, keras.metrics.Mean) and hooked.loss_tracker.name == "loss"


def test_optimizers_answer():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    variables = [keras.Variable([0.0], name=name) for name in ("a", "b")]
    sgd = keras.optimizers.SGD(schedule, weight_decay=0.1)
    sgd.build(variables)
    assert keras_internals.learning_rate(sgd) is schedule
    assert [keras_internals.slot_index(sgd, v) for v in variables] == [0, 1]
    chosen = keras.optimizers.OptimizerMap(sgd, {})
    assert keras_internals.optimizer_choice(keras.optimizers.MultiOptimizer(chosen)) is chosen


def test_exclusions_are_carried_over():
    variables = [keras.Variable([1.0], name=name) for name in ("kernel", "bias", "scale")]
    moved = []
    for carried in (False, True):
        source, target = (keras.optimizers.SGD(0.1, weight_decay=0.5) for _ in range(2))
        source.exclude_from_weight_decay([variables[2]], ["bias"])
        if carried:
            keras_internals.copy_weight_decay_exclusions(source, target)
        for v in variables:
            v.assign([1.0])
        target.apply([keras.ops.zeros((1,))] * 3, variables)
        moved.append([float(v[0]) != 1.0 for v in variables])
    assert moved == [[True, True, True], [True, False, False]]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="replicas of tf.distribute")
def test_gradients_are_summed_where_keras_is_told_not_to():
    assert callable(keras.optimizers.SGD()._all_reduce_sum_gradients)
    called = {n.func.attr for n in _nodes(ast.Call, [KERAS / "backend/tensorflow/optimizer.py"]) if _is_attribute(n)}
    assert "_all_reduce_sum_gradients" in called


def test_no_other_file_uses_private_names_of_keras():
    found = []
    for info in pkgutil.walk_packages(rc_keras.__path__, "rc_keras."):
        source = _source(info)
        if source is None or info.name == keras_internals.__name__:
            continue
        tree = ast.parse(source)
        own = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
        own |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        for node in ast.walk(tree):
            texts = [ast.unparse(node)] if isinstance(node, ast.Attribute) and node.attr not in own else []
            if isinstance(node, ast.Call):  # getattr(x, "_name") and the like
                texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            found += [f"{info.name}: {text}" for text in texts if text.split(".")[-1] in _private_names()]
        found += [f"{info.name} {text}" for text in _overridden(info.name, tree)]
    assert found == []


def _overridden(module, tree):
    """Private names of Keras's base classes that a class of ours defines, or sets on itself, again."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    for node in classes:
        cls = getattr(importlib.import_module(module), node.name)
        bases = [base for base in cls.__mro__ if base.__module__.startswith("keras.src")]
        theirs = {name for base in bases for name in _names_of(inspect.getsource(base))}
        for name in _names_of(ast.unparse(node)) & theirs:
            yield f"{node.name}.{name}"


@functools.cache
def _names_of(source):
    """Private methods of a class, and private attributes that it sets on itself."""
    tree = ast.parse(textwrap.dedent(source))
    methods = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    stored = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    return frozenset(name for name in methods | stored if _is_private(name))


@functools.cache
def _private_names():
    """Private names that Keras's classes and functions define."""
    folders = ("backend/common", "backend/tensorflow", "layers", "models", "ops", "optimizers", "saving", "trainers")
    files = [f for folder in folders for f in (KERAS / folder).rglob("*.py") if not f.name.endswith("_test.py")]
    return frozenset(name for file in files for name in _names_of(file.read_text(encoding="utf-8")))


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")


def _is_attribute(call):
    return isinstance(call.func, ast.Attribute)


def _source(info):
    """The text of a module, `None` where it must not be imported."""
    if info.name.endswith("__main__"):
        return None
    return inspect.getsource(importlib.import_module(info.name))


def _trainers():
    backend = keras.backend.backend()
    return [KERAS / "trainers/trainer.py", KERAS / f"backend/{backend}/trainer.py"]


def _nodes(kind, files):
    return [n for f in files for n in ast.walk(ast.parse(f.read_text(encoding="utf-8"))) if isinstance(n, kind)]
