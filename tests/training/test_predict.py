"""`predict`: for all tasks, or for some."""

import keras
import numpy as np
import pytest
from support.tiny import TASKS, tiny_data, tiny_model

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
SAME_GRAPH = 1e-5  # of answers near 1: a graph of fewer branches may be computed in another order


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def images():
    return tiny_data(8)[0]


def close(left, right):
    np.testing.assert_allclose(left, right, rtol=SAME_GRAPH, atol=SAME_GRAPH)


def test_some_tasks(model, images):
    everything = model.predict(images, batch_size=3, verbose=0)
    assert list(everything) == ["semseg", "edge", "normals"]
    some = model.predict(images, batch_size=3, verbose=0, tasks=["normals", "edge"])
    assert list(some) == ["normals", "edge"]
    for name, answer in some.items():
        assert answer.shape[0] == 8
        close(answer, everything[name])
    again = model.predict(images, batch_size=3, verbose=0)
    for name, answer in everything.items():
        np.testing.assert_array_equal(again[name], answer)


def test_no_other_branch_is_run(images, monkeypatch):
    model = tiny_model()
    ran = []
    branch = model.branch
    monkeypatch.setattr(model, "branch", lambda name: ran.append(name) or branch(name))
    model.predict(images, verbose=0, tasks=["edge"])
    assert set(ran) == {"edge"}


@pytest.mark.parametrize("method", ["multi_task", "squeeze_excite"])
def test_of_a_shared_encoder(method, images):
    model = tiny_model(method=method)
    edge = model.predict(images, verbose=0, tasks=["edge"])
    assert list(edge) == ["edge"]
    close(edge["edge"], model.predict(images, verbose=0)["edge"])


def test_after_tasks_came_and_went(model, images):
    model = tiny_model()
    model.predict(images, verbose=0, tasks=["edge"])
    model.add_task(TASKS[3])
    assert list(model.predict(images, verbose=0, tasks=["depth"])) == ["depth"]
    model.remove_task("edge")
    with pytest.raises(ValueError, match="edge"):
        model.predict(images, verbose=0, tasks=["edge"])
    assert list(model.predict(images, verbose=0)) == ["semseg", "normals", "depth"]


@pytest.mark.skipif(not ON_TENSORFLOW, reason="tf.data")
def test_datasets(model, images):
    import tensorflow as tf

    images_alone = tf.data.Dataset.from_tensor_slices(images).batch(4)
    pairs = tf.data.Dataset.from_tensor_slices((images, tiny_data(8)[1])).batch(4)
    expected = model.predict(images, batch_size=4, verbose=0, tasks=["edge"])["edge"]
    for data in (images_alone, pairs):
        answers = model.predict(data, verbose=0, tasks=["edge"])
        assert list(answers) == ["edge"]
        np.testing.assert_array_equal(answers["edge"], expected)


def test_a_call_says_more_than_predict(images):
    """A step of one's own that asks for tasks by name gets those."""

    model = tiny_model()
    with model._predicting(["edge"]):
        assert list(model(images[:1], tasks=["semseg"])) == ["semseg"]
        assert list(model(images[:1])) == ["edge"]
    assert list(model(images[:1])) == model.tasks


@pytest.mark.parametrize(
    "tasks, message",
    [
        ("edge", r"`tasks` must be a list of task names. Received: tasks='edge'"),
        (["edges"], "Did you mean 'edge'"),
        ([], "at least one"),
        (["edge", "edge"], "must be different names"),
    ],
)
def test_wrong_tasks(model, images, tasks, message):
    with pytest.raises(ValueError, match=message):
        model.predict(images, verbose=0, tasks=tasks)
    assert list(model.predict(images, verbose=0)) == model.tasks
