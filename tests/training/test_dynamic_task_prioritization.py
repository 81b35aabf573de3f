"""Dynamic task prioritization: weights follow the formula, and reach the compiled step."""

import keras
import numpy as np
import pytest
from support.tiny import TASKS, arrays, assert_same_bits, tiny_data, tiny_model

from rc_keras import DynamicTaskPrioritization
from rc_keras.training.dynamic_task_prioritization import priority

EXACT = 1e-6  # relative, float32


def compiled(method="multi_task"):
    model = tiny_model(TASKS[:2], method=method)
    model.compile(optimizer=keras.optimizers.SGD(0.0))  # losses stay, so that weights can be read off the total
    return model


def fit(model, *callbacks, epochs=3):
    images, labels = tiny_data()
    labels = {name: labels[name] for name in model.tasks}
    return model.fit(
        images, labels, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks)
    ).history


def test_formula():
    assert priority(0.25, 2.0) == pytest.approx(0.75**2 * np.log(4.0))
    assert priority(0.5, 0.0) == pytest.approx(np.log(2.0))
    assert priority(0.0, 1.0) == pytest.approx(-np.log(1e-6), rel=EXACT * 10)
    assert 0 <= priority(1.0, 1.0) < 1e-10


@pytest.mark.parametrize("method", ["multi_task", "rcm"])
def test_weights_reach_the_step(method):
    indicators = iter((0.2, 0.6, 0.9))
    callback = DynamicTaskPrioritization({"semseg": lambda logs: next(indicators)}, gamma=2.0, alpha=0.5)
    model = compiled(method)
    traced = []
    step = model.train_step
    model.train_step = lambda *args: traced.append(1) or step(*args)
    history = fit(model, callback)
    priorities = [priority(average, 2.0) for average in (0.2, 0.4, 0.65)]
    np.testing.assert_allclose(history["semseg_priority"], priorities, rtol=EXACT)
    weights = np.array([1.0, *priorities[:2]])  # of the epoch that follows; the task's own until a KPI is known
    expected = weights * history["semseg_loss"] + 50.0 * np.array(history["edge_loss"])
    np.testing.assert_allclose(history["loss"], expected, rtol=10 * EXACT)
    assert len(traced) == 1
    again = fit(model, DynamicTaskPrioritization({"semseg": "semseg_mean_iou"}), epochs=1)  # starts afresh
    np.testing.assert_allclose(again["loss"][0], again["semseg_loss"][0] + 50 * again["edge_loss"][0], rtol=10 * EXACT)


def test_a_training_that_breaks_off_leaves_the_weights_as_they_were():
    indicators = iter((0.9, 2.0))
    model = compiled()
    with pytest.raises(ValueError, match="must be in 0..1"):
        fit(model, DynamicTaskPrioritization({"semseg": lambda logs: next(indicators)}))
    logs = fit(model, epochs=1)
    np.testing.assert_allclose(logs["loss"][0], logs["semseg_loss"][0] + 50 * logs["edge_loss"][0], rtol=10 * EXACT)


def test_updates_within_an_epoch():
    """The second step of an epoch has the weights that the first one called for."""
    seen = []
    callback = DynamicTaskPrioritization(
        {"edge": lambda logs: seen.append(dict(logs)) or 0.5}, gamma={"edge": 1.0}, update_every=1
    )
    history = fit(compiled(), callback, epochs=1)
    first, both = ({name: float(value) for name, value in logs.items()} for logs in seen)  # logs are means so far
    second = {name: 2 * both[name] - first[name] for name in both}
    priority = 0.5 * np.log(2)
    total = first["semseg_loss"] + 50 * first["edge_loss"] + second["semseg_loss"] + 50 * priority * second["edge_loss"]
    np.testing.assert_allclose(history["loss"][0], total / 2, rtol=10 * EXACT)


@pytest.mark.parametrize("kpi", ["val_semseg_mean_iou", lambda logs: logs["val_semseg_mean_iou"]])
def test_epochs_without_validation_keep_the_weights(kpi):
    model, (images, labels) = compiled(), tiny_data()
    labels = {name: labels[name] for name in model.tasks}
    callback = DynamicTaskPrioritization({"semseg": kpi}, gamma=2.0, alpha=1.0)
    options = {"batch_size": 4, "epochs": 3, "shuffle": False, "verbose": 0, "callbacks": [callback]}
    logs = model.fit(images, labels, validation_data=(images, labels), validation_freq=2, **options).history
    weights = np.array([1.0, 1.0, priority(logs["val_semseg_mean_iou"][0], 2.0)])
    assert callback.priorities == {"semseg": weights[-1]}
    expected = weights * logs["semseg_loss"] + 50.0 * np.array(logs["edge_loss"])
    np.testing.assert_allclose(logs["loss"], expected, rtol=10 * EXACT)
    with pytest.warns(UserWarning, match=r"without validation, of tasks \['semseg'\]"):
        model.fit(images, labels, **options)
    assert callback.averages == {}  # what the first training knew is forgotten


def test_constant_weights_of_one_train_the_same():
    """A variable weight is the same number as a constant one."""
    outputs = []
    for callbacks in ((), (DynamicTaskPrioritization({"semseg": "unread"}, update_every=10**9),)):
        model = tiny_model(TASKS[:2], method="multi_task")
        model.compile(optimizer=keras.optimizers.SGD(1e-3))
        fit(model, *callbacks, epochs=1)
        outputs.append(arrays(model.predict(tiny_data(2)[0], verbose=0)))
    assert_same_bits(*outputs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kpis": {}}, "at least one task"),
        ({"kpis": {"semseg": "a"}, "alpha": 0.0}, "`alpha`"),
        ({"kpis": {"semseg": "a"}, "gamma": -1.0}, "`gamma`"),
        ({"kpis": {"semseg": "a"}, "update_every": 0}, "`update_every`"),
        ({"kpis": {"semseg": "val_a"}, "update_every": 1}, "`update_every` must be None"),
        ({"kpis": {"semsge": "a"}}, "Did you mean 'semseg'"),
        ({"kpis": {"semseg": "semseg_iou"}}, "must be one of the logs .*semseg_mean_iou"),
        ({"kpis": {"semseg": lambda logs: logs["iou"]}}, "must be one of the logs .*semseg_mean_iou.*Received: 'iou'"),
        ({"kpis": {"semseg": lambda logs: 1.5}}, "in 0..1. Received: 1.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(compiled(), DynamicTaskPrioritization(**arguments), epochs=1)
