"""The learning rate that all tasks have in common: numbers, schedules and callbacks, as plain Keras has them."""

import keras
import numpy as np
import pytest
from support.small import TASKS, small_data, small_model

STEP = 1e-6  # float32, three steps, weights of about 1: plain Keras sums the loss and its gradients in another order
SCHEDULES = keras.optimizers.schedules
RATES = {
    "schedule": lambda: SCHEDULES.ExponentialDecay(0.1, 2, 0.5),
    "zero": lambda: SCHEDULES.PiecewiseConstantDecay([100], [0.0, 0.0]),
    "function": lambda: lambda: 0.05,
    "number": lambda: 0.05,
}


def fit(model, plain, epochs=1, callbacks=()):
    images, labels = small_data(8)
    for each, y in ((model, {"depth": labels["depth"]}), (plain, labels["depth"])):
        each.fit(images, y, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=[c() for c in callbacks])


def ours_and_plain(make_optimizer):
    """A model of ours, and one task's branch of another trained by Keras alone.

    Keras on TensorFlow runs eagerly: in a graph it would go on with the schedule it was traced with.
    """
    model, plain = small_model(), small_model().branch("depth")
    model.compile(make_optimizer())
    plain.compile(make_optimizer(), loss=TASKS[0].make_loss(), run_eagerly=keras.backend.backend() == "tensorflow")
    return model, plain


def assert_equal_weights(model, plain):
    for ours, theirs in zip(model.branch("depth").weights, plain.weights, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs), atol=STEP, err_msg=ours.path
        )


@pytest.mark.parametrize(
    "rate, through", [*((rate, "model.optimizer") for rate in RATES), ("schedule", "the optimizer given to compile")]
)
def test_a_rate_assigned_between_fits_is_taken(rate, through):
    model, plain = ours_and_plain(lambda: keras.optimizers.SGD(0.1, momentum=0.9))
    fit(model, plain)
    prototype = model.optimizer.prototype
    for optimizer in (model.optimizer if through == "model.optimizer" else prototype, plain.optimizer):
        optimizer.learning_rate = RATES[rate]()
    fit(model, plain)
    assert_equal_weights(model, plain)
    np.testing.assert_allclose(float(model.optimizer.learning_rate), float(plain.optimizer.learning_rate), rtol=STEP)


class Reschedule(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.optimizer.learning_rate = RATES["schedule"]()


class Halve(keras.callbacks.LearningRateScheduler):
    def __init__(self):
        super().__init__(lambda epoch, rate: rate / 2)


class Plateau(keras.callbacks.ReduceLROnPlateau):
    def __init__(self):
        super().__init__(monitor="loss", factor=0.1, patience=1, min_delta=1e9)


@pytest.mark.parametrize("callback, scaled", [(Reschedule, True), (Halve, False), (Plateau, False)])
def test_callbacks_set_the_rate(callback, scaled):
    def make():
        sgd = keras.optimizers.SGD(0.1, momentum=0.9)
        return keras.optimizers.LossScaleOptimizer(sgd, initial_scale=8.0) if scaled else sgd

    model, plain = ours_and_plain(make)
    fit(model, plain, epochs=3, callbacks=[callback])
    assert_equal_weights(model, plain)
    np.testing.assert_allclose(float(model.optimizer.learning_rate), float(plain.optimizer.learning_rate), rtol=STEP)


def test_single_steps_follow_a_schedule():
    model, plain = ours_and_plain(lambda: keras.optimizers.SGD(0.1))
    images, labels = small_data()
    for _ in range(2):
        model.train_on_batch(images, {"depth": labels["depth"]})
        plain.train_on_batch(images, labels["depth"])
        model.optimizer.learning_rate = plain.optimizer.learning_rate = RATES["schedule"]()
    assert_equal_weights(model, plain)


def test_a_number_after_a_schedule_is_refused_as_by_keras():
    model, plain = ours_and_plain(lambda: keras.optimizers.SGD(0.1))
    fit(model, plain)
    for optimizer in (model.optimizer, plain.optimizer):
        optimizer.learning_rate = RATES["schedule"]()
        with pytest.raises(TypeError, match="LearningRateSchedule"):
            optimizer.learning_rate = 0.1


def test_a_schedule_runs_by_the_steps_of_each_task_and_is_saved(tmp_path):
    images, labels = small_data()
    model = small_model()
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    model.fit(images, {"depth": labels["depth"]}, batch_size=4, epochs=3, verbose=0)
    model.optimizer.learning_rate = SCHEDULES.PiecewiseConstantDecay([2], [0.1, 0.0])
    model.fit(images, labels, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        kernels = [each.branch(task.name).get_layer(f"{task.name}__decoder_head").kernel for task in TASKS]
        before = [keras.ops.convert_to_numpy(kernel).copy() for kernel in kernels]
        each.fit(images, labels, batch_size=4, verbose=0)
        moved = [bool((keras.ops.convert_to_numpy(k) != old).any()) for k, old in zip(kernels, before, strict=True)]
        assert moved == [False, True]


def test_each_of_several_optimizers_has_its_rate():
    def make():
        kernels = {".*kernel": keras.optimizers.Adam(0.01)}
        return keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1, momentum=0.9), kernels)
        )

    model, plain = ours_and_plain(make)
    fit(model, plain, epochs=2, callbacks=[Halve])
    assert_equal_weights(model, plain)
    for multi in (model.optimizer, plain.optimizer):
        rates = {optimizer.name: float(optimizer.learning_rate) for optimizer in multi.optimizers}
        assert sorted(round(rate, 6) for rate in rates.values()) == [0.0025, 0.025]


def test_a_function_chooses_among_optimizers():
    """Each call may make an optimizer; those it answers for all tasks have a state for each."""
    common = keras.optimizers.SGD(0.1, momentum=0.9)

    def choose(variable):
        return keras.optimizers.Adam(0.01) if "kernel" in variable.path else common

    model, plain = ours_and_plain(lambda: keras.optimizers.MultiOptimizer(choose))
    images, labels = small_data()
    model.fit(images, labels, batch_size=4, epochs=2, verbose=0)
    plain.fit(images, labels["depth"], batch_size=4, epochs=2, verbose=0)
    assert_equal_weights(model, plain)
    assert int(common.iterations) == 2  # those of plain Keras
