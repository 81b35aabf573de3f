"""Tasks that start from another one, and how the one to start from is found."""

import json

import keras
import numpy as np
import pytest
from support.other_backends import run
from support.tiny import (
    TASKS,
    MicroDecoder,
    arrays,
    assert_same_bits,
    differs,
    state,
    tiny_data,
    tiny_decoder,
    tiny_model,
)

import rc_keras
from rc_keras.methods import METHODS
from rc_keras.training import nearest_task
from rc_keras.training.nearest_task import IMAGES

FROZEN = [name for name, method in METHODS.items() if method.shared_encoder is None]
SHARED = [name for name in METHODS if name not in FROZEN]
HEAD = ["decoder_head/bias", "decoder_head/kernel"]
SEMSEG, EDGE, NORMALS, DEPTH = TASKS
PARTS = rc_keras.Task("parts", 5, "segmentation")
PLACE = rc_keras.Task("place", 4, "classification")
KIND = rc_keras.Task("kind_of_place", 4, "classification")
ROUNDING = 1e-5
NEARLY_BEST = 1.15  # of the least loss, for a head fitted on some hundred images


def moved(tasks=TASKS[:2], **kwargs):
    """A model whose tasks have left their start, norms included."""
    model = tiny_model(tasks, **kwargs)
    generator = np.random.default_rng(1)
    for name in model.tasks:
        for variable in model.branch(name).variables:
            if f"{name}__" in variable.path and "seed" not in variable.name:
                noise = generator.uniform(0.0, 0.2, variable.shape).astype("float32")
                variable.assign(keras.ops.convert_to_numpy(variable) + noise)
    return model


def everything(model):
    """All weights of a model and what its predictions are."""
    return {**arrays(model._named_variables()), "bank": np.array(model.bank.fingerprint)}


@pytest.mark.parametrize("method", FROZEN)
def test_all_but_the_head_is_copied(method):
    model, fresh = moved(method=method), tiny_model(TASKS[:2], method=method)
    before = everything(model)
    model.add_task(DEPTH, init_from="semseg")
    fresh.add_task(DEPTH)
    started, source, cold = (state(b) for b in (model.branch("depth"), model.branch("semseg"), fresh.branch("depth")))
    assert sorted(differs(started, source)) == HEAD
    assert not [name for name in HEAD if name in differs(started, cold)]
    assert_same_bits({k: v for k, v in everything(model).items() if k in before}, before)
    assert model.trainable_tasks == ["depth"]


def test_a_start_from_another_task_is_its_function_up_to_the_head():
    """With the head of the source the new task answers what the source answers, and then goes its own way."""
    model = moved()
    model.add_task(PARTS, init_from="semseg")
    for new, old in zip(
        model.branch("parts").get_layer("parts__decoder_head").weights,
        model.branch("semseg").get_layer("semseg__decoder_head").weights,
        strict=True,
    ):
        new.assign(keras.ops.convert_to_numpy(old))
    images, labels = tiny_data(4)
    answers = model.predict(images, verbose=0)
    np.testing.assert_array_equal(answers["parts"], answers["semseg"])
    before = state(model.branch("semseg"))
    model.compile("adam")
    model.fit(images, {"parts": labels["semseg"]}, batch_size=4, verbose=0)
    assert_same_bits(state(model.branch("semseg")), before)
    assert differs(state(model.branch("parts")), before)


def test_a_start_is_saved_as_any_task(tmp_path):
    model = moved()
    model.add_task(DEPTH, init_from="edge")
    model.save_task("depth", tmp_path / "depth.rctask")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_bits(everything(loaded), everything(model))
    model.remove_task("depth")
    model.load_task(tmp_path / "depth.rctask")
    assert_same_bits(everything(loaded), everything(model))


def test_the_decoder_is_that_of_the_start():
    model = moved(TASKS[:1])
    model.add_task(EDGE, tiny_decoder())
    model.add_task(DEPTH, init_from="edge")
    assert isinstance(model.decoder("depth"), rc_keras.decoders.DeepLabV3Plus)
    assert sorted(differs(state(model.branch("depth")), state(model.branch("edge")))) == HEAD


def test_classification_starts_from_classification():
    model = moved([SEMSEG, PLACE])
    model.add_task(KIND, init_from="place")
    assert set(differs(state(model.branch("kind_of_place")), state(model.branch("place")))) <= set(HEAD)


