"""The one check every kind of task passes."""

import dataclasses
import json

import keras
import numpy as np

import rc_keras
from rc_keras.tasks import drawing
from rc_keras.tasks.description import describe
from rc_keras.tasks.labels import find_labelled
from rc_keras.tasks.legend import Ramp, Sample, Swatches

SHAPE = (2, 6, 8)  # images, height, width
RANGE = (0.5, 2.0)
# Of float32 probabilities near 0 and 1, where the inverse of a sigmoid says little.
INVERSE_TOLERANCE = 1e-4


def check_kind(kind):
    """Checks the contract of a `Kind` that is registered."""
    task = rc_keras.Task("t", kind.channels or 3, kind.name)
    assert task.definition is kind
    check_attributes(kind)
    check_config(task)
    labels = valid_labels(task)
    raw = np.random.default_rng(1).normal(size=(*shape_of(kind), task.channels)).astype("float32")
    raw = keras.ops.convert_to_numpy(kind.make_output_layer("output")(raw))
    check_labels(task, labels)
    check_training(task, labels, raw)
    check_predictions(task, labels, raw)
    check_description(task, raw)
    if kind.dense:
        check_pictures(task, labels, raw)


def shape_of(kind):
    return SHAPE if kind.dense else SHAPE[:1]


def valid_labels(task):
    """Labels as the attributes of the kind say, without a label at the first pixel."""
    rng, kind, shape = np.random.default_rng(0), task.definition, shape_of(task.definition)
    channels = kind.label_channels(task)
    if not kind.continuous:
        labels = rng.integers(0, task.channels if kind.of_classes else 2, shape).astype("int32")
    else:
        labels = rng.uniform(0.1, 1.0, (*shape, channels)).astype("float32")
        if kind.unit_length:
            labels /= np.linalg.norm(labels, axis=-1, keepdims=True)
        labels = labels if channels > 1 else labels[..., 0]
    labels[(0,) * len(shape)] = task.ignore
    return labels


def check_attributes(kind):
    """The attributes go together."""
    assert kind.name and kind.values and isinstance(kind.level, int) and isinstance(kind.ignore, int)
    assert kind.interpolation in ("nearest", "bilinear")
    assert kind.continuous or kind.interpolation == "nearest", "ids cannot be averaged"
    assert len(kind.mirror_factors) in (0, kind.channels)
    if kind.of_classes:
        assert kind.channels is None and not kind.continuous and not kind.binary
    if kind.binary:
        assert kind.channels == 1 and not kind.continuous and kind.ignore not in (0, 1)
    if kind.zero_is_unlabelled:
        assert kind.ignore == 0
    if kind.unit_length:
        assert kind.continuous and kind.zero_is_unlabelled
    if kind.lines:
        assert kind.binary and kind.dense


def check_config(task):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(task)))
    assert config["config"]["kind"] == task.kind
    assert keras.saving.deserialize_keras_object(config) == task
    names = [str(i) for i in range(task.channels)]
    if task.definition.of_classes:
        assert dataclasses.replace(task, class_names=names).class_names == tuple(names)


def check_labels(task, labels):
    images = (*SHAPE, 3)
    task.check_labels(labels, images)
    if task.definition.label_channels(task) == 1:
        task.check_labels(labels[..., None], images)
    labelled = find_labelled(task, labels)
    assert labelled.shape == shape_of(task.definition)
    assert not labelled.flat[0] and labelled.any()
    decoded = task.definition.decode(labels[0], False)
    np.testing.assert_array_equal(decoded, labels[0])


