"""Shared pointwise kernels: which they are, that the function is kept, and everything a model does on them."""

import json

import keras
import numpy as np
import pytest
from support.mobile import POINTWISE, mobile_backbone
from support.tiny import SIZE, TASKS, arrays, assert_same_bits, differs, state, tiny_data, tiny_model

import rc_keras
from rc_keras import FilterBank, graft
from rc_keras.layers import BankConv2D, Modulator, PointwiseModulator
from rc_keras.methods import METHODS, get_method
from rc_keras.network.pointwise import with_pointwise_convolutions

ROUNDING = 1e-5  # of the range: float32 in another order
RANK = 2
FROZEN = [name for name, method in METHODS.items() if method.shares_kernels]


def mobile_model(tasks=TASKS[:2], **kwargs):
    arguments = {"backbone": mobile_backbone(seed=99 if "bank" in kwargs else 0), "pointwise_rank": RANK}
    return tiny_model(tasks, **{**arguments, **kwargs})


def outputs_of(network, images):
    outputs = network(images.astype("float32"), training=False)
    return [keras.ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(outputs)]


def assert_same_function(left, right, images):
    for ours, expected in zip(outputs_of(left, images), outputs_of(right, images), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=ROUNDING * np.ptp(expected))


def trained(model, *tasks):
    model.compile(optimizer=keras.optimizers.SGD(0.01))
    images, labels = tiny_data(4)
    model.fit(images, {name: labels[name] for name in tasks or model.tasks}, batch_size=4, verbose=0)
    return model


# What is shared


def test_pointwise_kernels_are_shared_and_the_function_is_kept():
    backbone, images = mobile_backbone(), tiny_data(2)[0]
    bank = FilterBank(backbone, "rcm", images, pointwise_rank=RANK)
    assert set(bank.convolutions) == POINTWISE | {"stem"}
    assert bank.method.name == f"rcm+pointwise({RANK})" and bank.ranks is None
    assert_same_function(graft(bank, "depth"), backbone, images)
    assert list(bank.response_report.spectra) == ["stem"]
    for name in POINTWISE:
        kernel = bank.convolutions[name].kernel
        original = backbone.get_layer(name)
        original = original.pointwise_kernel if name == "separable" else original.kernel
        np.testing.assert_array_equal(np.array(kernel).reshape(-1), np.array(original).reshape(-1))  # not rotated
        adapter = bank.template.get_layer(f"{name}_pointwise_modulator")
        assert adapter.size(*kernel.shape[2:]) == 2 * RANK * kernel.shape[-1] < np.prod(kernel.shape)


def test_without_a_rank_nothing_changes():
    backbone = mobile_backbone()
    bank = FilterBank(backbone, "rc_identity")
    assert bank.method is METHODS["rc_identity"]
    assert set(bank.convolutions) == {"stem", "squeeze", "project"}  # fewer outputs than inputs
    assert isinstance(bank.template.get_layer("query"), keras.layers.EinsumDense)
    assert isinstance(bank.template.get_layer("separable"), keras.layers.SeparableConv2D)


@pytest.mark.parametrize("rank", [3, 4, 5, 6])
def test_the_rule_is_that_of_sizes(rank):
    bank = FilterBank(mobile_backbone(), "rc_identity", pointwise_rank=rank)
    inputs = {name: 8 for name in ("expand", "excite", "separable")} | {name: 24 for name in ("squeeze", "project")}
    inputs |= {name: 12 for name in ("query", "key", "value", "joined", "mlp_in")} | {"mlp_out": 24}
    assert set(bank.convolutions) == {"stem"} | {name for name, c_in in inputs.items() if 2 * rank < c_in}
    copied = {layer.name for layer in bank.template.layers if type(layer) is rc_keras.layers.Conv2D}
    assert copied == POINTWISE - set(bank.convolutions)


@pytest.mark.parametrize("method", FROZEN)
def test_every_method_with_a_bank_takes_a_rank(method):
    backbone, images = mobile_backbone(), tiny_data(2)[0]
    bank = FilterBank(backbone, method, pointwise_rank=RANK)
    assert bank.method == get_method(bank.method.name) == get_method(method).with_pointwise_rank(RANK)
    for name in POINTWISE:
        assert isinstance(bank.template.get_layer(f"{name}_pointwise_modulator"), PointwiseModulator)
    if method not in ("rc", "rc_nff"):
        assert_same_function(graft(bank, "depth"), backbone, images)


@pytest.mark.parametrize("method", sorted(set(METHODS) - set(FROZEN)))
def test_methods_without_a_bank_take_none(method):
    with pytest.raises(ValueError, match=f"`pointwise_rank` must be None for method '{method}'.*pointwise_rank=8"):
        mobile_model(method=method, pointwise_rank=8)