@pytest.mark.parametrize(
    "task, options, message",
    [
        (DEPTH, {"init_from": "semsegg"}, r"`init_from` must be one of .*Did you mean 'semseg'"),
        (DEPTH, {"init_from": "depth"}, r"`init_from` must be one of"),
        (EDGE, {"init_from": "semseg"}, "Task names must be unique"),
        (
            DEPTH,
            {"init_from": "semseg", "decoder": tiny_decoder()},
            r"whose decoder has the layers.*\n  missing: decod",
        ),
        (DEPTH, {"init_from": "place"}, r"both dense.*'place' is of kind classification, 'depth' is of kind depth"),
        (KIND, {"init_from": "edge"}, "both dense"),
        (DEPTH, {"init_from": "nearest"}, "`data` must be given with init_from='nearest'"),
        (DEPTH, {"data": tiny_data(2)}, "`data` must be None without init_from='nearest'"),
        (DEPTH, {"init_from": "nearest", "data": (tiny_data(2)[0], {"edge": 0})}, r"one of the tasks \['depth'\]"),
        (DEPTH, {"init_from": "nearest", "data": iter(())}, "at least one batch"),
        (DEPTH, {"init_from": "nearest", "data": tiny_data(2), "decoder": tiny_decoder()}, "a decoder like that"),
    ],
)
def test_what_cannot_start_leaves_the_model_as_it_was(task, options, message):
    model = tiny_model([SEMSEG, EDGE, PLACE])
    model.trainable_tasks = ["edge"]
    before = everything(model)
    with pytest.raises(ValueError, match=message):
        model.add_task(task, **options)
    assert model.tasks == ["semseg", "edge", "place"] and model.trainable_tasks == ["edge"]
    assert_same_bits(everything(model), before)


@pytest.mark.parametrize("method", SHARED)
@pytest.mark.parametrize("init_from", ["semseg", "nearest"])
def test_tasks_of_a_shared_encoder_have_no_start(method, init_from):
    model = tiny_model(TASKS[:2], method=method)
    data = {"data": tiny_data(2)} if init_from == "nearest" else {}
    with pytest.raises(ValueError, match=f"`init_from` must be None unless.*method {method!r}"):
        model.add_task(DEPTH, init_from=init_from, **data)
    assert model.tasks == ["semseg", "edge"]


# The nearest task


def telling_data(model, name, n=32, seed=0):
    """Depths that are a linear function of what the decoder of a task hands to its head."""
    images = np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3)).astype("uint8")
    branch = model.branch(name)
    features = keras.Model(branch.inputs[0], branch.get_layer(f"{name}__decoder_head").input)
    maps = features.predict(images, verbose=0)
    depth = 2.0 + 0.5 * maps @ np.linspace(-1.0, 1.0, maps.shape[-1])[:, None]
    return images, {"depth": np.asarray(keras.ops.image.resize(depth, (32, 32))).astype("float32")}


@pytest.mark.parametrize("nearest", ["semseg", pytest.param("edge", marks=pytest.mark.slow)])
def test_the_nearest_task_is_the_one_whose_features_say_most(nearest):
    model = moved()
    images, labels = telling_data(model, nearest)
    labels = {"depth": np.maximum(labels["depth"], 0.1)}
    twin = moved()
    found = model.add_task(DEPTH, init_from="nearest", data=(images, labels))
    twin.add_task(DEPTH, init_from=nearest)
    assert found.nearest == nearest and list(found.losses) == [nearest, ({"semseg", "edge"} - {nearest}).pop()]
    assert list(found.losses.values()) == sorted(found.losses.values()) and found.images == len(images)
    assert str(found).startswith(f"depth starts from {nearest}: ") and " %" in str(found)
    assert_same_bits(everything(model), everything(twin))
    json.dumps(found.losses)


@pytest.fixture
def short_search(monkeypatch):
    monkeypatch.setattr(nearest_task, "_TURNS", 2)


def test_the_search_leaves_no_trace(short_search):
    model, images = moved(), tiny_data(8)[0]
    labels = tiny_data(8)[1]
    model.compile("adam")
    model.fit(images, {name: labels[name] for name in model.tasks}, batch_size=4, verbose=0)
    before, answers = everything(model), model.predict(images, verbose=0)
    slots = arrays({v.path: v for v in model.optimizer.variables})
    found = model.add_task(DEPTH, init_from="nearest", data=(images, {"depth": labels["depth"]}))
    assert model.optimizer.tasks == ["semseg", "edge"]
    assert_same_bits(arrays({v.path: v for v in model.optimizer.variables}), slots)
    assert_same_bits({k: v for k, v in everything(model).items() if k in before}, before)
    after = model.predict(images, verbose=0)
    assert_same_bits({name: after[name] for name in answers}, answers)
    branch = model.branch("depth")
    assert all(layer.trainable for layer in branch.layers if layer.name.startswith("depth__") and layer.weights)
    model.remove_task("depth")
    again = model.add_task(DEPTH, init_from="nearest", data=(images, {"depth": labels["depth"]}))
    assert again == found and list(again.losses.values()) == list(found.losses.values())


