"""An optimizer for each task: each task trains as it does alone with its own."""

import keras
import numpy as np
import pytest
from support.small import TASKS, small_data, small_model
from support.tiny import TASKS as TINY_TASKS
from support.tiny import assert_same_bits, differs, state, tiny_data, tiny_model

import rc_keras

STEP = 1e-6  # float32, a few steps, weights of about 1: plain Keras sums the loss and its gradients in another order
EXTRA = rc_keras.Task("width", 1, "depth")


def makers():
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    return {
        "depth": keras.optimizers.AdamW(1e-2, weight_decay=0.1, global_clipnorm=0.5),
        "height": keras.optimizers.SGD(decay, momentum=0.9),
    }


def fit(model, tasks=("depth", "height"), epochs=2, **kwargs):
    images, labels = small_data(8)
    labels = {name: labels.get(name, labels["depth"]) for name in tasks}
    return model.fit(images, labels, batch_size=4, epochs=epochs, shuffle=False, verbose=0, **kwargs).history


def weights(model, task):
    return state(model.branch(task))


def test_joint_training_is_each_task_alone():
    joint = small_model()
    joint.compile(makers())
    fit(joint)
    for task in TASKS:
        alone = small_model([task])
        alone.compile(makers()[task.name])
        fit(alone, [task.name])
        assert_same_bits(weights(joint, task.name), weights(alone, task.name))


def test_each_task_trains_as_plain_keras_does():
    images, labels = small_data()
    model = small_model()
    model.compile(makers(), run_eagerly=True)
    for _ in range(2):
        model.train_on_batch(images, labels)
    for task in TASKS:
        plain = small_model().branch(task.name)
        plain.compile(makers()[task.name], loss=task.make_loss())
        for _ in range(2):
            plain.train_on_batch(images, labels[task.name])
        for ours, theirs in zip(model.branch(task.name).weights, plain.weights, strict=True):
            ours, theirs = (keras.ops.convert_to_numpy(v) for v in (ours, theirs))
            np.testing.assert_allclose(ours, theirs, atol=STEP)


def test_names_and_an_entry_for_all_others():
    model = small_model()
    model.compile({"all": keras.optimizers.SGD(0.1), "height": "adam"}, run_eagerly=True)
    fit(model)
    for task, kind in (("depth", keras.optimizers.SGD), ("height", keras.optimizers.Adam)):
        assert isinstance(model.optimizer.of(task, model.branch(task).trainable_variables), kind)
    one_for_all = small_model()
    one_for_all.compile({"all": keras.optimizers.SGD(0.1)}, run_eagerly=True)
    fit(one_for_all)
    assert_same_bits(weights(model, "depth"), weights(one_for_all, "depth"))
    assert float(one_for_all.optimizer.learning_rate) == np.float32(0.1)


@pytest.mark.parametrize("optimizer, message", [({}, "`optimizer` must be one"), ({"dpth": "sgd"}, "mean 'depth'")])
def test_wrong_keys_are_refused(optimizer, message):
    model = small_model()
    with pytest.raises(ValueError, match=message):
        model.compile(optimizer)
    assert not model.compiled
    model.compile(keras.optimizers.serialize(keras.optimizers.SGD(0.25)))  # Keras's own dictionaries are taken
    assert float(model.optimizer.learning_rate) == 0.25


def test_a_task_without_an_optimizer_is_not_trained():
    model = small_model()
    model.compile({"depth": "sgd"})
    before = weights(model, "depth")
    with pytest.raises(ValueError, match="an entry for task 'height': 'height', or 'all'"):
        fit(model)
    assert_same_bits(weights(model, "depth"), before)
    fit(model, ["depth"])  # only what is trained needs one
    assert differs(weights(model, "depth"), before)


@pytest.mark.parametrize("method", ["multi_task", pytest.param("squeeze_excite", marks=pytest.mark.slow)])
def test_what_tasks_share_is_trained_by_the_entry_for_all(method):
    images, labels = tiny_data(4)
    tasks = [TINY_TASKS[0], TINY_TASKS[3]]
    common, own = keras.optimizers.SGD(1e-3, momentum=0.9), keras.optimizers.Adam(1e-2)
    model = tiny_model(tasks, method=method)
    model.compile({"semseg": own, "depth": own})
    with pytest.raises(ValueError, match="for what the tasks train jointly: 'all'"):
        model.train_on_batch(images, labels)
    model.compile({"all": common, "semseg": own, "depth": own})
    chosen = tiny_model(tasks, method=method)
    shared = {id(v) for v in chosen.jointly_trained}
    optimizers = keras.optimizers.SGD(1e-3, momentum=0.9), keras.optimizers.Adam(1e-2)
    chosen.compile(keras.optimizers.MultiOptimizer(lambda v: optimizers[id(v) not in shared]))
    for each in (model, chosen):
        for _ in range(2):
            each.train_on_batch(images, labels)
    for task in tasks:
        assert_same_bits(state(model.branch(task.name)), state(chosen.branch(task.name)))


