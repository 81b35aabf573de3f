"""A task that predicts with averages from before its training says so."""

import warnings

import keras
import pytest
from support.tiny import TASKS, MicroDecoder, micro_backbone, tiny_data

import rc_keras
from rc_keras.backbones import with_norm_momentum

STEPS = 60


@keras.saving.register_keras_serializable(package="tests")
class Decoder(MicroDecoder):
    """Without a norm."""

    def __call__(self, image, features, channels, prefix, seed):
        x = rc_keras.layers.Conv2D(channels, 1, name=f"{prefix}head")(features["high_level"])
        return rc_keras.layers.ResizeTo(name=f"{prefix}resize")(x, image)


def optimizer():
    return keras.optimizers.SGD(1e-3)


def model_with(momentum):
    backbone = with_norm_momentum(micro_backbone(), momentum)
    model = rc_keras.build([TASKS[0], TASKS[3]], backbone, Decoder(), image_shape=(32, 32, 3), seed=0)
    model.compile(optimizer())
    return model


def warned(model, steps=STEPS):
    """What `fit` says of moving averages, on images that are darker than those the encoder is used to."""
    images, labels = tiny_data(4)
    labels = {name: labels[name] for name in model.trainable_tasks}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(images * 0.2, labels, batch_size=2, epochs=steps // 2, verbose=0)
    return [str(warning.message) for warning in caught if "moving averages" in str(warning.message)]


def test_each_trained_task_once():
    model = model_with(0.999)
    model.trainable_tasks = ["depth"]
    (text,) = warned(model)
    assert f"Task 'depth' predicts with moving averages that have not followed its {STEPS} steps" in text
    assert "_norm'" in text and "momentum of 0.999" in text
    assert warned(model) == []
    model.trainable_tasks = ["semseg"]
    assert len(warned(model)) == 1
    task = model.task("depth")
    model.remove_task("depth")
    model.add_task(task)
    model.trainable_tasks = ["depth"]
    assert len(warned(model)) == 1


@pytest.mark.parametrize(
    ("momentum", "steps"), [(0.9, STEPS), (0.999, 4)], ids=["averages that follow", "a trial of few steps"]
)
def test_silent_with(momentum, steps):
    assert warned(model_with(momentum), steps) == []


@pytest.mark.slow
def test_what_has_followed_before_is_not_told_of_again():
    """A second stage, with an optimizer of its own."""
    model = model_with(0.98)
    model.trainable_tasks = ["depth"]
    assert len(warned(model)) == 1
    warned(model, 200)
    model._training.told.clear()
    model.compile(optimizer())
    assert warned(model) == []


def test_batches_count_and_not_updates():
    model = model_with(0.999)
    model.compile(keras.optimizers.SGD(1e-3, gradient_accumulation_steps=4), steps_per_execution=2)
    model.trainable_tasks = ["depth"]
    (text,) = warned(model)
    assert f"its {STEPS} steps" in text


def test_frozen_norms_need_not_follow():
    backbone = with_norm_momentum(micro_backbone(), 0.999)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    with warnings.catch_warnings(action="ignore"):
        model = rc_keras.build([TASKS[3]], backbone, Decoder(), image_shape=(32, 32, 3), seed=0)
    model.compile(optimizer())
    assert warned(model) == []


@pytest.mark.slow
def test_it_is_true():
    """Evaluated after 60 steps, the loss is nearer to that of the training with 0.9 than with 0.999."""
    images, labels = tiny_data(8)
    images, labels = images * 0.2, {"depth": labels["depth"]}

    def gap(momentum):
        model = model_with(momentum)
        model.trainable_tasks = ["depth"]
        with warnings.catch_warnings(action="ignore"):
            trained = model.fit(images, labels, batch_size=8, epochs=STEPS, verbose=0).history["loss"][-1]
        return abs(model.evaluate(images, labels, verbose=0, return_dict=True)["loss"] - trained)

    assert gap(0.9) < 0.2 * gap(0.999)