def test_the_loss_is_that_of_the_best_head():
    """Of labels that are a linear function of the features but for ±0.5 the best head has an error of 0.5."""
    model = moved(TASKS[:1])
    images, labels = telling_data(model, "semseg")
    noise = np.random.default_rng(5).choice([-0.5, 0.5], labels["depth"].shape)
    labels = {"depth": (labels["depth"] + 4.0 + noise).astype("float32")}
    found = model.add_task(DEPTH, init_from="nearest", data=(images, labels))
    assert 0.5 - ROUNDING < found.losses["semseg"] < NEARLY_BEST * 0.5


def test_equal_features_have_equal_losses(short_search):
    """Each head starts afresh, whatever was fitted before it."""
    model = moved()
    model.add_task(PARTS, init_from="semseg")
    losses = model.add_task(DEPTH, init_from="nearest", data=tiny_data(8)).losses
    assert losses["parts"] == losses["semseg"] != losses["edge"]


def test_every_form_of_data_is_read_from_the_front(short_search):
    images, labels = tiny_data(8)
    expected = moved().add_task(DEPTH, init_from="nearest", data=(images, labels))

    class Sequence(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return images, labels

    forms = [Sequence(), iter([(images, labels)]), [(images[:8], labels, {"depth": np.ones(8)})]]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        forms.append(tf.data.Dataset.from_tensor_slices((images, labels)).batch(8))
    for data in forms:
        assert moved().add_task(DEPTH, init_from="nearest", data=data).nearest == expected.nearest

    def endless():
        while True:
            read.append(len(images))
            yield images, labels

    read = []
    assert moved(TASKS[:1]).add_task(DEPTH, init_from="nearest", data=endless()).images == IMAGES
    assert sum(read) == IMAGES


def test_tasks_with_other_decoders_are_measured_each_with_its_own(short_search):
    model = moved([SEMSEG, PLACE])
    model.add_task(EDGE, tiny_decoder())
    found = model.add_task(DEPTH, init_from="nearest", data=tiny_data(8))
    assert set(found.losses) == {"semseg", "edge"}
    assert model.decoder("depth") is model.decoder(found.nearest)
    only = model.add_task(NORMALS, MicroDecoder(), init_from="nearest", data=tiny_data(8))
    assert "edge" not in only.losses


def test_a_fresh_start_is_the_default():
    model, untrained = moved(), tiny_model(TASKS[:1])
    assert model.add_task(DEPTH) is None
    untrained.add_task(DEPTH)
    assert_same_bits(state(model.branch("depth")), state(untrained.branch("depth")))


PROGRAM = """
from rc_keras.training import nearest_task
nearest_task._TURNS = 2
import numpy as np
from support.tiny import TASKS, assert_same_bits, state, tiny_data, tiny_model

images, labels = tiny_data(8)
for method in ("rcm",):
    model = tiny_model(TASKS[:2], method=method)
    model.compile("adam")
    model.fit(images, {name: labels[name] for name in model.tasks}, batch_size=4, verbose=0)
    before = {name: state(model.branch(name)) for name in model.tasks}
    found = model.add_task(TASKS[3], init_from="nearest", data=(images, labels))
    assert set(found.losses) == {"semseg", "edge"} and all(np.isfinite(list(found.losses.values())))
    model.add_task(TASKS[2], init_from="edge")
    for name, weights in before.items():
        assert_same_bits(state(model.branch(name)), weights)
    answers = model.predict(images, batch_size=4, verbose=0, tasks=["depth", "edge"])
    whole = model.predict(images, batch_size=4, verbose=0)
    assert list(answers) == ["depth", "edge"] and set(whole) == set(model.tasks)
    for name in answers:
        np.testing.assert_allclose(answers[name], whole[name], rtol=1e-5, atol=1e-5)
    model.fit(images, labels, batch_size=4, verbose=0)
print("all well")
"""


@pytest.mark.slow
def test_on_other_backends(backend):
    result = run(["-c", PROGRAM], backend)
    assert result.stdout.strip().endswith("all well"), result.stderr[-4000:]


ON_TWO_REPLICAS = """
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from support.tiny import TASKS, tiny_data, tiny_model

found = []
for strategy in (tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), tf.distribute.get_strategy()):
    with strategy.scope():
        model = tiny_model(TASKS[:2])
    found.append(model.add_task(TASKS[3], init_from="nearest", data=tiny_data(8)))
for name, loss in found[0].losses.items():
    np.testing.assert_allclose(loss, found[1].losses[name], rtol=1e-3)
print("all well")
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_on_two_replicas():
    result = run(["-c", ON_TWO_REPLICAS], "tensorflow")
    assert result.stdout.strip().endswith("all well"), result.stderr[-4000:]
