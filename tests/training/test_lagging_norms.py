"""A task that predicts with averages from before its training says so."""

import warnings

import keras
import numpy as np
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


def model_with(momentum, **kwargs):
    backbone = with_norm_momentum(micro_backbone(), momentum)
    model = rc_keras.build([TASKS[0], TASKS[3]], backbone, Decoder(), image_shape=(32, 32, 3), seed=0, **kwargs)
    model.compile(keras.optimizers.SGD(0.01))
    return model


def told(model, epochs=STEPS // 2):
    images, labels = tiny_data(4)
    labels = {name: labels[name] for name in model.trainable_tasks}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(images, labels, batch_size=2, epochs=epochs, verbose=0)
    return [str(warning.message) for warning in caught if "moving means" in str(warning.message)]


def test_each_trained_task_once():
    model = model_with(0.999)
    model.trainable_tasks = ["depth"]
    (text,) = told(model)
    assert f"After {STEPS} steps, 94%" in text and "task 'depth'" in text and "momentum of 0.999" in text
    assert told(model, 1) == []
    model.trainable_tasks = ["semseg"]
    assert len(told(model)) == 1


@pytest.mark.parametrize(
    ("momentum", "epochs"), [(0.9, STEPS // 2), (0.999, 2)], ids=["averages that follow", "a trial of few steps"]
)
def test_silent_with(momentum, epochs):
    assert told(model_with(momentum), epochs) == []


def test_it_is_true():
    """Evaluated after 60 steps, the loss is nearer to that of the training with 0.9 than with 0.999."""
    images, labels = tiny_data(8)
    labels = {"depth": labels["depth"]}

    def gap(momentum):
        model = model_with(momentum)
        model.trainable_tasks = ["depth"]
        with warnings.catch_warnings(action="ignore"):
            history = model.fit(images * 0.2, labels, batch_size=8, epochs=STEPS, verbose=0)
        return abs(
            model.evaluate(images * 0.2, labels, verbose=0, return_dict=True)["loss"] - history.history["loss"][-1]
        )

    assert gap(0.9) < 0.2 * gap(0.999) and np.isfinite(gap(0.999))
