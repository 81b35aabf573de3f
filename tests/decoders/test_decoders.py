"""Decoders of the user: what is accepted can be saved and loaded, what could not be loaded is refused at once."""

import functools

import keras
import numpy as np
import pytest
from support.tiny import TASKS, MicroDecoder, assert_same_bits, state, tiny_model

import rc_keras
from rc_keras import decoders

REGISTER = "decorated with `@keras.saving.register_keras_serializable"


def plain(image, features, channels, prefix, seed):
    x = keras.layers.Conv2D(channels, 1, name=f"{prefix}head")(features["high_level"])
    return rc_keras.layers.ResizeTo(name=f"{prefix}resize")(x, image)


@keras.saving.register_keras_serializable(package="tests")
def registered(image, features, channels, prefix, seed):
    return plain(image, features, channels, prefix, seed)


class Unregistered(MicroDecoder):
    pass


@keras.saving.register_keras_serializable(package="tests")
class WithoutFromConfig:
    __call__ = staticmethod(plain)

    def get_config(self):
        return {}


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(MicroDecoder):
    """Does not tell its argument."""

    def __init__(self, width):
        self.width = width


class WithoutConfig:
    __call__ = staticmethod(plain)


def relu(image, features, channels, prefix, seed):
    """Has the name of a function that Keras knows."""
    return plain(image, features, channels, prefix, seed)


UNLOADABLE = {
    "function": plain,
    "lambda": lambda *arguments: plain(*arguments),
    "partial": functools.partial(plain),
    "bound method": MicroDecoder().__call__,
    "unregistered": Unregistered(),
    "without from_config": WithoutFromConfig(),
    "without get_config": WithoutConfig(),
    "forgetful": Forgetful(3),
    "with a name of Keras": relu,
}


@pytest.mark.parametrize("kind", UNLOADABLE)
def test_what_could_not_be_loaded_is_refused_before_any_training(kind):
    with pytest.raises(ValueError, match=f"`decoder` must be .*{REGISTER}"):
        tiny_model(TASKS[:1], decoder=UNLOADABLE[kind])
    model = tiny_model(TASKS[:1])
    with pytest.raises(ValueError, match=f"`decoder` must be .*{REGISTER}"):
        model.add_task(TASKS[1], decoder=UNLOADABLE[kind])
    assert model.tasks == ["semseg"]


@pytest.mark.parametrize("decoder", [registered, MicroDecoder()])
def test_what_is_registered_can_be_saved_and_loaded(decoder, tmp_path):
    model = tiny_model(TASKS[:2], decoder=decoder)
    model.save(tmp_path / "model.keras")
    model.save_task("edge", tmp_path / "edge.rctask")
    model.save_to_preset(tmp_path / "preset")
    image = np.zeros((1, 32, 32, 3), "uint8")
    for loaded in (keras.saving.load_model(tmp_path / "model.keras"), rc_keras.from_preset(tmp_path / "preset")):
        assert_same_bits(state(loaded.branch("edge")), state(model.branch("edge")))
        assert loaded(image)["edge"].shape == (1, 32, 32, 1)
        loaded.add_task(TASKS[3])  # with the first task's decoder
    model.load_task(tmp_path / "edge.rctask", overwrite=True)
    assert model.decoder("edge") is registered or isinstance(model.decoder("edge"), MicroDecoder)


def test_custom_objects_are_as_good_as_registered_ones(tmp_path):
    custom = {"plain": plain, "Unregistered": Unregistered}
    with keras.saving.custom_object_scope(custom):
        model = tiny_model(TASKS[:1], decoder=plain)
        model.add_task(TASKS[1], decoder=Unregistered())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=custom)
    assert loaded.decoder("semseg") is plain and isinstance(loaded.decoder("edge"), Unregistered)


def test_a_decoder_may_be_defined_anew():
    """As by running a cell of a notebook again."""

    def define():
        @keras.saving.register_keras_serializable(package="tests")
        def cell(image, features, channels, prefix, seed):
            return plain(image, features, channels, prefix, seed)

        return cell

    model = tiny_model(TASKS[:1], decoder=define())
    define()
    model.add_task(TASKS[1])
    assert model.tasks == ["semseg", "edge"]


def test_names_and_serialized_forms():
    assert isinstance(decoders.get("deeplabv3plus"), decoders.DeepLabV3Plus)
    form = keras.saving.serialize_keras_object(decoders.DeepLabV3Plus(width=7, rates=(2, 3)))
    assert decoders.get(form).get_config() == {"width": 7, "low_level_width": 48, "rates": (2, 3)}
    with pytest.raises(ValueError, match="Did you mean 'deeplabv3plus'"):
        decoders.get("deeplabv3")
    for wrong in (None, 3, decoders.DeepLabV3Plus):
        with pytest.raises(ValueError, match="`decoder` must be one of .*'deeplabv3plus'"):
            decoders.get(wrong)