def test_an_added_task_gets_its_optimizer_and_others_keep_their_state():
    given = makers()
    model, other = small_model(), small_model()
    model.compile(given, run_eagerly=True)
    other.compile(makers(), run_eagerly=True)
    fit(model)
    fit(other)
    model.add_task(EXTRA)
    with pytest.raises(ValueError, match="an entry for task 'width'.*Compile again"):
        fit(model, ["width"])
    model.compile({**given, "width": keras.optimizers.SGD(0.1)}, run_eagerly=True)
    fit(model, ["width"])
    model.trainable_tasks = ["depth", "height", "width"]
    model.compile({**given, "width": keras.optimizers.SGD(0.1)}, run_eagerly=True)  # of `width` alone it starts anew
    fit(model)
    fit(other)
    for task in TASKS:
        assert_same_bits(weights(model, task.name), weights(other, task.name))
    assert model.optimizer.tasks == ["depth", "height"]


@pytest.mark.parametrize("container", ["model.keras", "model.weights.h5"])
def test_saved_training_goes_on(container, tmp_path):
    model = small_model()
    model.compile(makers(), run_eagerly=True)
    fit(model)
    model.optimizer.prototypes["depth"].learning_rate = 0.5
    if container == "model.keras":
        model.save(tmp_path / container)
        loaded = keras.saving.load_model(tmp_path / container)
    else:
        model.save_weights(tmp_path / container)
        loaded = small_model()
        loaded.compile(makers(), run_eagerly=True)
        loaded.load_weights(tmp_path / container)
    assert float(loaded.optimizer.prototypes["depth"].learning_rate) == 0.5
    for each in (model, loaded):
        fit(each)
    for task in TASKS:
        assert_same_bits(weights(model, task.name), weights(loaded, task.name))


def test_a_model_whose_tasks_with_optimizers_went_can_be_saved(tmp_path):
    model = small_model()
    model.compile({"depth": "sgd"})
    model.remove_task("depth")
    model.save(tmp_path / "model.keras")
    assert not keras.saving.load_model(tmp_path / "model.keras").compiled


def test_an_interrupted_fit_goes_on(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    images, labels = small_data(8)
    models = [small_model() for _ in range(3)]
    for model in models:
        model.compile(makers(), run_eagerly=True)

    def run(model, *callbacks):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        model.fit(images, labels, batch_size=4, epochs=3, shuffle=False, verbose=0, callbacks=[backup, *callbacks])

    with pytest.raises(KeyboardInterrupt):
        run(models[0], Stop())
    run(models[1])
    fit(models[2], epochs=3)
    for task in TASKS:
        assert_same_bits(weights(models[1], task.name), weights(models[2], task.name))


def rates(model):
    return {task: float(optimizer.learning_rate) for task, optimizer in model.optimizer.prototypes.items()}


def test_callbacks_set_the_rates_of_the_tasks_that_are_trained():
    model = small_model()
    model.compile({"depth": keras.optimizers.SGD(0.5), "height": keras.optimizers.Adam(0.25)}, run_eagerly=True)
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    history = fit(model, callbacks=[halve])
    assert rates(model) == {"depth": 0.125, "height": 0.0625}
    assert history["learning_rate_depth"] == [0.25, 0.125] and history["learning_rate_height"] == [0.125, 0.0625]
    plateau = keras.callbacks.ReduceLROnPlateau("depth_loss", mode="min", factor=0.5, patience=1, min_delta=1e9)
    fit(model, ["depth"], epochs=3, callbacks=[plateau])
    assert rates(model) == {"depth": 0.03125, "height": 0.0625}


def test_a_rate_that_tasks_have_in_common_is_set_once():
    model = small_model()
    common = keras.optimizers.SGD(0.5)
    model.compile({"depth": common, "height": common}, run_eagerly=True)
    history = fit(model, epochs=1, callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)])
    assert float(common.learning_rate) == 0.25 and history["learning_rate_depth_height"] == [0.25]


def test_a_rate_set_at_an_optimizer_is_that_of_its_task():
    model, other = small_model(), small_model()
    model.compile({"depth": keras.optimizers.SGD(0.1), "height": keras.optimizers.SGD(0.1)}, run_eagerly=True)
    other.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    fit(model)
    fit(other)
    model.optimizer.prototypes["height"].learning_rate = 0.0
    height = weights(model, "height")
    fit(model)
    fit(other)
    assert_same_bits(weights(model, "depth"), weights(other, "depth"))
    trainable = [name for name in height if not name.split("/")[-1].startswith("moving")]
    assert not set(differs(weights(model, "height"), height)) & set(trainable)


def test_there_is_no_rate_of_all():
    model = small_model()
    model.compile(makers(), run_eagerly=True)
    for ask in (lambda o: o.learning_rate, lambda o: setattr(o, "learning_rate", 0.1), lambda o: o.prototype):
        with pytest.raises(ValueError, match=r"model.optimizer.prototypes\[task\].*\['depth', 'height'\]"):
            ask(model.optimizer)


def test_averages_of_one_task_come_into_place():
    """`use_ema` of one task's optimizer ends `fit` as it ends the task's alone, and is none of the other's."""
    averaging = {
        "depth": keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5),
        "height": keras.optimizers.SGD(0.1),
    }
    model = small_model()
    model.compile(averaging, run_eagerly=True)
    fit(model)
    for task in TASKS:
        alone = small_model([task])
        alone.compile(averaging[task.name], run_eagerly=True)
        fit(alone, [task.name])
        assert_same_bits(weights(model, task.name), weights(alone, task.name))
