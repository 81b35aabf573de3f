"""Bad data is refused on the host, before any work."""

import warnings

import numpy as np
import pytest
from tiny import SIZE, TASKS, arrays, assert_same_bits, tiny_data, tiny_model

from rc_keras import first_batch


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


def test_fit_before_compile():
    with pytest.raises(ValueError, match="compile"):
        tiny_model(TASKS[:1]).fit(*tiny_data(4))


def test_nothing_trainable(model):
    fresh = tiny_model(TASKS[:1])
    fresh.compile(optimizer="sgd")
    fresh.trainable = False
    with pytest.raises(ValueError, match="trainable"):
        fresh.fit(*tiny_data(4), verbose=0)
