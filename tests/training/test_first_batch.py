"""Bad data is refused on the host, before any work."""

import warnings

import numpy as np
import pytest
from support.tiny import SIZE, TASKS, arrays, assert_same_bits, tiny_data, tiny_model

from rc_keras.training import first_batch


@pytest.fixture(scope="module")
def model():
    model = tiny_model(TASKS)
    model.compile(optimizer="sgd")
    return model


def changed(labels, **changes):
    return {**labels, **changes}


BAD = {
    "no dict": (lambda x, y: (x, y["depth"]), "must be a dict"),
    "no known task": (lambda x, y: (x, {"dept": y["depth"]}), r"one of the tasks .*'depth'.*Received: keys \['dept'\]"),
    "channels": (lambda x, y: (x[..., :1], y), r"any, 32, 32, 3\).*Received: \(4, 32, 32, 1\)"),
    "size": (lambda x, y: (x[:, :16], y), r"Received: \(4, 16, 32, 3\)"),
    "rank": (lambda x, y: (x[0], y), r"Received: \(32, 32, 3\)"),
    "dtype": (lambda x, y: (x > 9, y), "must be uint8 or float.*bool"),
    "not finite": (lambda x, y: (np.full(x.shape, np.nan, "float32"), y), "finite"),
    "label size": (lambda x, y: (x, changed(y, depth=y["depth"][:, :16])), "depth"),
    "label channels": (lambda x, y: (x, changed(y, normals=y["normals"][..., :2])), "normals"),
    "class id": (lambda x, y: (x, changed(y, semseg=y["semseg"] + 1)), "semseg.*5"),
    "negative depth": (lambda x, y: (x, changed(y, depth=-y["depth"])), "depth"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("entry", ["fit", "validation", "evaluate", "generator"])
def test_bad_batches(model, case, entry):
    change, message = BAD[case]
    good = tiny_data(4)
    bad = change(*good)
    before = arrays({v.path: v for v in model.branch("depth").variables})
    with pytest.raises(ValueError, match=message):
        if entry == "fit":
            model.fit(*bad, verbose=0)
        elif entry == "validation":
            model.fit(*good, validation_data=bad, verbose=0)
        elif entry == "evaluate":
            model.evaluate(*bad, verbose=0)
        else:
            model.fit((batch for batch in [bad]), steps_per_epoch=1, verbose=0)
    assert_same_bits(arrays({v.path: v for v in model.branch("depth").variables}), before)


def as_dataset(images, labels):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)


def as_loader(images, labels):
    torch = pytest.importorskip("torch")
    batches = [(images[i : i + 2], {name: label[i : i + 2] for name, label in labels.items()}) for i in (0, 2)]
    return torch.utils.data.DataLoader(batches, batch_size=None)


@pytest.mark.parametrize("make", [as_dataset, as_loader])
def test_data_that_is_checked_as_it_is_read(model, make):
    images, labels = tiny_data(4)
    wrong = labels["semseg"].copy()
    wrong[0] = 9
    bad = make(images, changed(labels, semseg=wrong))
    before = arrays({v.path: v for v in model.branch("depth").variables})
    message = "`semseg` labels .*Received: values 9"
    for act in (lambda: model.fit(bad, verbose=0), lambda: model.evaluate(bad, verbose=0)):
        with pytest.raises(ValueError, match=message) as raised:
            act()
        assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert_same_bits(arrays({v.path: v for v in model.branch("depth").variables}), before)
    with pytest.raises(ValueError, match=message):
        model.fit(images, labels, validation_data=bad, verbose=0)
    late = make(images, changed(labels, semseg=wrong[::-1].copy()))  # in the second batch
    model.fit(late, validation_data=late, verbose=0)
    with pytest.raises(ValueError, match="must be one array"):
        model.predict(make({"image": images}, labels) if make is as_dataset else [images], verbose=0)


def test_sizes_of_validation_images_are_checked_before_training(model):
    images, labels = tiny_data(4)
    before = arrays({v.path: v for v in model.branch("depth").variables})
    with pytest.raises(ValueError, match=r"\(None, 16, 32, 3\)"):
        model.fit(images, labels, validation_data=as_dataset(images[:, :16], labels), verbose=0)
    assert_same_bits(arrays({v.path: v for v in model.branch("depth").variables}), before)


def test_normalized_images_warn(model):
    images = tiny_data(4)[0].astype("float32")
    for normalized in (images / 255, images / 127.5 - 1):
        with pytest.warns(UserWarning, match=r"0\.\.255.*normalized already"):
            model.predict(normalized, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first_batch.check_images(images, (SIZE, SIZE, 3))
        first_batch.check_images(np.zeros((1, SIZE, SIZE, 3), "float32"), (SIZE, SIZE, 3))
        first_batch.check_images(np.ones((1, SIZE, SIZE, 3), "uint8"), (None, None, 3))


def test_call_checks_what_is_static(model):
    with pytest.raises(ValueError, match="batch, height, width, channels"):
        model(np.zeros((2, SIZE, SIZE, 4)))
    with pytest.raises(ValueError, match="uint8 or float"):
        model(np.zeros((2, SIZE, SIZE, 3), bool))


def test_empty_data(model):
    with pytest.raises(ValueError, match="at least one batch"):
        model.fit((x for x in ()), steps_per_epoch=1)
    empty = as_dataset(*tiny_data(4)).filter(lambda *_: False)  # of which nobody knows before
    for act in (lambda: model.fit(empty, verbose=0), lambda: model.evaluate(empty.take(0), verbose=0)):
        with pytest.raises(ValueError, match="at least one batch"):
            act()


def test_fit_before_compile():
    with pytest.raises(ValueError, match="compile"):
        tiny_model(TASKS[:1]).fit(*tiny_data(4))


def test_nothing_trainable(model):
    fresh = tiny_model(TASKS[:1])
    fresh.compile(optimizer="sgd")
    fresh.trainable = False
    with pytest.raises(ValueError, match="trainable"):
        fresh.fit(*tiny_data(4), verbose=0)
