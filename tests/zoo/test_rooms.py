"""How the preset `rooms` is made, with tiny networks."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from support.tiny import assert_same_bits, state

import rc_keras
from rc_keras.zoo.rendering import render_scene
from rc_keras.zoo.rooms.pretraining import DONOR, pretrain
from rc_keras.zoo.rooms.room_batches import RoomBatches
from rc_keras.zoo.rooms.run import Rooms, make_rooms
from rc_keras.zoo.rooms.stored_rooms import StoredRooms

SIZE = 64
ROUNDING = 1e-6
HALF_PRECISION = 2**-11  # relative, of what is stored so
LABELS = ("semseg", "parts", "edge", "saliency", "normals", "depth")


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    return StoredRooms(tmp_path_factory.mktemp("rooms"), 0, range(8, 16), SIZE).render()


def test_stored_rooms_are_the_rendered_ones(rooms):
    assert len(rooms) == 8
    for index in (0, 7):
        scene = render_scene((0, 8 + index), SIZE)
        room = _room(rooms, index)
        for name in ("image", "semseg", "parts", "edge", "saliency"):
            np.testing.assert_array_equal(room[name], scene[name], strict=True)
        for name in ("normals", "depth"):
            np.testing.assert_allclose(room[name], scene[name], HALF_PRECISION, 1e-7)
            assert room[name].dtype == scene[name].dtype


def test_a_file_of_fewer_rooms_is_not_taken_for_one_of_more(tmp_path):
    StoredRooms(tmp_path, 0, range(2), SIZE).render()
    more = StoredRooms(tmp_path, 0, range(3), SIZE).render()
    np.testing.assert_array_equal(_room(more, 2)["image"], render_scene((0, 2), SIZE)["image"])


def test_every_room_comes_once_in_an_epoch_and_in_another_order_in_the_next(rooms):
    batches = RoomBatches(rooms, LABELS, 2, 0, range(8))
    drawn = [[_number(depth, rooms) for depth in batches[step][1]["depth"]] for step in range(8)]
    epochs = np.reshape(drawn, (2, 8))
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(8))
    assert list(epochs[0]) != list(epochs[1])


def _room(rooms, index):
    return {name: maps[0] for name, maps in rooms.read([index], ("image", *LABELS)).items()}


def _number(depth, rooms):
    """Which room a map of depth is of, mirrored or not."""
    stored = rooms.read(range(len(rooms)), ["depth"])["depth"]
    (found,) = [i for i, own in enumerate(stored) if any(np.array_equal(depth, m) for m in (own, own[:, ::-1]))]
    return found


def test_labels_are_mirrored_with_the_image(rooms):
    batches, mirrored = RoomBatches(rooms, LABELS, 4, 0, range(2)), set()
    for step in range(2):
        images, labels = batches[step]
        for i, image in enumerate(images):
            room = _room(rooms, _number(labels["depth"][i], rooms))
            is_mirrored = not np.array_equal(labels["depth"][i], room["depth"])
            mirrored.add(is_mirrored)
            along = slice(None, None, -1 if is_mirrored else 1)
            for name in LABELS:
                expected = room[name][:, along]
                if name == "normals" and is_mirrored:
                    expected[..., 0] *= -1
                np.testing.assert_array_equal(labels[name][i], expected, strict=True)
            own = room["image"][:, along].astype("float64")
            for channel in range(3):  # in another light, which makes parts of it white
                seen = (image[..., channel] < 255) & (own[..., channel] > 0)
                assert np.ptp(image[seen, channel] / own[seen, channel]) < ROUNDING
    assert mirrored == {False, True}


def test_a_batch_depends_on_seed_and_step_alone(rooms):
    images = RoomBatches(rooms, ["semseg"], 4, 0, range(0, 4))[3][0]
    np.testing.assert_array_equal(images, RoomBatches(rooms, ["semseg"], 4, 0, range(2, 4))[1][0])
    assert not np.array_equal(images, RoomBatches(rooms, ["semseg"], 4, 1, range(0, 4))[3][0])


@pytest.mark.slow
def test_a_training_sees_each_step_once_and_ends_the_same_when_interrupted(rooms, tmp_path, monkeypatch):
    settings = dataclasses.replace(Rooms.quick().pretraining, steps=4, steps_per_epoch=2)
    seen, get = [], RoomBatches.__getitem__
    whole = pretrain(settings, rooms, tmp_path / "whole")
    monkeypatch.setattr(RoomBatches, "__getitem__", lambda self, i: (seen.append(self._steps[i]), get(self, i))[1])
    monkeypatch.setattr("rc_keras.zoo.rooms.resumable_fit._SECONDS", -1)
    fit = keras.Model.fit

    def stopping(self, *args, initial_epoch, **kwargs):
        if initial_epoch == 1 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise KeyboardInterrupt
        return fit(self, *args, initial_epoch=initial_epoch, **kwargs)

    monkeypatch.setattr("keras.Model.fit", stopping)
    with pytest.raises(KeyboardInterrupt):
        pretrain(settings, rooms, tmp_path / "parts")
    parts = pretrain(settings, rooms, tmp_path / "parts")
    assert set(seen) == set(range(4))
    assert_same_bits(state(parts.branch(DONOR)), state(whole.branch(DONOR)))


@pytest.mark.slow
def test_the_preset(tmp_path, monkeypatch):
    settings = Rooms.quick()
    assert make_rooms(settings, tmp_path, only="depth") is None
    results = make_rooms(settings, tmp_path)
    assert {f"{task}_loss" for task in settings.tasks} < set(results)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    model = rc_keras.from_preset(tmp_path / "preset")
    assert model.tasks == list(settings.tasks) and model.bank.ranks and model.bank.donor.task == DONOR
    image = np.zeros((1, *model.image_shape), "uint8")
    assert model.predict(image, verbose=0)["depth"].shape == (1, SIZE, SIZE, 1)
    monkeypatch.setattr("keras.Model.fit", lambda *args, **kwargs: pytest.fail("trained again"))
    assert make_rooms(settings, tmp_path) == results
    with pytest.raises(ValueError, match=r"`out` must be a new folder, or one of the same settings. Received: .*json"):
        make_rooms(Rooms(), tmp_path)


def test_names_of_tasks_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"`only` must be one of .*'semseg'.* Did you mean 'semseg'"):
        make_rooms(Rooms.quick(), tmp_path, only="semsge")
    assert not list(tmp_path.iterdir())