@pytest.mark.parametrize("rank", [0, -1, 1.5, True, "8"])
def test_ranks_are_positive_integers(rank):
    with pytest.raises(ValueError, match="`pointwise_rank` must be a positive integer, or None. Received"):
        mobile_model(pointwise_rank=rank)


def test_names_of_methods():
    method = get_method("low_rank(4)+pointwise(3)")
    assert (method.settings["rank"], method.pointwise_rank) == (4, 3)
    assert method.with_pointwise_rank(5).name == "low_rank(4)+pointwise(5)"
    assert method.with_pointwise_rank(None) == get_method("low_rank(4)")
    for name in ("rcm+pointwise", "rcm+low_rank(2)", "pointwise(8)", "typo+pointwise(8)"):
        with pytest.raises(ValueError, match="`method` must be one of"):
            get_method(name)
    with pytest.raises(ValueError, match="positive integer"):
        get_method("rcm+pointwise(0)")


def test_what_a_task_adds():
    """It starts as the identity, then is `y = (I + A B) z + b`."""
    z = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype("float32")
    layer = PointwiseModulator(RANK, use_bias=True)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(z)), z)
    for at, weight in enumerate(layer.weights):
        weight.assign(np.random.default_rng(at).normal(size=weight.shape))
    down, up, bias = (keras.ops.convert_to_numpy(w).astype("float64") for w in (layer.down, layer.up, layer.bias))
    expected = z + z @ down @ up + bias
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(z)), expected, atol=ROUNDING * np.ptp(expected))
    matrix, offset = layer.linear_map()
    np.testing.assert_allclose(z @ matrix + offset, expected, atol=ROUNDING * np.ptp(expected))
    np.testing.assert_allclose(np.eye(6) + np.matmul(*layer.factors()), matrix, atol=ROUNDING)


# Layers as convolutions, against Keras's own


def randomized(layer, shape):
    inputs = keras.Input(shape)
    network = keras.Model(inputs, layer(inputs))
    generator = np.random.default_rng(0)
    for variable in network.variables:
        variable.assign(generator.normal(size=variable.shape))
    return network


LAYERS = {
    "dense_on_vectors": (keras.layers.Dense(5, activation="relu"), (6,)),
    "dense_on_tokens": (keras.layers.Dense(5, activation="softmax"), (None, 6)),
    "dense_on_maps": (keras.layers.Dense(5, use_bias=False), (None, None, 6)),
    "dense_on_windows": (keras.layers.Dense(5), (None, 3, 4, 6)),
    "heads": (keras.layers.EinsumDense("abc,cde->abde", (None, 2, 5), bias_axes="de"), (7, 6)),
    "heads_activated": (keras.layers.EinsumDense("abc,cde->abde", (None, 2, 5), activation="softmax"), (7, 6)),
    "joined": (keras.layers.EinsumDense("abcd,cde->abe", (None, 5), bias_axes="e"), (7, 2, 3)),
    "ellipsis": (keras.layers.EinsumDense("...x,xy->...y", 5, bias_axes="y"), (4, 4, 6)),
    "heads_on_maps": (keras.layers.EinsumDense("abcd,def->abcef", (4, None, 2, 5)), (4, None, 6)),
    "separable": (keras.layers.SeparableConv2D(5, 3, strides=2, depth_multiplier=2, activation="relu"), (9, 9, 3)),
    "separable_dilated": (keras.layers.SeparableConv2D(5, 3, dilation_rate=2, padding="same"), (9, 9, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_as_a_convolution_computes_the_same(name):
    layer, shape = LAYERS[name]
    layer = type(layer).from_config(layer.get_config())
    network = randomized(layer, shape)
    changed = with_pointwise_convolutions(network)
    assert not any(type(other) is type(layer) for other in changed.layers)
    assert type(changed.get_layer(layer.name)) is rc_keras.layers.Conv2D
    shapes = zip(changed.output.shape, network.output.shape, strict=True)
    assert all(size in (None, ours) for ours, size in shapes)
    inputs = np.random.default_rng(1).normal(size=(2, *(4 if size is None else size for size in shape)))
    assert_same_function(changed, network, inputs)
    assert with_pointwise_convolutions(network, kept={layer.name}).get_layer(layer.name) is layer


class Doubled(keras.layers.Dense):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Doubled(5), (6,)),
        (keras.layers.EinsumDense("abc,bcd->abd", (7, 5)), (7, 6)),  # a kernel for each token
        (keras.layers.EinsumDense("abc,bd->adc", (5, 6)), (7, 6)),  # mixes tokens
        (keras.layers.EinsumDense("abc,cd->abd", (7, 5), bias_axes="bd"), (7, 6)),  # a bias for each token
        (keras.layers.EinsumDense("abc,cd->adb", (5, 7)), (7, 6)),
        (keras.layers.EinsumDense("abcd,def->abcef", (None, None, 2, 5)), (None, None, 6)),  # sizes not known
    ],
)
def test_what_is_no_pointwise_kernel_stays_what_it_is(layer, shape):
    network = randomized(layer, shape)
    assert with_pointwise_convolutions(network).get_layer(layer.name) is layer


