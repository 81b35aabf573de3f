"""Multiply-accumulates: the published ones of ResNet-18, and hand-counted ones."""

import keras
import numpy as np
import pytest
from support.tiny import TASKS, tiny_model

import rc_keras
from rc_keras.reports.mac_count import mac_report

layers = keras.layers

PUBLISHED = 5e-3  # of figures with three digits


def test_an_encoder_that_all_tasks_train_runs_once():
    macs = tiny_model(TASKS[:2], method="multi_task").mac_report()
    one, other = macs.tasks.values()
    assert macs.total == one.total + other.decoder
    assert str(macs).splitlines()[-1].startswith("all")
    macs = tiny_model(TASKS[:2], method="fine_tune").mac_report()
    assert macs.total == one.total + other.decoder
    stem = {"rcm": 64 * 48 * 8, "single_task": 0, "squeeze_excite": 0}  # before the first norm of a task
    for method, once in stem.items():  # norms of a task stand between the other convolutions
        macs = tiny_model(TASKS[:2], method=method).mac_report()
        assert macs.common == once
        assert macs.total == sum(task.total for task in macs.tasks.values()) - once


def test_separable_and_transposed_convolutions():
    image = keras.Input((16, 16, 3))
    x = keras.layers.SeparableConv2D(8, 3, strides=2, padding="same")(image)
    x = keras.layers.Conv2DTranspose(4, 2, strides=2)(x)
    macs = mac_report({"t": keras.Model(image, x, name="t")}, (16, 16, 3)).tasks["t"]
    assert macs.convolutions == 64 * (9 * 3 + 3 * 8) + 64 * (4 * 8 * 4)


def test_operations_between_layers_are_not_counted():
    image = keras.Input((16, 16, 3))
    network = keras.Model(image, keras.layers.Conv2D(8, 1)(image / 127.5 - 1.0), name="t")
    assert mac_report({"t": network}, (16, 16, 3)).total == 16 * 16 * 3 * 8


SIDE, WIDTH = 4, 24  # tokens of an image, and their channels
STEM = SIDE**2 * 48 * WIDTH
PROJECTIONS = SIDE**2 * 4 * WIDTH**2


def macs_of_tokens(call):
    """Of a function of tokens, in a network of an image."""
    image = keras.Input((16, 16, 3))
    x = layers.Reshape((SIDE**2, WIDTH))(layers.Conv2D(WIDTH, 4, strides=4)(image))
    return mac_report({"t": keras.Model(image, call(x), name="t")}, (16, 16, 3)).tasks["t"].convolutions - STEM


