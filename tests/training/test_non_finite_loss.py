"""Training stops at the first loss that is no number, and says whose and where."""

import keras
import numpy as np
import pytest
from support.tiny import TASKS, tiny_data, tiny_model

from rc_keras.training.non_finite_loss import NonFiniteLossError, StopAtNonFiniteLoss


def spoilt(task="depth"):
    """Twelve images in three batches; the second batch has a label that is no number."""
    images, labels = tiny_data(12)
    labels = {name: labels[name].copy() for name in ("normals", "depth")}
    labels[task][5, 3, 3] = np.nan
    return images, labels


def model(**kwargs):
    model = tiny_model([TASKS[2], TASKS[3]])
    model.compile(optimizer=keras.optimizers.SGD(1e-3), **kwargs)
    return model


@pytest.mark.parametrize("task", ["normals", "depth"])
def test_a_loss_that_is_no_number_stops_fit(task):
    steps = []
    count = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda step, logs: steps.append(step))
    squared = {"normals": "mean_squared_error", "depth": "mean_squared_error"}  # which leaves nothing out
    with pytest.raises(NonFiniteLossError, match=rf"task '{task}' became nan at step 2 of epoch 1"):
        model(loss=squared).fit(*spoilt(task), batch_size=4, shuffle=False, verbose=0, callbacks=count)
    assert steps[-1] <= 2


def test_steps_that_keras_waits_for():
    """With a callback that needs the logs at each step, training stops before the next."""
    steps = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: steps.append(step))
    with pytest.raises(NonFiniteLossError, match="step 2 of epoch 3"):
        model(loss={"depth": "mean_squared_error"}).fit(
            *spoilt(), batch_size=4, shuffle=False, verbose=0, callbacks=[count], initial_epoch=2, epochs=4
        )
    assert steps == [0, 1]


def test_keras_own_callback_goes_first():
    stop = keras.callbacks.TerminateOnNaN()
    history = model(loss={"depth": "mean_squared_error"}).fit(
        *spoilt(), batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[stop]
    )
    assert len(history.epoch) == 1


def test_regularization_is_named():
    spoilt = model()
    kernel = spoilt.branch("depth").get_layer("depth__decoder_conv").kernel
    kernel.regularizer = lambda values: keras.ops.sum(values) / 0.0
    with pytest.raises(NonFiniteLossError, match="all tasks, with regularization, became"):
        spoilt.fit(*tiny_data(4), verbose=0)


def test_a_callback_of_ones_own_takes_its_place():
    own = StopAtNonFiniteLoss(lambda epoch, step: f"minute {epoch}:{step}")
    callbacks = keras.callbacks.CallbackList([own], add_history=True, epochs=1, steps=3)
    for given in ([own], callbacks):
        spoilt_model = model(loss={"depth": "mean_squared_error"})
        if given is callbacks:
            callbacks.set_model(spoilt_model)
        with pytest.raises(NonFiniteLossError, match="became nan at minute 0:1"):
            spoilt_model.fit(*spoilt(), batch_size=4, shuffle=False, verbose=0, callbacks=given)


def test_scaled_losses_that_overflow_go_on():
    """A step whose scaled gradients overflow is left out by the optimizer; the loss itself is a number."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        scaled = tiny_model([TASKS[3]])
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-3), initial_scale=2.0**40)
        scaled.compile(optimizer=optimizer)
        images, labels = tiny_data(8)
        history = scaled.fit(images, {"depth": labels["depth"]}, batch_size=4, verbose=0).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(history["loss"]).all()
    state = scaled.optimizer.of("depth", scaled.branch("depth").trainable_variables)
    assert float(keras.ops.convert_to_numpy(state.dynamic_scale)) < 2.0**40  # it did overflow
