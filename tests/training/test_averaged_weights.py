"""`keras.callbacks.SwapEMAWeights` on a model of tasks does what it does on each task's branch alone."""

import keras
import numpy as np
import pytest
from support.small import TASKS, small_data, small_model
from support.tiny import arrays, assert_same_bits

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
    """The kernels of some layers at both ends of each epoch, where the swap is done or undone."""

    def __init__(self, layers):
        super().__init__()
        self.layers, self.seen = layers, []

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append([keras.ops.convert_to_numpy(layer.kernel).copy() for layer in self.layers])

    def on_epoch_end(self, epoch, logs=None):
        self.on_epoch_begin(epoch)


def fit(model, branches, images, labels, on_epoch):
    """The history, and what the heads of the branches were."""
    watch = Watch([branch.get_layer(f"{branch.name}__decoder_head") for branch in branches])
    callbacks = [keras.callbacks.SwapEMAWeights(on_epoch), watch]
    validation = (images[:4], keras.tree.map_structure(lambda y: y[:4], labels))
    history = model.fit(
        images,
        labels,
        batch_size=4,
        epochs=2,
        shuffle=False,
        verbose=0,
        validation_data=validation,
        callbacks=callbacks,
    )
    return history.history, np.array(watch.seen)


@pytest.mark.parametrize(
    "optimizer, on_epoch",
    [
        ("sgd", True),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [("sgd", False), ("loss scale", True), ("several", True)]
        ),
    ],
)
def test_swaps_as_on_each_branch_alone(optimizer, on_epoch):
    images, labels = small_data(8)
    model = small_model()
    model.compile(OPTIMIZERS[optimizer](), run_eagerly=optimizer != "sgd")
    history, seen = fit(model, [model.branch(task.name) for task in TASKS], images, labels, on_epoch)
    for i, task in enumerate(TASKS):
        plain = small_model().branch(task.name)
        plain.compile(OPTIMIZERS[optimizer](), loss=task.make_loss(), run_eagerly=True)
        expected, expected_seen = fit(plain, [plain], images, labels[task.name], on_epoch)
        for ours, theirs in zip(model.branch(task.name).weights, plain.weights, strict=True):
            np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (ours, theirs)), atol=STEP, err_msg=ours.path)
        np.testing.assert_allclose(history[f"val_{task.name}_loss"], expected["val_loss"], rtol=STEP)
        np.testing.assert_allclose(seen[:, i], expected_seen[:, 0], atol=STEP)


def test_tasks_that_are_not_trained_are_not_swapped():
    images, labels = small_data()
    model = small_model()
    model.compile(make_sgd(), run_eagerly=True)
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
        model.compile(optimizer, run_eagerly=True)
        with pytest.raises(ValueError, match="Received: use_ema=False"):
            model.evaluate(images, labels, verbose=0, callbacks=[keras.callbacks.SwapEMAWeights()])
