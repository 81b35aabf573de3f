"""What a decoder must answer, checked when a task is added; a new one is a class and an entry."""

import keras
import numpy as np
import pytest
from support.tiny import SIZE, TASKS, arrays, assert_same_bits, state, tiny_data, tiny_model

import rc_keras
from rc_keras import decoders
from rc_keras.base.seeds import derive_seed
from rc_keras.decoders.decoder import decode

ROUNDING = 1e-5  # of the range


@keras.saving.register_keras_serializable(package="tests")
class LinearDecoder:
    """One 1x1 convolution of the high-level features."""

    def __call__(self, image, features, channels, prefix, seed):
        kernel = keras.initializers.HeNormal(seed=derive_seed(seed, prefix, "head"))
        x = keras.layers.Conv2D(channels, 1, kernel_initializer=kernel, name=f"{prefix}head")(features["high_level"])
        return rc_keras.layers.ResizeTo(name=f"{prefix}resize")(x, image)

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def test_a_new_decoder_has_a_name_and_trains_and_is_saved(monkeypatch, tmp_path):
    monkeypatch.setitem(decoders.DECODERS, "linear", LinearDecoder)
    model = tiny_model(TASKS[:2], decoder="linear")
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    images, labels = tiny_data(4)
    before = state(model.branch("edge"))["decoder_head/kernel"]
    model.fit(images, {name: labels[name] for name in model.tasks}, verbose=0)
    assert not np.array_equal(state(model.branch("edge"))["decoder_head/kernel"], before)
    report = model.parameter_report().tasks["semseg"]
    assert (report.decoder, report.head) == (0, 12 * 5 + 5)
    model.save_task("edge", tmp_path / "edge.rctask")
    trained = state(model.branch("edge"))
    model.remove_task("edge")
    model.load_task(tmp_path / "edge.rctask")
    assert_same_bits(state(model.branch("edge")), trained)
    assert isinstance(model.decoder("edge"), LinearDecoder)


@pytest.mark.parametrize("name", decoders.DECODERS)
def test_every_decoder_with_a_name_draws_by_name(name):
    first, second = (tiny_model([task], decoder=name, seed=3) for task in (TASKS[1], TASKS[3]))
    second.add_task(TASKS[1])
    assert_same_bits(state(second.branch("edge")), state(first.branch("edge")))


@pytest.mark.parametrize("name", decoders.DECODERS)
def test_every_decoder_with_a_name_does_what_the_rest_relies_on(name):
    """Reports, a start from another task, and a bank of its whole network."""
    images, labels = tiny_data(4)
    model = tiny_model(TASKS[:2], decoder=name)
    report = model.parameter_report().tasks["edge"]
    assert report.decoder > 0 and report.head > 0 and model.mac_report().tasks["edge"].decoder > 0
    nearest = model.add_task(TASKS[3], init_from="nearest", data=(images, {"depth": labels["depth"]}))
    assert sorted(nearest.losses) == ["edge", "semseg"]
    bank = rc_keras.FilterBank.from_task(model, "semseg")
    again = tiny_model(TASKS[:2], decoder=None, bank=bank)
    expected, received = (arrays(m.predict(images, tasks=["semseg"], verbose=0))["semseg"] for m in (model, again))
    np.testing.assert_allclose(received, expected, rtol=0, atol=ROUNDING * np.ptp(expected))


