"""A method is one layer and one entry: what `Adapter` promises holds for every entry, and suffices for a new one."""

import keras
import numpy as np
import pytest
from support.tiny import TASKS, arrays, assert_same_bits, state, tiny_data, tiny_model

from rc_keras.layers import Adapter
from rc_keras.methods import METHODS, Method, get_method

ROUNDING = 1e-5  # of the largest response: float32 against float64
C_IN, C_OUT = 6, 8
WITH_ADAPTER = [name for name, method in METHODS.items() if method.adapter is not None]


@keras.saving.register_keras_serializable(package="tests")
class NeighbourMixing(Adapter):
    """Adds to each channel a multiple of the one before it: `y_c = z_c + w_c z_(c - 1)`."""

    suffix = "neighbour_mixing"

    def build(self, input_shape):
        self.factor = self.add_weight(name="factor", shape=(input_shape[-1],), initializer="zeros")

    def call(self, inputs):
        return inputs + keras.ops.roll(inputs, 1, axis=-1) * keras.ops.cast(self.factor, inputs.dtype)

    def get_config(self):
        return super().get_config()

    def size(self, c_in, c_out):
        return c_out

    def macs(self, positions):
        return positions * self.factor.shape[0]

    def linear_map(self):
        factor = keras.ops.convert_to_numpy(self.factor).astype("float64")
        identity = np.eye(len(factor))
        return identity + np.roll(identity, 1, axis=1) * factor, np.zeros(())


@pytest.fixture
def method(monkeypatch):
    monkeypatch.setitem(METHODS, "neighbour_mixing", Method("neighbour_mixing", NeighbourMixing))
    return "neighbour_mixing"


def test_a_new_method_trains_and_is_counted_and_saved(method, tmp_path):
    model = tiny_model(TASKS[:2], method=method)
    assert len(model.bank.convolutions) == 4  # it adds 12 to the 96 of the 1x1 convolution
    assert model.parameter_report().tasks["edge"].modulators == 8 + 8 + 12 + 12
    assert model.mac_report().tasks["edge"].modulators == 64 * (8 + 8 + 12 + 12)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    images, labels = tiny_data(4)
    before = state(model.branch("edge"))
    model.fit(images, {name: labels[name] for name in model.tasks}, verbose=0)
    trained = state(model.branch("edge"))
    factor = "low_conv_neighbour_mixing/factor"
    assert not np.any(before[factor]) and np.all(trained[factor])
    model.save_task("edge", tmp_path / "edge.rctask")
    model.save(tmp_path / "model.keras")
    assert_same_bits(state(keras.saving.load_model(tmp_path / "model.keras").branch("edge")), trained)
    model.remove_task("edge")
    model.load_task(tmp_path / "edge.rctask")
    assert_same_bits(state(model.branch("edge")), trained)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
def test_a_new_method_folds_and_is_exported(method, tmp_path):
    pytest.importorskip("ai_edge_litert")
    from support.trained import pretend_training

    from rc_keras.export.folding.fold import fold

    model = pretend_training(tiny_model(TASKS[:1], method=method))
    branch = model.branch("semseg")
    images = tiny_data(2)[0].astype("float32")
    expected = np.asarray(branch(images))
    for merged in (False, True):
        folded = fold(branch, {}, merged=merged)
        assert not any(isinstance(layer, Adapter) for layer in folded.layers)
        np.testing.assert_allclose(folded(images), expected, rtol=0, atol=ROUNDING * np.abs(expected).max())
    report = model.export(tmp_path / "model.tflite", verbose=False)
    assert report.passed and report.bank_kernels_stored_once == 4


def test_what_an_adapter_lacks_is_named(monkeypatch):
    class Nameless(Adapter):
        suffix = "nameless"

    monkeypatch.setitem(METHODS, "nameless", Method("nameless", Nameless))
    with pytest.raises(NotImplementedError, match="Nameless must have `size`"):
        tiny_model(TASKS[:1], method="nameless")
    monkeypatch.setitem(METHODS, "mixing", Method("mixing", NeighbourMixing, response_init=True))
    with pytest.raises(NotImplementedError, match="NeighbourMixing must have `set_matrix`"):
        tiny_model(TASKS[:1], method="mixing")


def test_every_method_with_a_rank_has_names_for_others(monkeypatch):
    class Ranked(NeighbourMixing):
        pass

    monkeypatch.setitem(METHODS, "ranked", Method("ranked(2)", Ranked, {"rank": 2}))
    assert get_method("ranked(5)") == Method("ranked(5)", Ranked, {"rank": 5})
    assert len(set(METHODS.values())) == len(METHODS)


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("name", WITH_ADAPTER)
def test_adapters_of_all_methods(name, use_bias):
    method = METHODS[name]
    convolution = keras.layers.Conv2D(C_OUT, 3, padding="same", use_bias=use_bias, name="convolution")
    adapter = method.adapter.from_convolution(convolution, **method.settings)
    assert keras.saving.get_registered_object(keras.saving.get_registered_name(type(adapter))) is method.adapter
    assert adapter.name == f"convolution_{adapter.suffix}"
    generator = np.random.default_rng(0)
    responses = generator.normal(size=(2, 5, 7, C_OUT)).astype("float32")
    inputs = generator.normal(size=(2, 5, 7, C_IN)).astype("float32")
    arguments = (responses, inputs) if adapter.takes_inputs else (responses,)

    # It starts as the identity.
    outputs = keras.ops.convert_to_numpy(adapter(*arguments))
    np.testing.assert_allclose(outputs, responses, rtol=0, atol=ROUNDING * np.abs(responses).max())

    # Its size is that of its weights.
    apart = [*adapter.gains, *([adapter.bias] if adapter.use_bias else [])]
    counted = [w for w in adapter.trainable_weights if id(w) not in {id(other) for other in apart}]
    assert adapter.size(C_IN, C_OUT) == sum(int(np.prod(w.shape)) for w in counted)
    assert adapter.macs(35) == 35 * adapter.macs(1) > 0

    # Two seeds draw two starts, one seed the same.
    if method.drawn:
        starts = []
        for seed in (1, 1, 2):
            adapter.draw(seed)
            starts.append(arrays({w.path: w for w in adapter.weights}))
        assert_same_bits(*starts[:2])
        assert any(not np.array_equal(starts[1][path], starts[2][path]) for path in starts[1])
    if method.response_init:
        matrix = generator.normal(size=(C_OUT, C_OUT)).astype("float32")
        adapter.set_matrix(matrix)
        np.testing.assert_allclose(adapter.linear_map()[0], matrix, rtol=ROUNDING, atol=ROUNDING)

    # Trained, it computes its linear map.
    for weight in adapter.weights:
        weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    found = adapter.linear_map()
    assert (found is None) or not adapter.takes_inputs
    if found is not None:
        matrix, offset = found
        assert matrix.dtype == offset.dtype == "float64"
        mixed = responses @ matrix if matrix.ndim == 2 else responses * matrix
        outputs = keras.ops.convert_to_numpy(adapter(*arguments))
        np.testing.assert_allclose(outputs, mixed + offset, rtol=0, atol=ROUNDING * np.abs(outputs).max())
