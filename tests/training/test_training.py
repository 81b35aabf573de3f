"""Training: tasks learn, and never disturb each other."""

import keras
import numpy as np
import pytest
from support.slow import slow
from support.tiny import (
    SIZE,
    TASKS,
    arrays,
    assert_same_bits,
    differs,
    micro_backbone,
    state,
    tiny_data,
    tiny_decoder,
    tiny_model,
)

import rc_keras

LOSS = 1e-5  # relative, float32


def batches(labels, *tasks):
    return {name: labels[name] for name in tasks}


def fit(model, tasks, epochs=1, n=8, **kwargs):
    images, labels = tiny_data(n)
    return model.fit(images, batches(labels, *tasks), batch_size=4, epochs=epochs, shuffle=False, verbose=0, **kwargs)


def predict(model):
    return arrays(model.predict(tiny_data(4, seed=1)[0], verbose=0))


@pytest.fixture(scope="module")
def trained():
    """A model of three tasks, fitted on all of them."""
    model = tiny_model()
    model.compile(optimizer=keras.optimizers.AdamW(1e-3, weight_decay=0.1))
    images, labels = tiny_data()
    history = fit(model, model.tasks, epochs=2, validation_data=(images[:4], {k: v[:4] for k, v in labels.items()}))
    return model, history.history


@pytest.mark.slow
def test_logs_read_like_keras(trained):
    _, history = trained
    names = ["loss", "semseg_loss", "semseg_mean_iou", "edge_loss", "edge_max_f", "normals_loss", "normals_mean_angle"]
    assert set(history) == {*names, *(f"val_{name}" for name in names)}
    assert all(len(values) == 2 and np.isfinite(values).all() for values in history.values())


def test_total_is_the_weighted_sum(trained):
    _, history = trained
    for prefix in ("", "val_"):
        total = sum(task.loss_weight * np.array(history[f"{prefix}{task.name}_loss"]) for task in TASKS[:3])
        np.testing.assert_allclose(history[f"{prefix}loss"], total, rtol=LOSS)


def test_losses_fall():
    model = tiny_model([TASKS[3]])
    model.compile(optimizer=keras.optimizers.Adam(0.1))
    losses = fit(model, ["depth"], epochs=8).history["depth_loss"]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("optimizer", ["AdamW", slow("SGD")])
def test_zero_interference(optimizer):
    """Training, adding, loading and removing one task moves no bit of another, nor of the bank."""
    model = tiny_model([TASKS[0], TASKS[3]])
    slots = {
        "AdamW": keras.optimizers.AdamW(1e-3, weight_decay=0.5),
        "SGD": keras.optimizers.SGD(1e-3, momentum=0.9, weight_decay=0.5, nesterov=True),
    }
    model.compile(optimizer=slots[optimizer])
    fit(model, ["semseg", "depth"])
    model.trainable_tasks = ["depth"]
    fingerprint, semseg, slots = model.bank.fingerprint, state(model.branch("semseg")), optimizer_state(model, "semseg")
    before = predict(model)["semseg"]

    def assert_untouched():
        assert model.bank.fingerprint == fingerprint
        assert_same_bits(state(model.branch("semseg")), semseg)
        assert_same_bits(optimizer_state(model, "semseg"), slots)
        np.testing.assert_array_equal(predict(model)["semseg"], before)

    fit(model, ["semseg", "depth"], epochs=2)  # labels of a task that is not trainable do not train it
    assert_untouched()
    model.trainable_tasks = ["semseg", "depth"]
    fit(model, ["depth"])  # nor does being trainable without labels
    assert_untouched()
    depth = state(model.branch("depth"))
    model.add_task(TASKS[2])
    assert model.trainable_tasks == ["normals"]
    assert_untouched()
    fit(model, ["semseg", "depth", "normals"])
    assert_untouched()
    assert_same_bits(state(model.branch("depth")), depth)
    model.remove_task("normals")
    assert_untouched()


def optimizer_state(model, task):
    optimizer = model.optimizer.of(task, model.branch(task).trainable_variables)
    return arrays({str(i): v for i, v in enumerate(optimizer.variables)})


def test_training_moves_what_it_should():
    model = tiny_model([TASKS[0]])
    model.compile(optimizer="adam")
    before = state(model.branch("semseg"))
    fit(model, ["semseg"])
    moved = set(differs(before, state(model.branch("semseg"))))
    frozen = {f"{name}/kernel" for name in model.bank.convolutions}
    assert moved == set(before) - frozen


