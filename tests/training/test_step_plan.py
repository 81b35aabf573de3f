"""A step computes its tasks one after another, or all at once where they train variables jointly."""

import pytest
from support.tiny import TASKS, tiny_model

from rc_keras.training.given_optimizers import JOINT
from rc_keras.training.step_plan import plan

NAMES = ["edge", "semseg"]


@pytest.mark.parametrize("method", ["rcm", "fine_tune"])
def test_tasks_apart(method):
    model = tiny_model(TASKS[:3], method=method)
    parts = plan(model, NAMES)
    assert [part.tasks for part in parts] == [["edge"], ["semseg"]]
    for part in parts:
        (name,) = part.tasks
        assert ids(part.groups) == {name: [id(v) for v in model.branch(name).trainable_variables]}


@pytest.mark.parametrize("method", ["multi_task", "squeeze_excite"])
def test_tasks_at_once(method):
    model = tiny_model(TASKS[:3], method=method)
    (part,) = plan(model, NAMES)
    groups = ids(part.groups)
    assert part.tasks == NAMES and list(groups) == [JOINT, *NAMES]
    assert groups[JOINT] == [id(v) for v in model.jointly_trained]
    everything = [v for group in groups.values() for v in group]
    assert len(set(everything)) == len(everything)
    assert set(everything) == {id(v) for name in NAMES for v in model.branch(name).trainable_variables}


def test_nothing_of_no_tasks():
    assert plan(tiny_model(TASKS[:1], method="multi_task"), []) == []


def ids(groups):
    return {state: [id(v) for v in group] for state, group in groups.items()}
