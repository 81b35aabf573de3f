"""The competitor methods: what they share, what they cost, and whom training disturbs."""

import keras
import numpy as np
import pytest
from support.slow import slow
from support.tiny import (
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
from rc_keras.methods import METHODS, get_method

SLOW = [slow(name) for name in ("parallel_adapter", "batch_norm", "channel_modulation", "low_rank(2)")]
FROZEN = ("series_adapter", *SLOW)
SHARED = ("multi_task", "squeeze_excite", "fine_tune")
ROUNDING = 1e-4  # of the largest value, after a few steps in float32


def fit(model, *tasks, epochs=1):
    images, labels = tiny_data()
    labels = {name: labels[name] for name in tasks}
    return model.fit(images, labels, batch_size=4, epochs=epochs, shuffle=False, verbose=0).history


def predict(model):
    return arrays(model.predict(tiny_data(4, seed=1)[0], verbose=0))


def compiled(method, tasks=TASKS[:2], optimizer=None, **kwargs):
    model = tiny_model(tasks, method=method, **kwargs)
    model.compile(optimizer=optimizer or keras.optimizers.AdamW(1e-3, weight_decay=0.1))
    return model


@pytest.mark.parametrize("method", FROZEN)
def test_life_with_a_frozen_bank(method, tmp_path):
    """Tasks train, come, go and are stored without a bit of difference to another, or to the bank."""
    model = compiled(method)
    fingerprint = model.bank.fingerprint
    start = state(model.branch("edge"))
    fit(model, "semseg", "edge")
    kernels = {f"{name}/kernel" for name in model.bank.convolutions}
    assert set(differs(start, state(model.branch("edge")))) == set(start) - kernels
    semseg, before = state(model.branch("semseg")), predict(model)["semseg"]
    model.trainable_tasks = ["edge"]
    fit(model, "semseg", "edge")
    model.add_task(TASKS[3])
    fit(model, "depth")
    model.save(tmp_path / "model.keras")
    model.save_task("edge", tmp_path / "edge.rctask")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.bank.method == model.bank.method == get_method(method)
    predictions = predict(model)
    assert_same_bits(predict(loaded), predictions)
    model.remove_task("edge")
    model.load_task(tmp_path / "edge.rctask")
    assert_same_bits(predict(model), predictions)
    assert model.bank.fingerprint == fingerprint
    assert_same_bits(state(model.branch("semseg")), semseg)
    np.testing.assert_array_equal(predictions["semseg"], before)


def test_a_saved_bank_brings_the_adapters(tmp_path):
    bank = rc_keras.FilterBank(micro_backbone(), "low_rank(2)")
    bank.save(tmp_path / "bank.safetensors")
    models = [tiny_model(TASKS[:1], method="low_rank(2)", bank=each) for each in (bank, tmp_path / "bank.safetensors")]
    assert_same_bits(predict(models[0]), predict(models[1]))
    with pytest.raises(ValueError, match=r"method 'low_rank\(8\)'"):
        tiny_model(TASKS[:1], method="low_rank", bank=bank)


def test_names_of_methods():
    assert get_method("low_rank") == METHODS["low_rank"] == get_method("low_rank(8)")
    assert get_method("low_rank(3)").name == "low_rank(3)"
    with pytest.raises(ValueError, match="at least 1"):
        get_method("low_rank(0)")
    for name in ("low_rank(x)", "rcm(3)", "paralel_adapter", None):
        with pytest.raises(ValueError, match="`method` must be one of"):
            get_method(name)


def test_low_rank_starts_from_names():
    model = tiny_model(TASKS[:2], method="low_rank(2)")
    downs = {name: state(model.branch(name))["low_conv_low_rank/down"] for name in model.tasks}
    assert not np.array_equal(downs["semseg"], downs["edge"])
    again = state(tiny_model(TASKS[1::-1], method="low_rank(2)").branch("edge"))["low_conv_low_rank/down"]
    np.testing.assert_array_equal(again, downs["edge"])


# A shared encoder


@pytest.mark.parametrize("method", ["multi_task", "fine_tune"])
def test_training_one_task_disturbs_the_other(method):
    model = compiled(method)
    fit(model, "semseg", "edge")
    semseg, before = state(model.branch("semseg")), predict(model)["semseg"]
    model.add_task(TASKS[3])
    assert model.trainable_tasks == ["depth"]
    fit(model, "depth")
    moved = differs(semseg, state(model.branch("semseg")))
    assert "stem_conv/kernel" in moved and "stem_norm/moving_mean" in moved
    assert not any(name.startswith("decoder") for name in moved)
    assert not np.array_equal(predict(model)["semseg"], before)


def test_squeeze_excite_shares_kernels_only():
    model = compiled("squeeze_excite")
    fit(model, "semseg", "edge")
    semseg = state(model.branch("semseg"))
    model.trainable_tasks = ["edge"]
    fit(model, "edge")
    kernels = {f"{name}_conv/kernel" for name in ("stem", "low", "shortcut", "high")}
    assert set(differs(semseg, state(model.branch("semseg")))) == kernels
    report = model.parameter_report()
    assert report.bank == 8 * 48 + 8 * 72 + 12 * 8 + 12 * 72
    assert report.tasks["edge"].modulators == 2 * 12 + 1 + 12
    assert report.tasks["edge"].norms == 2 * (8 + 8 + 12 + 12)


def test_residual_branches_are_gated_and_shortcuts_are_not():
    model = tiny_model(TASKS[:1], method="squeeze_excite")
    gate = model.branch("semseg").get_layer("semseg__add_squeeze_excite")
    before = predict(model)["semseg"]
    gate.excite_bias.assign(np.full(12, -100.0))  # the gate shuts
    shut = predict(model)["semseg"]
    assert not np.array_equal(shut, before)
    kernel = model.branch("semseg").get_layer("high_conv").kernel
    kernel.assign(keras.ops.zeros_like(kernel))
    np.testing.assert_allclose(predict(model)["semseg"], shut, atol=ROUNDING)
    with pytest.raises(ValueError, match="residual blocks"):
        image = keras.Input((8, 8, 3))
        rc_keras.FilterBank(keras.Model(image, keras.layers.Conv2D(4, 3)(image)), "squeeze_excite")


def test_a_joint_step_sums_the_gradients():
    """With plain SGD, the encoder moves by the sum of the moves each task alone would make."""

    def step(method, tasks):
        model = compiled(method, tasks, keras.optimizers.SGD(1.0))
        before = state(model.branch(tasks[0].name))
        images, labels = tiny_data(4)
        model.train_on_batch(images, {task.name: labels[task.name] for task in tasks})
        after = state(model.branch(tasks[0].name))
        return {name: after[name] - before[name] for name in before}, model

    joint, model = step("multi_task", TASKS[:2])
    semseg, edge = (step("fine_tune", [task])[0] for task in TASKS[:2])
    encoder = [name for name in joint if not name.startswith("decoder")]
    for name in encoder:
        expected = semseg[name] if "moving" in name else semseg[name] + edge[name]  # statistics move once
        np.testing.assert_allclose(joint[name], expected, atol=ROUNDING * np.abs(expected).max(), err_msg=name)
    assert any("moving" in name and np.any(joint[name]) for name in encoder)
    for name in set(joint) - set(encoder):
        np.testing.assert_allclose(joint[name], semseg[name], atol=ROUNDING * np.abs(semseg[name]).max(), err_msg=name)
    assert sorted(model.optimizer.tasks) == ["edge", "semseg"]


@pytest.mark.parametrize("method", [SHARED[0], *(pytest.param(m, marks=pytest.mark.slow) for m in SHARED[1:])])
def test_a_shared_encoder_on_disk(method, tmp_path):
    model = compiled(method)
    model.add_task(TASKS[3])
    model.trainable_tasks = model.tasks
    history = fit(model, *model.tasks, epochs=2)
    assert history["loss"][1] < history["loss"][0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.bank.method.name == method
    assert_same_bits(predict(loaded), predict(model))
    for each in (model, loaded):
        fit(each, *model.tasks)
    assert_same_bits(predict(loaded), predict(model))
    model.remove_task("semseg")
    assert set(predict(model)) == {"edge", "depth"}
    assert {"loss", "depth_loss", "depth_rmse"} == set(fit(model, "depth"))
    images, labels = tiny_data(4)
    logs = model.evaluate(images, labels, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["loss"], 50 * logs["edge_loss"] + logs["depth_loss"], rtol=ROUNDING)


@pytest.mark.parametrize("method", SHARED)
def test_tasks_of_a_shared_encoder_are_in_no_pack(method, tmp_path):
    tiny_model(TASKS[:1]).save_task("semseg", tmp_path / "semseg.rctask")
    model = tiny_model(TASKS[:2], method=method)
    for act in (
        lambda: model.save_task("edge", tmp_path / "edge.rctask"),
        lambda: model.load_task(tmp_path / "semseg.rctask", overwrite=True),
        lambda: model.save_to_preset(tmp_path / "preset"),
    ):
        with pytest.raises(ValueError, match=f"'{method}', whose tasks train an encoder in common"):
            act()
    assert not (tmp_path / "edge.rctask").exists() and not (tmp_path / "preset").exists()


def test_regularization_of_a_shared_encoder_counts_once():
    backbone = micro_backbone()
    backbone.get_layer("low_conv").kernel_regularizer = keras.regularizers.L2(1.0)
    backbone = keras.models.clone_model(backbone)
    model = rc_keras.build(TASKS[:2], backbone, tiny_decoder(), image_shape=(32, 32, 3), method="multi_task", seed=0)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    images, labels = tiny_data()
    labels = {name: labels[name] for name in model.tasks}
    penalty = float(sum(model.joint_branch(model.tasks).losses))
    assert penalty > 0.1
    logs = model.evaluate(images, labels, batch_size=len(images), verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["semseg_loss"] + 50 * logs["edge_loss"] + penalty, rel=1e-5)


def test_models_of_one_bank_share_no_encoder():
    bank = rc_keras.FilterBank(micro_backbone(), "multi_task")
    first, second = (tiny_model(TASKS[:1], method="multi_task", bank=bank) for _ in range(2))
    assert not {id(v) for v in first.variables} & {id(v) for v in second.variables}


def test_a_joint_step_with_scaled_losses():
    """Scales differ from task to task, and cancel."""
    images, labels = tiny_data(4)
    labels = {task.name: labels[task.name] for task in TASKS[:2]}
    outputs = []
    for scaled in (False, True):
        sgd = keras.optimizers.SGD(0.01)
        model = compiled("multi_task", optimizer=keras.optimizers.LossScaleOptimizer(sgd) if scaled else sgd)
        model._prepare(model.tasks)
        if scaled:
            for name, scale in (("edge", 64.0), ("all", 2.0**12)):
                model.optimizer._held.states[name].dynamic_scale.assign(scale)
        model.train_on_batch(images, labels)
        outputs.append(state(model.branch("edge")))
    for name, value in outputs[0].items():
        np.testing.assert_allclose(outputs[1][name], value, rtol=ROUNDING, atol=ROUNDING, err_msg=name)


def test_frozen_tasks_of_a_shared_encoder_are_not_in_training_mode():
    model = tiny_model(TASKS[:2], method="squeeze_excite")
    model.trainable_tasks = ["edge"]
    before = state(model.branch("semseg"))
    outputs = model(tiny_data(4)[0], training=True)
    assert list(outputs) == model.tasks
    assert_same_bits(state(model.branch("semseg")), before)
    assert differs(before, state(model.branch("edge")))


# The paper's numbers


@pytest.mark.parametrize(
    ("method", "task", "shared"),
    [
        ("multi_task", 0, 11_176_512),
        ("series_adapter", 1_404_544 + 172_032 + 9_600, 10_994_880),
        ("parallel_adapter", 1_220_800 + 172_032 + 9_600, 10_994_880),
        ("batch_norm", 9_600, 11_166_912),
        ("channel_modulation", 4_800 + 9_600, 11_166_912),
        ("low_rank(4)", 2 * 4 * 4_800 + 9_600, 11_166_912),
    ],
)
def test_parameters_of_a_resnet18(method, task, shared):
    arguments = {"backbone": "resnet18", "decoder": tiny_decoder(), "image_shape": (64, 64, 3), "method": method}
    report = rc_keras.build(["edge"], **arguments, seed=0).parameter_report()
    counts = report.tasks["edge"]
    assert (report.bank, counts.total - counts.decoder - counts.head) == (shared, task)


PUBLISHED = {  # of the encoder for 1..10 tasks: single-task networks and RCM
    "resnet18": [
        (11_176_512, 12_577_152),
        (22_353_024, 14_159_424),
        (33_529_536, 15_741_696),
        (44_706_048, 17_323_968),
        (55_882_560, 18_906_240),
        (67_059_072, 20_488_512),
        (78_235_584, 22_070_784),
        (89_412_096, 23_653_056),
        (100_588_608, 25_235_328),
        (111_765_120, 26_817_600),
    ],
    "resnet34": [
        (21_284_672, 23_811_328),
        (42_569_344, 26_527_040),
        (63_854_016, 29_242_752),
        (85_138_688, 31_958_464),
        (106_423_360, 34_674_176),
        (127_708_032, 37_389_888),
        (148_992_704, 40_105_600),
        (170_277_376, 42_821_312),
        (191_562_048, 45_537_024),
        (212_846_720, 48_252_736),
    ],
}


@pytest.mark.slow  # test_compare has the same numbers, as the command counts them
@pytest.mark.parametrize("backbone", PUBLISHED)
@pytest.mark.parametrize("column", ["single_task", "rcm"])
def test_parameters_for_one_to_ten_tasks(backbone, column):
    """Of one and two built tasks; a straight line from there."""
    arguments = {"backbone": backbone, "decoder": tiny_decoder(), "image_shape": (64, 64, 3), "method": column}
    model = rc_keras.build(["edge"], **arguments, seed=0)
    sizes = [_encoder_size(model)]
    model.add_task("saliency")
    sizes.append(_encoder_size(model))
    published = [row[("single_task", "rcm").index(column)] for row in PUBLISHED[backbone]]
    assert [sizes[0] + tasks * (sizes[1] - sizes[0]) for tasks in range(10)] == published


def _encoder_size(model):
    """Parameters of all encoders of a model, counted by their variables."""
    variables = {id(v): v for name in model.tasks for v in model.branch(name).variables}
    names = ("moving_mean", "moving_variance")
    encoder = [v for v in variables.values() if v.name not in names and "__decoder_" not in v.path]
    size = sum(int(np.prod(v.shape)) for v in encoder)
    report = model.parameter_report()
    assert size == report.total - sum(task.decoder + task.head for task in report.tasks.values())
    return size


# Response initialization is a change of coordinates


@pytest.mark.slow
def test_response_initialization_changes_adam_but_not_sgd():
    """W_t and W_s rotate against each other: momentum and coupled L2 rotate with them, and Adam's scaling does not."""
    images = tiny_data()[0]

    def trained(method, optimizer):
        response_images = images if method == "rc_ri" else None
        model = compiled(method, TASKS[:1], optimizer, response_images=response_images)
        before = predict(model)["semseg"]
        fit(model, "semseg", epochs=3)
        return before, predict(model)["semseg"]

    def difference(make_optimizer):
        (start, rotated), (_, plain) = (trained(method, make_optimizer()) for method in ("rc_ri", "rc_identity"))
        assert np.abs(plain - start).max() > 0.1 * np.ptp(start)  # training went somewhere
        return np.abs(rotated - plain).max() / np.ptp(plain)

    assert difference(lambda: rc_keras.optimizers.SGD(0.05, momentum=0.9, l2=0.01)) <= ROUNDING
    assert difference(lambda: keras.optimizers.Adam(0.01)) > 100 * ROUNDING
