"""The network of several tasks by itself, without training."""

import pytest
from support.tiny import TASKS, MicroDecoder, arrays, assert_same_bits, micro_backbone, tiny_data, tiny_model

from rc_keras import FilterBank
from rc_keras.network.multi_task_network import MultiTaskNetwork


class Watched(MultiTaskNetwork):
    """Keeps what it is told of changes, and may refuse them."""

    refuses = False

    def _before_change(self, leaving=None):
        if self.refuses:
            raise RuntimeError("not now")
        self.told = [*getattr(self, "told", []), (leaving, self.tasks, self.trainable_tasks)]


@pytest.fixture
def network():
    network = Watched(FilterBank(micro_backbone()))
    for task in TASKS[:2]:
        network._new_task(task, MicroDecoder())
    network.trainable_tasks = ["semseg"]
    return network


def test_it_answers_as_the_model_does(network):
    images, _ = tiny_data(2)
    model = tiny_model(TASKS[:2])
    assert_same_bits(arrays(network(images)), arrays(model(images)))
    again, weights = Watched.from_config(network.get_config()), {}
    network.save_own_variables(weights)
    again.load_own_variables(weights)
    assert_same_bits(arrays(again(images)), arrays(network(images)))


def test_changes_are_told_before_they_are_made(network):
    network._drop_task("edge")
    assert network.told == [
        ("semseg", [], []),
        ("edge", ["semseg"], []),
        (None, ["semseg", "edge"], []),
        ("edge", ["semseg", "edge"], ["semseg"]),
    ]


def test_a_task_that_comes_back_is_not_trainable(network):
    network._drop_task("semseg")
    network._new_task(TASKS[0], MicroDecoder())
    assert network.tasks == ["edge", "semseg"] and network.trainable_tasks == []


def test_a_change_that_is_refused_is_not_made(network):
    network.refuses = True
    with pytest.raises(RuntimeError):
        network._drop_task("edge")
    with pytest.raises(RuntimeError):
        network._new_task(TASKS[2])
    with pytest.raises(RuntimeError):
        network.trainable_tasks = ["edge"]
    assert network.tasks == ["semseg", "edge"] and network.trainable_tasks == ["semseg"]
