"""`keras.callbacks.SwapEMAWeights` on a model of tasks does what it does on each task's branch alone."""

import keras
import numpy as np
import pytest
from small import TASKS, small_data, small_model
from tiny import assert_same_bits, arrays

STEP = 1e-6  # float32, weights of about 1; Keras on TensorFlow swaps by adding and subtracting


def make_sgd():
    return keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.5)


OPTIMIZERS = {
    "sgd": make_sgd,
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(make_sgd(), initial_scale=8.0),
    "several": lambda: keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(make_sgd(), {".*kernel": keras.optimizers.Adam(0.01)})
    ),
}


class Watch(keras.callbacks.Callback):
    """The weights of a layer at the end of each epoch, where the swap is undone or, on epochs, done."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.seen = layer, []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(keras.ops.convert_to_numpy(self.layer.kernel).copy())

    def on_epoch_begin(self, epoch, logs=None):
        self.on_epoch_end(epoch)


@pytest.mark.parametrize("optimizer, on_epoch", [("sgd", False), ("sgd", True), ("loss scale", True), ("several", True)])
def test_swaps_as_on_each_branch_alone(optimizer, on_epoch):
    images, labels = small_data(8)
    model = small_model()
    model.compile(OPTIMIZERS[optimizer]())

    def fit(each, y, layer):
        watch = Watch(layer)
        callbacks = [keras.callbacks.SwapEMAWeights(on_epoch), watch]
        history = each.fit(
            images, y, batch_size=4, epochs=3, shuffle=False, verbose=0, validation_data=(images, y), callbacks=callbacks
        ).history
        return history, watch.seen

    head = "{}__decoder_head".format
    history, _ = fit(model, labels, model.branch("depth").get_layer(head("depth")))
    for task in TASKS:
        watched = small_model()
        watched.compile(OPTIMIZERS[optimizer]())
        _, seen = fit(watched, labels, watched.branch(task.name).get_layer(head(task.name)))
        plain = small_model().branch(task.name)
        plain.compile(OPTIMIZERS[optimizer](), loss=task.make_loss())
        expected, expected_seen = fit(plain, labels[task.name], plain.get_layer(head(task.name)))
        for ours, theirs in zip(model.branch(task.name).weights, plain.weights, strict=True):
            np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (ours, theirs)), atol=STEP, err_msg=ours.path)
        np.testing.assert_allclose(history[f"val_{task.name}_loss"], expected["val_loss"], rtol=10 * STEP)
        np.testing.assert_allclose(seen, expected_seen, atol=STEP)


def test_tasks_that_are_not_trained_are_not_swapped():
    images, labels = small_data()
    model = small_model()
    model.compile(make_sgd())
    model.fit(images, labels, batch_size=4, verbose=0)
    for variable in model.branch("height").trainable_variables:
        variable.assign(variable + 1.0)  # now away from their averages
    before = arrays({v.path: v for v in model.branch("height").variables})
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    model.trainable_tasks = ["depth"]
    model.fit(images, labels, batch_size=4, verbose=0, validation_data=(images, labels), callbacks=[swap])
    model.evaluate(images, labels, verbose=0, callbacks=[keras.callbacks.SwapEMAWeights()])
    assert_same_bits(arrays({v.path: v for v in model.branch("height").variables}), before)


def test_the_callback_names_what_is_missing():
    images, labels = small_data()
    model = small_model()
    for optimizer in (keras.optimizers.SGD(0.1), keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))):
        model.compile(optimizer)
        with pytest.raises(ValueError, match="Received: use_ema=False"):
            model.evaluate(images, labels, verbose=0, callbacks=[keras.callbacks.SwapEMAWeights()])