def test_joint_training_equals_separate_training():
    """Without a bit of difference: a joint step is one step of each task."""
    bank = rc_keras.FilterBank(micro_backbone())
    images, labels = tiny_data()

    def train(tasks):
        model = tiny_model(tasks, bank=bank)
        model.compile(optimizer=keras.optimizers.AdamW(1e-3, global_clipnorm=0.1))
        model.fit(images, labels, batch_size=4, epochs=2, shuffle=False, verbose=0)
        return model

    joint = train([TASKS[0], TASKS[3]])
    for task in (TASKS[0], TASKS[3]):
        alone = train([task])
        assert_same_bits(state(joint.branch(task.name)), state(alone.branch(task.name)))


@pytest.mark.slow
def test_same_optimizer_object_across_added_tasks(tmp_path):
    optimizer = keras.optimizers.Adam(1e-3)
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss", save_best_only=False)
    model = tiny_model([TASKS[0]])
    model.compile(optimizer=optimizer)
    fit(model, ["semseg"], callbacks=[checkpoint])
    slots = optimizer_state(model, "semseg")
    model.add_task(TASKS[3])
    model.compile(optimizer=optimizer)
    fit(model, ["semseg", "depth"], callbacks=[checkpoint, keras.callbacks.EarlyStopping("loss")])
    assert_same_bits(optimizer_state(model, "semseg"), slots)
    assert int(model.optimizer.of("depth", model.branch("depth").trainable_variables).iterations) == 2
    images, labels = tiny_data(4)
    logs = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert {"semseg_loss", "depth_rmse", "loss"} <= set(logs)
    restored = keras.saving.load_model(tmp_path / "best.keras")
    assert restored.tasks == model.tasks and restored.trainable_tasks == ["depth"]
    assert_same_bits(predict(restored), predict(model))
    fit(model, ["depth"])
    fit(restored, ["depth"])  # with the optimizer state of the checkpoint
    assert_same_bits(predict(restored), predict(model))


def test_learning_rate_is_in_common():
    model = tiny_model([TASKS[0], TASKS[3]])
    model.compile(optimizer=keras.optimizers.SGD(1e-2))
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.0)
    before = arrays({v.path: v for v in model.trainable_variables})
    fit(model, ["semseg", "depth"], callbacks=[schedule])
    assert_same_bits(arrays({v.path: v for v in model.trainable_variables}), before)
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == 0.0


def test_schedules_run_by_the_tasks_own_steps():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [1.0, 0.0])
    model = tiny_model([TASKS[0]])
    model.compile(optimizer=keras.optimizers.SGD(schedule))
    fit(model, ["semseg"], epochs=2)
    model.add_task(TASKS[3])
    before = state(model.branch("depth"))
    fit(model, ["depth"])
    assert differs(before, state(model.branch("depth")))


def test_ignored_labels_train_without_gradient():
    """Zero loss and zero gradient; norms, momentum and decay move."""
    model = tiny_model([TASKS[0]])
    model.compile(optimizer=keras.optimizers.SGD(1e-2, momentum=0.9))
    images, labels = tiny_data()
    ignored = np.full_like(labels["semseg"], 255)
    before = state(model.branch("semseg"))
    history = model.fit(images, {"semseg": ignored}, batch_size=4, verbose=0).history
    assert history["semseg_loss"] == [0.0] == history["loss"]
    moved = differs(before, state(model.branch("semseg")))
    assert moved and all(name.split("/")[1].startswith("moving_") for name in moved)
    assert int(model.optimizer.iterations) == 2


def test_trainable_flags():
    model = tiny_model([TASKS[0], TASKS[3]])
    model.trainable_tasks = ["depth"]
    ours = {id(v) for v in model.branch("depth").trainable_variables}
    model.trainable = False
    assert model.trainable_variables == []
    model.trainable = True
    assert {id(v) for v in model.trainable_variables} == ours
    assert len(model.trainable_variables) + len(model.non_trainable_variables) == len(model.variables)
    head = model.branch("depth").get_layer("depth__decoder_head")
    head.trainable = False  # the user's own choice is kept
    model.trainable_tasks = ["semseg", "depth"]
    assert not {id(v) for v in head.weights} & {id(v) for v in model.trainable_variables}


def test_a_frozen_model_is_not_in_training_mode():
    model = tiny_model([TASKS[0], TASKS[3]])
    model.trainable = False
    before, images = state(model), tiny_data(4)[0]
    answers, expected = model(images, training=True), model(images, training=False)
    for name in model.tasks:
        np.testing.assert_array_equal(answers[name], expected[name])
    assert_same_bits(before, state(model))


