"""Multiply-accumulates: the published ones of ResNet-18, and hand-counted ones."""

import keras
import pytest
from support.tiny import TASKS, tiny_model

import rc_keras
from rc_keras.reports.mac_count import mac_report

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


def test_layers_that_are_not_known_are_not_counted_as_nothing():
    image = keras.Input((16, 16, 3))
    network = keras.Model(image, keras.layers.EinsumDense("bhwc,cd->bhwd", (16, 16, 8), name="mix")(image), name="t")
    with pytest.raises(ValueError, match="must be of .*Conv2D.* Received: 'mix', of EinsumDense"):
        mac_report({"t": network}, (16, 16, 3))


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
    # stretched to 128x128, by matrices along either axis, and 256 pooled channels as one pixel; and what dilated kernels
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
