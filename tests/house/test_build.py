"""`build`: what it makes, and what it refuses."""

import keras
import numpy as np
import pytest
from support.tiny import SIZE, TASKS, MicroDecoder, arrays, assert_same_bits, micro_backbone, tiny_data, tiny_model

import rc_keras


def test_parameters_of_resnet18():
    model = rc_keras.build(["semseg", "human_parts", "edge", "saliency", "normals"], image_shape=(64, 64, 3))
    report = model.parameter_report()
    assert report.bank == 10_994_880
    assert report.total == 46_046_081
    for name, channels in {"semseg": 21, "human_parts": 7, "edge": 1, "saliency": 1, "normals": 3}.items():
        task = report.tasks[name]
        assert (task.modulators, task.gains, task.convolutions) == (1_396_736, 3_904, 172_032)
        assert (task.norms, task.decoder, task.head) == (9_600, 5_426_272, 257 * channels)
    assert "46,046,081" in str(report) and "human_parts" in str(report)


@pytest.mark.slow
def test_parameters_of_resnet34():
    model = rc_keras.build(rc_keras.pascal_context(), backbone="resnet34", image_shape=(64, 64, 3))
    report = model.parameter_report()
    assert (report.bank, report.tasks["edge"].modulators, report.total) == (21_095_616, 2_519_040, 61_814_017)


@pytest.mark.parametrize(
    ("method", "bank", "modulators", "gains"),
    [("rcm", True, True, True), ("rc", True, True, False), ("single_task", False, False, False)],
)
def test_parameters_by_method(method, bank, modulators, gains):
    report = tiny_model(TASKS[:1], method=method).parameter_report()
    task = report.tasks["semseg"]
    assert (report.bank > 0, task.modulators > 0, task.gains > 0) == (bank, modulators, gains)
    kernels = 4 * 4 * 3 * 8 + 9 * 8 * 8 + 9 * 8 * 12
    assert report.bank + (0 if bank else task.convolutions - 8 * 12) == kernels


def test_same_seed_same_model_whatever_the_order():
    images = tiny_data(2)[0]
    first, second = tiny_model(TASKS, method="rc_nff"), tiny_model(TASKS[::-1], method="rc_nff")
    assert_same_bits(arrays(first.predict(images, verbose=0)), arrays(second.predict(images, verbose=0)))
    other = tiny_model(TASKS, method="rc_nff", seed=1)
    assert not np.array_equal(first.predict(images, verbose=0)["depth"], other.predict(images, verbose=0)["depth"])


def test_a_users_preprocessing_comes_first():
    images = tiny_data(2)[0]
    plain = tiny_model(TASKS[:1], method="rc_identity")
    halved = tiny_model(TASKS[:1], method="rc_identity", preprocess=keras.layers.Rescaling(0.5))
    np.testing.assert_allclose(
        halved.predict(images, verbose=0)["semseg"],
        plain.predict(images.astype("float32") / 2, verbose=0)["semseg"],
        rtol=1e-5,
        atol=1e-5,
    )


def test_keras_application():
    backbone = keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, include_top=False, weights=None)
    model = rc_keras.build(
        ["depth"],
        backbone=backbone,
        decoder=MicroDecoder(),
        image_shape=(64, 64, 3),
        preprocess=keras.applications.mobilenet_v2.preprocess_input,
    )
    assert model.predict(np.zeros((1, 64, 64, 3)), verbose=0)["depth"].shape == (1, 64, 64, 1)
    assert model.bank.template.output["low_level"].shape[1:3] == (16, 16)
    assert model.bank.template.output["high_level"].shape[1:3] == (2, 2)
    assert len(model.bank.convolutions) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ["semsge"]}, "Did you mean 'semseg'"),
        ({"tasks": []}, "at least one task"),
        ({"tasks": "semseg"}, "must be a list"),
        ({"tasks": ["edge", rc_keras.Task("edge", 2, "segmentation")]}, "unique.*'edge', 'edge'"),
        ({"backbone": "resnet81"}, "Did you mean 'resnet18'"),
        ({"backbone": 18}, "resnet18"),
        ({"method": "rcmm"}, r"`method` must be one of .*'single_task'.*Did you mean 'rcm'"),
        ({"decoder": "deeplab"}, "`decoder` must be one of .*deeplabv3plus"),
        ({"output_stride": 12, "backbone": "resnet18"}, "8, 16, 32"),
        ({"image_shape": (64, 64)}, "image_shape"),
        ({"image_shape": (0, 64, 3)}, "image_shape"),
        ({"weights": "resnet18.h5"}, "suffix"),
        ({"weights": "absent.npz"}, "absent.npz"),
        ({"response_images": np.zeros((2, 8, 8, 3)), "method": "rc"}, "response_images"),
        ({"bank": "absent.safetensors"}, "absent.safetensors"),
        ({"bank": "bank.safetensors", "weights": "w.npz"}, "`weights` must be None with `bank`"),
        ({"preprocess": keras.layers.Rescaling(1.0), "backbone": "resnet18"}, "preprocess"),
    ],
)
def test_bad_arguments(arguments, message):
    defaults = {"tasks": ["edge"], "backbone": micro_backbone(), "decoder": MicroDecoder(), "image_shape": (64, 64, 3)}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        rc_keras.build(**{**defaults, **arguments})


@pytest.mark.parametrize("name", ["", "a__b", "a/b", "serve", "serving_default", "all"])
def test_illegal_task_names(name):
    with pytest.raises(ValueError, match="name"):
        rc_keras.Task(name, 2, "segmentation")


def test_bank_of_another_method():
    bank = rc_keras.FilterBank(micro_backbone(), "rc_identity")
    with pytest.raises(ValueError, match="must be made with method 'rcm'"):
        tiny_model(bank=bank)


def test_backbone_without_usable_maps():
    image = keras.Input((SIZE, SIZE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
    with pytest.raises(ValueError, match="one feature map"):
        tiny_model(backbone=keras.Model(image, pooled))
    with pytest.raises(ValueError, match="stride 4"):
        tiny_model(backbone=keras.Model(image, keras.layers.Conv2D(4, 3, strides=8, padding="same")(image)))


def test_last_task_stays():
    model = tiny_model(TASKS[:1])
    with pytest.raises(ValueError, match="at least one task"):
        model.remove_task("semseg")
    with pytest.raises(ValueError, match="unique"):
        model.add_task(TASKS[0])
    assert model.tasks == ["semseg"]
    with pytest.raises(ValueError, match="`task` must be one of"):
        model.trainable_tasks = ["depth"]


def test_a_users_backbone_keeps_its_weights(tmp_path):
    backbone, other = micro_backbone(), micro_backbone(seed=3)
    other.save_weights(tmp_path / "other.weights.h5")
    before = arrays({v.path: v for v in backbone.variables})
    model = tiny_model(TASKS[:1], backbone=backbone, weights=tmp_path / "other.weights.h5", method="rc_identity")
    assert_same_bits(arrays({v.path: v for v in backbone.variables}), before)
    kernel = model.bank.convolutions["stem_conv"].kernel
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(kernel), keras.ops.convert_to_numpy(other.get_layer("stem_conv").kernel)
    )
