"""The graft report, against counts of the plain network and of a model that was built."""

import keras
import pytest
from support.mobile import mobile_backbone
from support.tiny import SIZE, TASKS, micro_backbone, tiny_data, tiny_model

import rc_keras
from rc_keras import graft_report
from rc_keras.network.branch import count_parameters

MODELS = {
    "micro": (micro_backbone, {}),
    "micro_staged": (micro_backbone, {"shared_stages": "low_relu"}),
    "micro_norms": (micro_backbone, {"method": "batch_norm"}),
    "mobile": (mobile_backbone, {}),
    "mobile_pointwise": (mobile_backbone, {"pointwise_rank": 2}),
    "mobile_identity": (mobile_backbone, {"pointwise_rank": 3, "method": "rc_identity"}),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:.* is in layers that tasks share")
def test_it_tells_before_what_a_model_then_has(name):
    make, settings = MODELS[name]
    backbone = make()
    report = graft_report(backbone, **settings)
    assert report.parameters == count_parameters(backbone.weights)
    model = tiny_model(TASKS[:1], backbone=make(), **settings)
    built = model.parameter_report()
    task = built.tasks["semseg"]
    assert report.bank == built.bank
    assert report.added + report.copied == task.modulators + task.gains + task.convolutions + task.norms
    assert report.per_task == (report.added + report.copied) / report.parameters
    assert {share.name for share in report.layers if share.bank} >= set(model.bank.convolutions)


def test_the_table():
    text = str(graft_report(mobile_backbone(), pointwise_rank=4))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert rows["expand"] == ["1x1x8x24", "192", "0", "0", "192", "a", "task", "would", "add", "192"]
    assert rows["project"] == ["1x1x24x8", "192", "192", "64", "0", "PointwiseModulator"]
    assert rows["depthwise"] == ["3x3x24x1", "216", "0", "0", "216", "depthwise"]
    assert rows["stem"] == ["4x4x3x8", "384", "384", "72", "0", "Modulator"]  # with gains
    assert rows["all"][0] == f"{count_parameters(mobile_backbone().weights):,}"
    assert text.splitlines()[-1].startswith("mobile: bank 1.")
    without = str(graft_report(mobile_backbone()))
    assert "EinsumDense, without pointwise_rank" in without and "SeparableConv2D, without pointwise_rank" in without


def test_it_is_told_as_a_model_is_built(capsys, caplog):
    line = f"mobile: {graft_report(mobile_backbone(), pointwise_rank=2).summary}"
    tiny_model(TASKS[:1], backbone=mobile_backbone(), pointwise_rank=2)
    assert capsys.readouterr().out == f"{line}\n"
    keras.config.disable_interactive_logging()
    try:
        with caplog.at_level("INFO", logger="absl"):
            tiny_model(TASKS[:1], backbone=mobile_backbone(), pointwise_rank=2)
    finally:
        keras.config.enable_interactive_logging()
    assert capsys.readouterr().out == "" and line in caplog.text


@keras.saving.register_keras_serializable(package="tests")
class Halves(keras.layers.Layer):
    """A convolution that strides, in a layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="conv")

    def build(self, shape):
        self.conv.build(shape)

    def call(self, x):
        return self.conv(x)


def composite_backbone():
    image = keras.Input((4 * SIZE, 4 * SIZE, 3))
    x = keras.layers.Conv2D(8, 4, strides=4, name="stem")(image)
    for at in range(3):
        x = Halves(name=f"half_{at}")(x)
    return keras.Model(image, x, name="halves")


def test_layers_that_are_opened_to_be_dilated_are_told_of():
    settings = {"output_stride": 16}
    report = graft_report(composite_backbone(), **settings)
    model = tiny_model(TASKS[:1], backbone=composite_backbone(), image_shape=(4 * SIZE, 4 * SIZE, 3), **settings)
    assert report.bank == model.parameter_report().bank > graft_report(composite_backbone()).bank
    assert graft_report("resnet18", output_stride=8).bank == graft_report("resnet18").bank


def test_less_than_half_is_warned_of(recwarn):
    with pytest.warns(
        UserWarning, match=r"of 'mobile' is in layers that tasks share: bank .* Not shared: mlp_"
    ) as told:
        tiny_model(TASKS[:1], backbone=mobile_backbone())
    (warning,) = [warning for warning in told if "tasks share" in str(warning.message)]
    assert "graft_report" in str(warning.message) and warning.filename.endswith("tiny.py")
    recwarn.clear()
    tiny_model(TASKS[:1], backbone=mobile_backbone(), pointwise_rank=2)
    tiny_model(TASKS[:1], backbone=mobile_backbone(), method="single_task")
    images = tiny_data(2)[0]  # what a bank drops of responses is shared all the same
    tiny_model(TASKS[:1], backbone=micro_backbone(), response_images=images, response_energy=0.5)
    assert not [warning for warning in recwarn if "tasks share" in str(warning.message)]


def test_names_and_errors():
    assert graft_report("resnet18").shared > 0.95
    with pytest.raises(ValueError, match="`method` must be one with a frozen bank. Received: method='single_task'"):
        graft_report(micro_backbone(), "single_task")
    with pytest.raises(ValueError, match="must be a functional keras.Model"):
        graft_report(keras.Sequential([keras.layers.Conv2D(8, 3)]))
    with pytest.raises(ValueError, match="`pointwise_rank` must be a positive integer"):
        rc_keras.graft_report(micro_backbone(size=SIZE), pointwise_rank=0)
