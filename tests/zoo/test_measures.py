"""The table of measures: complete, without a contradiction, and all that it takes to add one."""

import dataclasses
import types

import keras
import numpy as np
import pytest

from rc_keras import Task, nyud
from rc_keras.metrics import RMSE
from rc_keras.metrics.boundaries import BoundaryScores
from rc_keras.tasks.kinds import KINDS
from rc_keras.zoo import measures
from rc_keras.zoo.evaluation.results import Results
from rc_keras.zoo.evaluation_metrics import evaluation_metrics
from rc_keras.zoo.measures import MEASURES, METRES, Measure, measures_of, measures_of_kind


def task_of(kind, **options):
    return Task("own", KINDS[kind].channels or 3, kind, **options)


def keys_of(made):
    """The keys that metrics answer, in order."""
    keys = []
    for metric in made:
        result = metric.result()
        keys += result if isinstance(result, dict) else [metric.name]
    return keys


def boundary_keys():
    line = np.zeros((8, 8))
    line[4] = 1
    with BoundaryScores(workers=1) as scores:
        scores.add(line, line)
        return list(scores.result())


def test_keys_are_unique():
    assert len({measure.key for measure in MEASURES}) == len(MEASURES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_one_number_in_delta_m(kind):
    (entering,) = (measure for measure in measures_of_kind(kind) if measure.in_delta_m)
    assert measures_of([task_of(kind)]) == {"own": entering} and entering.better is not None


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_of_a_kind_is_what_training_watches(kind):
    assert [metric.name for metric in task_of(kind).make_metrics()] == [measures_of_kind(kind)[0].key]


@pytest.mark.parametrize("kind", KINDS)
def test_keys_are_what_the_metrics_answer(kind):
    keys = keys_of(evaluation_metrics(task_of(kind)))
    if kind == "edge":
        keys += boundary_keys()
    assert keys == [measure.key for measure in measures_of_kind(kind)]


def test_every_measure_is_answered_by_something():
    semseg = nyud()[1]
    forms = [semseg, dataclasses.replace(semseg, ignore=255)]
    of_nyud = {key for task in forms for key in keys_of(evaluation_metrics(task, "nyud_mt"))}
    of_kinds = {measure.key for kind in KINDS for measure in measures_of_kind(kind)}
    assert {measure.key for measure in MEASURES} == of_nyud | of_kinds
    assert {kind for measure in MEASURES for kind in measure.metrics} == set(KINDS)


def test_an_entry_is_all_that_a_new_measure_takes(monkeypatch):
    class LargestError(RMSE):
        def __init__(self, name="largest_error"):
            super().__init__(name=name)

    entry = Measure("largest_error", "largest error", METRES, "lower", {"depth": LargestError})
    monkeypatch.setattr(measures, "MEASURES", (*MEASURES, entry))
    assert keys_of(evaluation_metrics(task_of("depth")))[-1] == "largest_error"
    table = Results({"own": {"largest_error": 0.25}}, {}, 1, "validation", {}).to_markdown()
    assert "| own | largest_error ↓ | 0.2500 m |" in table


@pytest.mark.parametrize("kind", ["edge", "classification"])
def test_a_metric_of_ones_own_is_shown_as_it_is(kind):
    task = task_of(kind, metrics=[keras.metrics.MeanSquaredError(name="squares")])
    assert keys_of(evaluation_metrics(task)) == ["squares"]
    table = Results({"own": {"squares": 3.25}}, {}, 1, "validation", {}).to_markdown()
    assert "| own | squares | 3.2500 |" in table  # nothing says that it is a share, nor which way is better


def test_a_kind_without_an_entry():
    flow = types.SimpleNamespace(name="flow", kind="flow", metrics=None, make_metrics=lambda: [RMSE()])
    assert keys_of(evaluation_metrics(flow)) == ["rmse"]
    with pytest.raises(ValueError, match="`kind` must be one of .*'segmentation'.*Received: kind='flow'"):
        measures_of([flow])


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"edge", "classification"}))
def test_what_a_kind_is_published_with_is_measured_instead_of_a_metric_of_ones_own(kind):
    task = task_of(kind, metrics=[keras.metrics.MeanSquaredError(name="squares")])
    assert keys_of(evaluation_metrics(task)) == [measure.key for measure in measures_of_kind(kind)]


def test_only_segmentation_of_nyud_has_means_over_40_and_41_classes():
    saliency = Task("semseg", 1, "saliency")
    assert keys_of(evaluation_metrics(saliency, "nyud_mt")) == keys_of(evaluation_metrics(saliency))


def test_numbers_of_a_regression_have_the_unit_of_the_task():
    scores = {"own": {"root_mean_squared_error": 0.25}, "other": {"rmse": 0.5}}
    table = Results(scores, {}, 1, "validation", {"units": {"own": "kg"}}).to_markdown()
    assert "| own | root_mean_squared_error ↓ | 0.2500 kg |" in table and "| other | rmse ↓ | 0.5000 m |" in table