class Hidden(layers.Layer):
    """It uses the kernel of a layer that it does not call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(WIDTH)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return x @ self.dense.kernel


class Positions(layers.Layer):
    def build(self, shape):
        self.positions = self.add_weight(shape=shape[1:])

    def call(self, x):
        return x + self.positions


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (lambda: layers.Conv1D(WIDTH, 3, name="mix"), "Conv1D"),
        (lambda: layers.LSTM(WIDTH, return_sequences=True, name="mix"), "LSTM"),
        (lambda: Hidden(name="mix"), "Hidden"),
        (lambda: Positions(name="mix"), "Positions"),
    ],
    ids=["Conv1D", "LSTM", "Hidden", "Positions"],
)
def test_layers_that_are_not_known_are_not_counted_as_nothing(layer, kind):
    with pytest.raises(ValueError, match=f"must be of .*Conv2D.*, or call such .* Received: 'mix', of {kind}"):
        macs_of_tokens(lambda x: layer()(x))


@pytest.mark.parametrize(
    "layer",
    [lambda: layers.PReLU(shared_axes=[1, 2]), lambda: layers.LayerNormalization(axis=[1, 2, 3])],
    ids=["PReLU", "LayerNormalization"],
)
def test_activations_and_norms_are_not_counted_whatever_they_hold(layer):
    image = keras.Input((16, 16, 3))
    network = keras.Model(image, layer()(layers.Conv2D(8, 1)(image)), name="t")
    assert mac_report({"t": network}, (16, 16, 3)).total == 16 * 16 * 3 * 8


@pytest.mark.parametrize(
    ("equation", "output_shape", "count"),
    [
        ("bhwc,cd->bhwd", (16, 16, 8), 16 * 16 * 3 * 8),
        ("...c,cd->...d", 8, 16 * 16 * 3 * 8),
        ("bhwc,hwcd->bd", 8, 16 * 16 * 3 * 8),
        ("bh...,hk->bk...", 5, 16 * 16 * 3 * 5),
        ("bhwc,cde->bhwde", (None, None, 2, 4), 16 * 16 * 3 * 8),
    ],
)
@pytest.mark.parametrize("around", [lambda layer: layer, rc_keras.layers.Frozen], ids=["own", "frozen"])
def test_dense_layers_by_their_equation(equation, output_shape, count, around):
    layer = layers.EinsumDense(equation, output_shape)
    image = keras.Input((16, 16, 3) if None not in np.atleast_1d(output_shape) else (None, None, 3))
    behind = layers.Dense(2)
    x = around(layer)(image)
    macs = mac_report({"t": keras.Model(image, behind(x), name="t")}, (16, 16, 3)).total
    expected = np.einsum(equation, np.zeros((1, 16, 16, 3)), np.zeros(layer.kernel.shape))
    assert macs == count + expected.size * 2


# Layers made of layers


def test_attention():
    attention = layers.MultiHeadAttention(2, WIDTH // 2, dropout=0.1)
    assert macs_of_tokens(lambda x: attention(x, x)) == PROJECTIONS
    assert macs_of_tokens(lambda x: attention(x, value=x, use_causal_mask=True)) == PROJECTIONS
    assert macs_of_tokens(lambda x: attention(attention(x, x), x)) == 2 * PROJECTIONS


def test_attention_that_was_built_for_any_size():
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(WIDTH, 4, strides=4)(image)
    network = keras.Model(image, layers.MultiHeadAttention(2, 12, attention_axes=(1, 2))(x, x), name="t")
    assert mac_report({"t": network}, (16, 16, 3)).total == STEM + PROJECTIONS
    assert mac_report({"t": network}, (32, 16, 3)).total == 2 * (STEM + PROJECTIONS)


class Windows(layers.Layer):
    """Rows of tokens, each with a network of its own that is called by the name of its argument."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        row = keras.Input((SIDE, WIDTH))
        y = layers.MultiHeadAttention(2, WIDTH // 2)(row, row)
        self.inside = keras.Model(row, y)
        self.dense, self.activation = layers.Dense(WIDTH, use_bias=False), layers.PReLU(shared_axes=[1])

    def build(self, shape):
        self.dense.build((None, SIDE, WIDTH))
        self.activation.build((None, SIDE, WIDTH))

    def call(self, x):
        rows = keras.ops.reshape(x, (-1, SIDE, WIDTH))
        rows = self.activation(self.dense(inputs=self.inside(rows)))
        return keras.ops.reshape(rows, (-1, SIDE**2, WIDTH))

    def compute_output_shape(self, shape):
        return (None, *shape[1:])


def test_layers_of_layers_count_by_what_they_call():
    count = PROJECTIONS + SIDE**2 * WIDTH**2
    assert macs_of_tokens(Windows()) == count
    assert macs_of_tokens(lambda x: Windows()(Windows()(x))) == 2 * count


def test_a_layer_of_layers_in_a_model_counts_as_if_it_were_opened():
    def encoder():
        image = keras.Input((16, 16, 3))
        low = layers.Conv2D(8, 4, strides=4, name="stem")(image)
        x = layers.Reshape((SIDE**2, 8))(low)
        x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
        return keras.Model(image, {"low_level": low, "high_level": layers.Reshape((SIDE, SIDE, 8))(x)}, name="encoder")

    closed = tiny_model(TASKS[:1], backbone=encoder(), image_shape=(16, 16, 3))
    opened = tiny_model(TASKS[:1], backbone=encoder(), image_shape=(16, 16, 3), pointwise_rank=100)
    assert "attention" in {layer.name.rpartition("__")[2] for layer in closed.branch("semseg").layers}
    assert "attention" not in {layer.name.rpartition("__")[2] for layer in opened.branch("semseg").layers}
    counts = [model.mac_report().tasks["semseg"] for model in (closed, opened)]
    assert counts[0].convolutions == counts[1].convolutions == SIDE**2 * (48 * 8 + 4 * 8 * 8)
    assert counts[0].decoder == counts[1].decoder


@pytest.mark.parametrize(
    ("size", "positions"), [(16, (16 + 2 * 10) * (16 + 2 * 14)), (5, 5 * (5 + 2 * 3)), (32, 9 * 32**2)]
)
def test_dilated_kernels_do_not_meet_all_pixels(size, positions):
    image = keras.Input((size, size, 3))
    for layer in (keras.layers.Conv2D, rc_keras.layers.BankConv2D):
        made = layer(8, (3, 3), padding="same", dilation_rate=(6, 2))
        assert mac_report({"t": keras.Model(image, made(image), name="t")}, (size, size, 3)).total == positions * 3 * 8


def test_resnet18_at_512():
    model = rc_keras.build(["edge"], image_shape=(None, None, 3), seed=0)
    macs = model.mac_report((512, 512, 3)).tasks["edge"]
    downsampling = 8_192 * 64**2 + (32_768 + 131_072) * 32**2  # not among the 17 convolutions that are published
    head = 256 * 128**2
    assert (macs.convolutions - downsampling) / 1e9 == pytest.approx(15.72, abs=PUBLISHED)
    assert macs.modulators / 1e9 == pytest.approx(2.15, abs=PUBLISHED)
    # Published with plain convolutions of the concatenations. Here 256 channels are convolved at 32x32 before they are
    # stretched to 128x128, by matrices along either axis, and 256 pooled channels as one pixel; what dilated kernels
    # multiply with padding is left out.
    padding = 512 * 256 * sum(9 * 32**2 - (32 + 2 * (32 - rate)) ** 2 for rate in (6, 12, 18))
    assert padding / 1e9 == pytest.approx(1.55, abs=PUBLISHED)
    plain = 9 * 256 * 256 * 128**2 + 256 * 256 * 32**2
    executed = 9 * 256 * 256 * 32**2 + 256 * 3 * 32 * (128 * 3 * 32 + 128**2) + 256 * 256
    assert (macs.decoder - head + plain - executed + padding) / 1e9 == pytest.approx(25.28, abs=PUBLISHED)
    assert macs.total == macs.convolutions + macs.modulators + macs.decoder
    assert f"{macs.total / 1e9:.3f}" in str(model.mac_report((512, 512, 3)))
    with pytest.raises(ValueError, match="must hold no None"):
        model.mac_report()


@pytest.mark.parametrize(
    ("method", "modulators"),
    [
        ("rcm", 64 * (8 * 8 + 8 * 8 + 12 * 12)),
        ("series_adapter", 64 * (8 * 8 + 8 * 8 + 12 * 12)),
        ("parallel_adapter", 64 * (3 * 8 + 8 * 8 + 8 * 12)),
        ("channel_modulation", 64 * (8 + 8 + 12 + 12)),
        ("low_rank(2)", 64 * 2 * 2 * (8 + 8 + 12 + 12)),
        ("batch_norm", 0),
        ("multi_task", 0),
        ("squeeze_excite", 64 * 12 + 2 * 12),
    ],
)
def test_every_method(method, modulators):
    macs = tiny_model(TASKS[:1], method=method).mac_report().tasks["semseg"]
    dilated = (8 + 2 * 6) ** 2 * 8 * 12  # of 9 * 64 * 8 * 12, without what meets padding
    assert macs.convolutions == 64 * (48 * 8 + 72 * 8 + 8 * 12) + dilated
    assert macs.modulators == modulators
    assert macs.decoder == 64 * (12 * 8 + 8 * 5)