def check_training(task, labels, raw):
    """Loss and metrics are numbers, see what is wrong, and leave unlabelled pixels out."""
    loss = task.make_loss()
    value = float(loss(labels, raw))
    assert np.isfinite(value) and value > 0
    spoilt = np.array(raw)
    spoilt[(0,) * len(shape_of(task.definition))] += 1.0
    assert float(loss(labels, spoilt)) == value, "the loss looks at what is not labelled"
    assert float(loss(np.full_like(labels, task.ignore), raw)) == 0.0
    metrics = task.make_metrics()
    assert metrics and task.make_metrics()[0] is not metrics[0]
    for metric in metrics:
        metric.update_state(labels, raw)
        value = float(metric.result())
        assert np.isfinite(value)
        metric.reset_state()
        metric.update_state(labels, spoilt)
        assert float(metric.result()) == value, "the metric looks at what is not labelled"
    name, guess = task.definition.constant_guess(task, labels)
    assert name and guess.shape == (task.channels,) and np.isfinite(guess).all()


def check_predictions(task, labels, raw):
    kind = task.definition
    layer = kind.make_output_layer("a_name")
    output = layer(keras.KerasTensor(raw.shape, "float16"))
    assert layer.name == "a_name" and not layer.weights
    assert tuple(output.shape) == raw.shape and output.dtype == "float32"
    activated = keras.ops.convert_to_numpy(task.activate(keras.ops.convert_to_tensor(raw)))
    assert activated.shape == raw.shape
    np.testing.assert_allclose(kind.deactivate(activated), raw, atol=INVERSE_TOLERANCE)


def check_description(task, raw):
    """What another program reads in a file is enough for the pictures."""
    activated = keras.ops.convert_to_numpy(task.activate(keras.ops.convert_to_tensor(raw)))
    description = json.loads(json.dumps(describe(task), allow_nan=False))
    low, high = description["output"]["range"] or (-np.inf, np.inf)
    assert low <= activated.min() and activated.max() <= high
    assert description["ignored"]["label"] == task.ignore
    assert description["output"]["unit"] == task.definition.unit_of(task)
    ramp, classes = description["ramp"], description["classes"]
    assert bool(classes) == task.definition.of_classes
    if not task.definition.dense:
        assert ramp is None
        return
    picture = task.draw(raw).astype("int")
    if classes:
        colours = np.array([entry["colour"] for entry in classes])
        np.testing.assert_array_equal(colours[activated.argmax(-1)], picture)
    if ramp:
        colours, numbers = np.array(ramp["colours"]), activated[..., 0].astype("float64")
        assert colours.shape == (256, 3) and (ramp["low"] is None) == (ramp["high"] is None)
        low, high = (numbers.min(), numbers.max()) if ramp["low"] is None else (ramp["low"], ramp["high"])
        places = (numbers - low) / (high - low) * 255
        drawn = np.stack([np.interp(places, np.arange(256), channel) for channel in colours.T], axis=-1)
        step = np.abs(np.diff(colours, axis=0)).max()
        np.testing.assert_allclose(picture, drawn, rtol=0, atol=step)


def check_pictures(task, labels, raw):
    kind = task.definition
    activated = keras.ops.convert_to_numpy(task.activate(keras.ops.convert_to_tensor(raw)))
    picture = task.draw(raw)
    assert picture.dtype == np.uint8 and picture.shape == (*SHAPE, 3)
    np.testing.assert_array_equal(task.draw(activated, activated=True), picture)
    drawn = task.draw_label(labels)
    assert drawn.dtype == np.uint8 and drawn.shape == (*SHAPE, 3)
    marked = np.all(drawn == drawing.IGNORED_COLOUR, axis=-1)
    np.testing.assert_array_equal(marked, ~find_labelled(task, labels))
    if kind.colour_scale:
        assert task.draw(raw, depth_range=RANGE).shape == picture.shape
        assert task.draw_label(labels, depth_range=RANGE).shape == picture.shape
    legend = kind.legend(task, RANGE)
    if isinstance(legend, Swatches):
        assert legend.colours.shape == (len(legend.names), 3)
    elif isinstance(legend, Ramp):
        assert legend.colours.ndim == 2 and legend.colours.shape[1] == 3 and legend.low and legend.high
    else:
        assert isinstance(legend, Sample) and legend.picture.shape[2] == 4 and legend.title and legend.text