def test_a_dense_layer_that_is_called_twice_is_shared_once():
    tokens = keras.Input((5, 6))
    twice = keras.layers.Dense(6, name="twice")
    network = keras.Model(tokens, twice(keras.layers.ReLU()(twice(tokens))))
    changed = with_pointwise_convolutions(network)
    assert_same_function(changed, network, np.random.default_rng(0).normal(size=(2, 5, 6)))


# With truncation


def test_with_response_energy_a_pointwise_kernel_is_cut_where_that_is_smaller(tmp_path):
    images, rank, backbone = tiny_data(4)[0], 5, mobile_backbone()
    bank = FilterBank(backbone, "rcm", images, response_energy=0.6, pointwise_rank=rank)
    channels = backbone_channels(backbone)
    cut = {name for name, size in bank.ranks.items() if size < channels[name]}
    assert "mlp_in" in cut and {"project", "squeeze"} <= set(bank.ranks) - cut
    for name in set(bank.ranks) - {"stem"}:
        layer, kernel = adapter(bank, name), np.array(bank.convolutions[name].kernel, "float64")
        original = backbone.get_layer(name)
        original = original.pointwise_kernel if name == "separable" else original.kernel
        original = np.array(original, "float64").reshape(-1, channels[name])
        if name not in cut:
            assert isinstance(layer, PointwiseModulator)
            np.testing.assert_array_equal(kernel[0, 0], original)
            continue
        assert isinstance(layer, Modulator) and bank.ranks[name] < 2 * rank
        axes = keras.ops.convert_to_numpy(layer.matrix()).astype("float64")  # leading ones, of length 1
        np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=ROUNDING)
        np.testing.assert_allclose(kernel[0, 0], original @ axes.T, atol=ROUNDING * np.abs(original).max())
    assert set(bank.response_report.kept) == cut | {"stem"}
    bank.save(tmp_path / "bank.safetensors")
    loaded = FilterBank.load(tmp_path / "bank.safetensors", mobile_backbone(seed=5))
    assert loaded.ranks == bank.ranks and loaded.method == bank.method
    assert_same_bits(state(loaded.template), state(bank.template))


def backbone_channels(backbone):
    """Outputs of the kernels, `{name: c_out}`."""
    channels = {"query": 12, "key": 12, "value": 12, "joined": 12}
    for layer in backbone.layers:
        if layer.name not in channels and (layer.name in POINTWISE or layer.name == "stem"):
            channels[layer.name] = getattr(layer, "filters", None) or layer.units
    return channels


def adapter(bank, name):
    names = {layer.name: layer for layer in bank.template.layers}
    return names.get(f"{name}_pointwise_modulator") or names[f"{name}_modulator"]


# Everything a model does


@pytest.fixture(scope="module")
def model():
    return trained(mobile_model())


def test_training_moves_what_a_task_adds_and_no_other_task(model):
    start = state(mobile_model().branch("edge"))
    kernels = {f"{name}/kernel" for name in model.bank.convolutions}
    ours = state(model.branch("edge"))
    still = set(start) - set(differs(start, ours))
    # B_t has no gradient while A_t is zero, nor have biases that a softmax or a norm takes off, but for rounding.
    taken_off = {f"{name}_pointwise_modulator/bias" for name in ("key", "mlp_out")}
    assert still - kernels <= {name for name in start if name.endswith("/down")} | taken_off
    downs = {name: state(model.branch(name))["expand_pointwise_modulator/down"] for name in model.tasks}
    assert not np.array_equal(downs["semseg"], downs["edge"])
    before, fingerprint = state(model.branch("semseg")), model.bank.fingerprint
    prediction = outputs_of(model.branch("semseg"), tiny_data(2)[0])[0]
    model.trainable_tasks = ["edge"]
    trained(model, "edge")
    model.trainable_tasks = model.tasks
    assert model.bank.fingerprint == fingerprint
    assert_same_bits(state(model.branch("semseg")), before)
    np.testing.assert_array_equal(outputs_of(model.branch("semseg"), tiny_data(2)[0])[0], prediction)