def test_frozen_task_is_not_in_training_mode():
    model = tiny_model([TASKS[0], TASKS[3]])
    model.trainable_tasks = ["depth"]
    before = state(model.branch("semseg"))
    model(tiny_data(4)[0], training=True)
    assert_same_bits(state(model.branch("semseg")), before)


def test_compile_overrides_by_task():
    model = tiny_model([TASKS[3]])
    model.compile(
        optimizer="sgd",
        loss={"depth": "mean_squared_error"},
        metrics={"depth": [keras.metrics.MeanAbsoluteError(name="mae")]},
        loss_weights={"depth": 3.0},
    )
    history = fit(model, ["depth"]).history
    assert set(history) == {"loss", "depth_loss", "depth_mae"}
    np.testing.assert_allclose(history["loss"], 3 * np.array(history["depth_loss"]), rtol=LOSS)
    with pytest.raises(ValueError, match="task.*must be one of.*dept"):
        model.compile(optimizer="sgd", loss={"dept": "mean_squared_error"})
    with pytest.raises(ValueError, match="must be a dict"):
        model.compile(optimizer="sgd", loss="mean_squared_error")


def test_regularizers_count():
    model = tiny_model([TASKS[3]])
    modulator = model.branch("depth").get_layer("depth__stem_conv_modulator")
    modulator.direction.regularizer = keras.regularizers.L2(10.0)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    history = fit(model, ["depth"]).history
    penalty = 10.0 * np.sum(keras.ops.convert_to_numpy(modulator.direction) ** 2)
    np.testing.assert_allclose(history["loss"][0], history["depth_loss"][0] + penalty, rtol=LOSS)


def test_sample_weights_by_task():
    model = tiny_model([TASKS[3]])
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    images, labels = tiny_data(4)
    weights = np.array([1.0, 0.0, 0.0, 0.0], "float32")
    everything = model.evaluate(images, batches(labels, "depth"), verbose=0, return_dict=True)
    first = model.evaluate(images[:1], {"depth": labels["depth"][:1]}, verbose=0, return_dict=True)
    weighted = model.evaluate(images, batches(labels, "depth"), sample_weight=weights, verbose=0, return_dict=True)
    np.testing.assert_allclose(weighted["depth_loss"], first["depth_loss"] / 4, rtol=1e-4)
    assert weighted["depth_loss"] < everything["depth_loss"]


def test_train_on_batch_and_generators():
    model = tiny_model([TASKS[3]])
    model.compile(optimizer="sgd")
    images, labels = tiny_data(4)
    logs = model.train_on_batch(images, batches(labels, "depth"), return_dict=True)
    assert set(logs) == {"loss", "depth_loss", "depth_rmse"}

    seen = []

    def generate():
        for index in range(3):
            seen.append(index)
            yield images, batches(labels, "depth")

    model.fit(generate(), steps_per_epoch=3, verbose=0)
    assert seen == [0, 1, 2] and int(model.optimizer.iterations) == 4  # looking at the first batch lost none


def test_classification_beside_dense_tasks():
    model = tiny_model([rc_keras.Task("scene", 4, "classification"), TASKS[3]])
    images, labels = tiny_data(8)
    labels = {**batches(labels, "depth"), "scene": np.arange(8) % 4}
    model.compile(optimizer="adam")
    history = model.fit(images, labels, batch_size=4, verbose=0).history
    assert {"scene_loss", "scene_accuracy", "depth_rmse"} <= set(history)
    assert model.predict(images, verbose=0)["scene"].shape == (8, 4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = tiny_model([TASKS[0], TASKS[2]], backbone=micro_backbone())
        model.compile(optimizer=keras.optimizers.SGD(1e-3), auto_scale_loss=True)
        history = fit(model, ["semseg", "normals"]).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(history["loss"]).all()
    assert all(v.dtype == "float32" for v in model.trainable_variables)
    assert predict(model)["semseg"].dtype == np.float32


def test_only_asked_branches_run():
    model = tiny_model()
    outputs = model(tiny_data(2)[0], tasks=["edge"])
    assert list(outputs) == ["edge"] and tuple(outputs["edge"].shape) == (2, SIZE, SIZE, 1)
    with pytest.raises(ValueError, match="`task` must be one of"):
        model(tiny_data(2)[0], tasks=["edges"])


@pytest.mark.slow
def test_normals_have_unit_length(trained):
    normals = predict(trained[0])["normals"]
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1.0, atol=LOSS)


def test_free_image_size():
    model = tiny_model(
        [TASKS[3]],
        backbone=rc_keras.backbones.resnet((1, 1, 1, 1), (8, 8, 16, 16)),
        image_shape=(None, None, 3),
        decoder=tiny_decoder(),
    )
    for height, width in ((33, 47), (64, 32)):
        assert model.predict(np.zeros((1, height, width, 3)), verbose=0)["depth"].shape == (1, height, width, 1)


