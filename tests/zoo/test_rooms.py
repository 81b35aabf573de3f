"""How the preset `rooms` is made, with tiny networks."""

import keras
import numpy as np
import pytest
from support.tiny import assert_same_bits, state

import rc_keras
from rc_keras.zoo.datasets.data import open_data
from rc_keras.zoo.rooms.pretraining import DONOR, pretrain
from rc_keras.zoo.rooms.run import Rooms, make_rooms

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("data"))
    open_data("scenes/tiny", data_dir=folder).prepare()
    return folder


def test_an_interrupted_pretraining_ends_as_a_whole_one(data_dir, tmp_path):
    settings, builder = Rooms.quick().pretraining, open_data("scenes/tiny", data_dir=data_dir).builder
    whole = pretrain(settings, builder, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras.Model.fit", _stopping(after=1))
        with pytest.raises(KeyboardInterrupt):
            pretrain(settings, builder, tmp_path / "parts")
    parts = pretrain(settings, builder, tmp_path / "parts")
    assert_same_bits(state(parts.branch(DONOR)), state(whole.branch(DONOR)))


def _stopping(after):
    fit = keras.Model.fit

    def stopped(self, *args, callbacks=(), **kwargs):
        def stop(epoch, logs):
            if epoch + 1 == after:
                raise KeyboardInterrupt

        return fit(self, *args, callbacks=[*callbacks, keras.callbacks.LambdaCallback(on_epoch_end=stop)], **kwargs)

    return stopped


def test_the_preset(data_dir, tmp_path, capsys):
    settings = Rooms.quick()
    results = make_rooms(settings, tmp_path, data_dir)
    assert set(results.tasks) == set(settings.tasks)
    model = rc_keras.from_preset(tmp_path / "preset")
    assert set(model.tasks) == set(settings.tasks) and model.bank.ranks and model.bank.donor.task == DONOR
    image = np.zeros((1, *model.image_shape), "uint8")
    assert model.predict(image, verbose=0)["depth"].shape == (1, 64, 64, 1)
    make_rooms(settings, tmp_path, data_dir)
    assert "nothing left to train" in capsys.readouterr().out