@pytest.mark.parametrize("name", decoders.DECODERS)
def test_every_decoder_with_a_name_trains_and_is_saved(name, tmp_path):
    model = tiny_model(TASKS[:2], decoder=name)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    images, labels = tiny_data(4)
    model.fit(images, {name: labels[name] for name in model.tasks}, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_bits(arrays(loaded.predict(images, verbose=0)), arrays(model.predict(images, verbose=0)))


def head(image, features, channels, prefix, name="head"):
    x = keras.layers.Conv2D(channels, 1, name=f"{prefix}{name}")(features["high_level"])
    return rc_keras.layers.ResizeTo(name=f"{prefix}resize")(x, image)


def at_the_size_of_the_features(image, features, channels, prefix, seed):
    return keras.layers.Conv2D(channels, 1, name=f"{prefix}head")(features["high_level"])


def with_other_channels(image, features, channels, prefix, seed):
    return head(image, features, channels + 1, prefix)


def pooled(image, features, channels, prefix, seed):
    return decoders.PooledHead()(image, features, channels, prefix, seed)


def a_dictionary(image, features, channels, prefix, seed):
    return {"prediction": head(image, features, channels, prefix)}


def without_a_head(image, features, channels, prefix, seed):
    return head(image, features, channels, prefix, "last")


def without_the_prefix(image, features, channels, prefix, seed):
    features = {"high_level": keras.layers.Conv2D(4, 1, name="mine")(features["high_level"])}
    return head(image, features, channels, prefix)


def with_the_banks_kernel(image, features, channels, prefix, seed):
    x = features["high_level"]
    wrapped = Around(keras.Model(image, features["low_level"]).get_layer("low_conv"), name=f"{prefix}wrapped")
    features = {"high_level": keras.layers.Concatenate(name=f"{prefix}concat")([x, wrapped(features["low_level"])])}
    return head(image, features, channels, prefix)


def with_a_state_without_the_prefix(image, features, channels, prefix, seed):
    return head(image, {"high_level": keras.layers.Dropout(0.5, name="mine")(features["high_level"])}, channels, prefix)


def of_a_map_that_is_not_there(image, features, channels, prefix, seed):
    return head(image, {"high_level": features["middle"]}, channels, prefix)


class Around(keras.layers.Layer):
    """Another layer as a part of this one."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)


WRONG = {
    at_the_size_of_the_features: r"must answer \(batch, 32, 32, 5\) here. Received: \(None, 8, 8, 5\) from <function",
    with_other_channels: r"must answer \(batch, 32, 32, 5\) here. Received: \(None, 32, 32, 6\)",
    pooled: r"must answer \(batch, 32, 32, 5\) here. Received: \(None, 5\)",
    a_dictionary: r"must answer \(batch, 32, 32, 5\) here. Received: {'prediction'",
    without_a_head: r"must call .* 'semseg__decoder_head'. Received: layers \['semseg__decoder_last', 'sem",
    without_the_prefix: r"must make layers of its own .* 'semseg__decoder_'. Received: \['mine'\]",
    with_a_state_without_the_prefix: r"must make layers of its own .* 'semseg__decoder_'. Received: \['mine'\]",
    of_a_map_that_is_not_there: r"uses 'middle' of \['high_level', 'low_level'\]",
    with_the_banks_kernel: r"must make weights of its own .* Received: \['low_conv/kernel'\].*belong to the encoder",
}


@pytest.mark.parametrize("decoder", WRONG)
def test_what_a_decoder_must_not_answer(decoder):
    with keras.saving.custom_object_scope({decoder.__name__: decoder}), pytest.raises(ValueError, match=WRONG[decoder]):
        tiny_model(TASKS[:1], decoder=decoder)


@pytest.mark.parametrize("wrapped", [False, True])
def test_tasks_share_no_weights_of_decoders(wrapped):
    made = []

    def remembering(image, features, channels, prefix, seed):
        if not made:
            made.append(keras.layers.Conv2D(4, 1, name=f"{prefix}remembered"))
            features = {"high_level": made[0](features["high_level"])}
        else:
            layer = Around(made[0], name=f"{prefix}again") if wrapped else made[0]
            features = {"high_level": layer(features["high_level"])}
        return head(image, features, channels, prefix)

    with keras.saving.custom_object_scope({"remembering": remembering}):
        model = tiny_model(TASKS[:1], decoder=remembering)
        with pytest.raises(ValueError, match="of its own in each call.*semseg__decoder_remembered"):
            model.add_task(TASKS[1])
    assert model.tasks == ["semseg"]


def as_wide_as_its_prediction(image, features, channels, prefix, seed):
    x = keras.layers.Conv2D(channels, 1, name=f"{prefix}narrow")(features["high_level"])
    return head(image, {"high_level": x}, channels, prefix)


def test_a_bank_of_a_whole_network_wants_one_network_for_all_numbers_of_channels():
    with keras.saving.custom_object_scope({"as_wide_as_its_prediction": as_wide_as_its_prediction}):
        bank = rc_keras.FilterBank.from_task(tiny_model(TASKS[:1], decoder=as_wide_as_its_prediction), "semseg")
        assert tiny_model([rc_keras.Task("other", 5, "segmentation")], decoder=None, bank=bank).tasks == ["other"]
        with pytest.raises(ValueError, match=r"in nothing but its head.*takes \[1\] channels for channels=1, \[5\]"):
            tiny_model(TASKS[1:2], decoder=None, bank=bank)


def test_layers_without_weights_may_have_any_name():
    def free(image, features, channels, prefix, seed):
        return head(image, {"high_level": keras.layers.ReLU()(features["high_level"])}, channels, prefix)

    with keras.saving.custom_object_scope({"free": free}):
        model = tiny_model(TASKS[:2], decoder=free, image_shape=(None, None, 3))
    assert model(np.zeros((1, SIZE, SIZE, 3)))["edge"].shape == (1, SIZE, SIZE, 1)


def unchecked(*args, **kwargs):
    return decode(*args, **{**kwargs, "check": False})


def test_a_decoder_of_an_older_file_is_loaded_as_it_is(monkeypatch, tmp_path):
    """Version 0.1.0 asked for no `<prefix>head`."""
    images, _ = tiny_data(2)
    with keras.saving.custom_object_scope({"without_a_head": without_a_head}):
        with pytest.raises(ValueError, match="must call the layer that makes the prediction"):
            tiny_model(TASKS[1:2], decoder=without_a_head)
        monkeypatch.setattr("rc_keras.network.branch.decode", unchecked)
        model = tiny_model(TASKS[1:2], decoder=without_a_head)
        monkeypatch.undo()
        model.save(tmp_path / "model.keras")
        model.save_task("edge", tmp_path / "edge.rctask")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert_same_bits(arrays(loaded.predict(images, verbose=0)), arrays(model.predict(images, verbose=0)))
        loaded.load_task(tmp_path / "edge.rctask", overwrite=True)
        assert_same_bits(arrays(loaded.predict(images, verbose=0)), arrays(model.predict(images, verbose=0)))