def test_files(model, tmp_path):
    images = tiny_data(2)[0]
    expected = arrays(model.predict(images, verbose=0))
    model.save(tmp_path / "model.keras")
    model.save_to_preset(tmp_path / "preset")
    for loaded in (keras.saving.load_model(tmp_path / "model.keras"), rc_keras.from_preset(tmp_path / "preset")):
        assert loaded.bank.method == model.bank.method
        assert_same_bits(arrays(loaded.predict(images, verbose=0)), expected)
    config = json.loads((tmp_path / "preset" / "config.json").read_text())
    assert config["model"]["method"] == f"rcm+pointwise({RANK})"
    model.save_task("edge", tmp_path / "edge.rctask")
    model.bank.save(tmp_path / "bank.safetensors")
    fresh = mobile_model(TASKS[:1], bank=tmp_path / "bank.safetensors", pointwise_rank=None)
    fresh.load_task(tmp_path / "edge.rctask")
    assert_same_bits(state(fresh.branch("edge")), state(model.branch("edge")))
    with pytest.raises(ValueError, match=r"`bank` must be made with method 'rcm\+pointwise\(3\)'"):
        mobile_model(bank=tmp_path / "bank.safetensors", pointwise_rank=3)
    with pytest.raises(ValueError, match="must belong to a bank with fingerprint"):
        mobile_model(TASKS[:1], pointwise_rank=None).load_task(tmp_path / "edge.rctask")


def test_reports_count_what_is_there(model):
    channels = backbone_channels(mobile_backbone())
    inputs = {name: model.bank.convolutions[name].kernel.shape[2] for name in POINTWISE}
    biases = sum(channels[name] for name in POINTWISE - {"expand", "project", "joined"})
    task = model.parameter_report().tasks["edge"]
    assert task.modulators == 8 * 8 + 2 * RANK * sum(channels[name] for name in POINTWISE) + biases
    assert task.convolutions == 9 * 24 + 9 * 8  # both depthwise kernels
    assert model.parameter_report().bank == 4 * 4 * 3 * 8 + sum(channels[name] * inputs[name] for name in POINTWISE)
    positions = dict.fromkeys(POINTWISE, 16) | {"expand": 64, "project": 64, "squeeze": 1, "excite": 1}
    macs = model.mac_report().tasks["edge"]
    assert macs.modulators == 64 * 64 + sum(positions[name] * 2 * RANK * channels[name] for name in POINTWISE)
    kernels = sum(positions[name] * inputs[name] * channels[name] for name in POINTWISE)
    assert macs.convolutions == 64 * 4 * 4 * 3 * 8 + 64 * 9 * 24 + 16 * 9 * 8 + kernels


def test_stages_and_decoders_in_the_bank(model):
    images = tiny_data(2)[0]
    staged = FilterBank(mobile_backbone(), pointwise_rank=RANK, shared_stages="add")
    assert {"query", "mlp_in", "separable"} <= set(staged.convolutions)
    assert not {"expand", "squeeze", "project"} & set(staged.convolutions)
    assert_same_function(graft(staged, "depth"), mobile_backbone(), images)
    separable = FilterBank(mobile_backbone(), pointwise_rank=RANK, shared_stages="separable")
    assert {"separable", "separable_depthwise"} <= {layer.name for layer in separable.frozen_layers}
    whole = FilterBank.from_task(model, "semseg")
    assert set(whole.convolutions) == POINTWISE | {"stem", "decoder_conv"}
    children = rc_keras.build(TASKS[:2], bank=whole, backbone=mobile_backbone(), image_shape=(SIZE, SIZE, 3), seed=0)
    assert children.bank.method.name == f"rcm+pointwise({RANK})"
    assert_same_function(children.branch("semseg"), model.branch("semseg"), images)
    staged = FilterBank.from_task(model, "semseg", pointwise_rank=5, shared_stages="attended")
    assert staged.method.name == "rcm+pointwise(5)"
    assert_same_bits(state(staged.for_backbone(mobile_backbone()).template), state(staged.template))


def test_a_new_task_starts_from_another(model, tmp_path):
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    copy.add_task(TASKS[3], init_from="edge")
    ours, theirs = state(copy.branch("depth")), state(copy.branch("edge"))
    assert not [name for name in differs(ours, theirs) if "pointwise_modulator" in name]


def test_a_bank_convolution_behind_every_pointwise_modulator(model):
    layers = {layer.name: layer for layer in model.bank.template.layers}
    names = [name.removesuffix("_pointwise_modulator") for name in layers if name.endswith("_pointwise_modulator")]
    assert all(isinstance(layers[name], BankConv2D) for name in names) and set(names) == POINTWISE
