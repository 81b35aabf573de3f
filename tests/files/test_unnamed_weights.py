"""Weights that a layer gives no name: Keras numbers them on through all models, files do not."""

import keras
import numpy as np
from support.tiny import TASKS, assert_same_bits, micro_backbone, state, tiny_model

from rc_keras.files.named_weights import assign_named, named_arrays, named_variables


@keras.saving.register_keras_serializable(package="tests")
class Unnamed(keras.layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")
        self.offset = self.add_weight(shape=(shape[-1],), initializer="zeros")
        self.variable_kind = self.add_weight(shape=(2,), name="variable_kind")

    def call(self, x):
        return self.scale * x + self.offset


def network():
    plain = micro_backbone()
    output = {name: Unnamed(name=f"{name}_unnamed")(tensor) for name, tensor in plain.output.items()}
    return keras.Model(plain.inputs[0], output, name="unnamed")


def test_names_are_those_of_any_other_session():
    first, second = named_variables(network().layers), named_variables(network().layers)
    assert list(first) == list(second)
    assert {"low_level_unnamed/variable", "low_level_unnamed/variable_1", "low_level_unnamed/variable_kind"} <= {*first}


def test_older_files_have_the_numbers_of_keras():
    made = network()
    expected = named_arrays(made.layers)
    older = {}
    for layer in made.layers:
        older |= {f"{layer.name}/{v.name}": np.array(v) for v in layer.variables}
    assert "low_level_unnamed/variable" not in older or "high_level_unnamed/variable" not in older
    anew = network()
    for variable in anew.variables:
        variable.assign(np.full(variable.shape, 7.0))
    assign_named(named_variables(anew.layers), older, "an older file")
    assert_same_bits(named_arrays(anew.layers), expected)


def test_a_task_travels(tmp_path):
    model = tiny_model(TASKS[:2], backbone=network())
    for weight in model.branch("edge").get_layer("edge__high_level_unnamed").weights:
        weight.assign(np.arange(float(weight.shape[0])))
    model.save_task("edge", tmp_path / "edge.rctask")
    other = tiny_model(TASKS[:1], backbone=network())
    other.load_task(tmp_path / "edge.rctask")
    assert_same_bits(state(other.branch("edge")), state(model.branch("edge")))