def test_averaged_weights_are_put_in_place_for_trained_tasks_only():
    model = tiny_model([TASKS[0], TASKS[3]])
    model.compile(optimizer=keras.optimizers.SGD(1e-2, use_ema=True, ema_momentum=0.5))
    fit(model, ["semseg", "depth"])
    before = state(model.branch("semseg"))
    head = model.branch("semseg").get_layer("semseg__decoder_head").kernel
    head.assign(head + 1.0)
    before["decoder_head/kernel"] = before["decoder_head/kernel"] + np.float32(1)
    fit(model, ["depth"])
    assert_same_bits(state(model.branch("semseg")), before)


def test_optimizer_of_the_model_and_schedule_of_the_user():
    class Schedule(keras.optimizers.schedules.LearningRateSchedule):  # not registered for serialization
        def __call__(self, step):
            return 0.01

        def get_config(self):
            return {}

    model = tiny_model([TASKS[3]])
    model.compile(optimizer=keras.optimizers.SGD(Schedule(), momentum=0.9))
    fit(model, ["depth"])
    slots = optimizer_state(model, "depth")
    model.compile(optimizer=model.optimizer)
    assert_same_bits(optimizer_state(model, "depth"), slots)
    fit(model, ["depth"])


def test_tasks_cannot_change_while_fit_runs():
    model = tiny_model([TASKS[0], TASKS[3]])
    model.compile(optimizer="sgd")
    freeze = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: setattr(model, "trainable_tasks", ["depth"]))
    with pytest.raises(RuntimeError, match="while `fit` runs"):
        fit(model, ["semseg", "depth"], callbacks=[freeze])
    model.trainable_tasks = ["depth"]
    fit(model, ["depth"])


def test_early_stopping_restores_the_best_weights():
    model = tiny_model([TASKS[0], TASKS[3]])
    model.compile(optimizer=keras.optimizers.SGD(1e3))  # the first epoch is the best
    images, labels = tiny_data()
    stop = keras.callbacks.EarlyStopping("val_depth_rmse", mode="min", patience=1, restore_best_weights=True)
    history = fit(model, ["depth"], epochs=6, validation_data=(images, labels), callbacks=[stop])
    assert len(history.epoch) < 6
    logs = model.evaluate(images, labels, batch_size=8, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["depth_rmse"], min(history.history["val_depth_rmse"]), rtol=1e-4)


def test_log_names_are_unique():
    tasks = [
        rc_keras.Task("a", 1, "depth", metrics=[keras.metrics.Mean(name="b_loss")]),
        rc_keras.Task("a_b", 1, "depth"),
    ]
    model = tiny_model(tasks)
    model.compile(optimizer="sgd")
    with pytest.raises(ValueError, match="Received twice: .*a_b_loss"):
        model.fit(tiny_data(4)[0], {name: tiny_data(4)[1]["depth"] for name in model.tasks}, verbose=0)


def test_metrics_by_name_and_leftovers():
    model = tiny_model([TASKS[0], TASKS[3]])
    with pytest.raises(ValueError, match="lists as values"):
        model.compile(optimizer="sgd", metrics={"depth": "mse"})
    model.compile(optimizer="sgd", metrics={"depth": ["mse"]}, loss_weights={"semseg": 7.0})
    assert "depth_mean_squared_error" in fit(model, ["depth"]).history
    model.remove_task("semseg")
    model.add_task(TASKS[0])
    history = fit(model, ["semseg"]).history
    np.testing.assert_allclose(history["loss"], history["semseg_loss"], rtol=LOSS)


def test_a_task_whose_branch_is_frozen_beside_one_that_trains():
    model = tiny_model(TASKS[2:])
    model.branch("normals").trainable = False
    model.compile(keras.optimizers.SGD(1e-3))
    before = {name: state(model.branch(name)) for name in model.tasks}
    fit(model, model.tasks)
    assert_same_bits(state(model.branch("normals")), before["normals"])
    assert differs(state(model.branch("depth")), before["depth"])


def test_with_another_floatx_than_the_layers():
    model = tiny_model(TASKS[1:])
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        model.compile(keras.optimizers.SGD(1e-3))
        fit(model, model.tasks)
        images, labels = tiny_data(8)
        results = model.evaluate(images, batches(labels, *model.tasks), verbose=0, return_dict=True)
    finally:
        keras.config.set_floatx(before)
    assert all(np.isfinite(value) for value in results.values())
