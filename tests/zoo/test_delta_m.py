"""Δm: the published numbers come out, with the paper's sign, and wrong input is refused."""

import pytest

from rc_keras.zoo.delta_m import MEASURES, delta_m, format_table, relative_drops, select_measures

TASKS = ("edge", "semseg", "human_parts", "normals", "saliency")
SINGLE_TASK = (71.88, 66.22, 59.69, 13.64, 66.62)

# PASCAL-Context, ResNet-18: the paper's tables and the Δm that follows, to the three decimals given.
PUBLISHED = {
    "RC": ((71.10, 64.56, 56.87, 13.91, 66.37), 2.134),
    "RC+NFF": ((71.12, 64.71, 56.91, 13.90, 66.33), 2.067),
    "RC+RI": ((71.36, 65.58, 57.99, 13.70, 66.21), 1.119),
    "RC+RI+NFF": ((71.34, 65.70, 58.12, 13.70, 66.38), 0.993),
    "ASTMT R-18": ((71.20, 64.31, 57.79, 15.06, 66.59), 3.494),
    "ASTMT R-26": ((71.00, 64.61, 57.25, 15.00, 64.70), 4.119),
    "series adapters": ((70.62, 65.99, 55.32, 14.27, 66.08), 2.970),
    "parallel adapters": ((70.84, 66.51, 56.56, 14.16, 66.36), 2.091),
}


def of_tasks(numbers):
    return dict(zip(TASKS, numbers, strict=True))


@pytest.mark.parametrize("method", PUBLISHED)
def test_published_numbers(method):
    numbers, expected = PUBLISHED[method]
    assert delta_m(of_tasks(numbers), of_tasks(SINGLE_TASK)) == pytest.approx(expected, abs=5e-4)


def test_numbers_of_astmt():
    single = of_tasks((72.7, 68.30, 60.70, 14.61, 65.40))
    assert delta_m(of_tasks((69.2, 63.20, 55.10, 16.04, 63.60)), single) == pytest.approx(6.809, abs=5e-4)
    assert delta_m(of_tasks((72.4, 68.00, 61.12, 14.68, 65.71)), single) == pytest.approx(0.033, abs=5e-4)


def test_worked_example_task_by_task():
    drops = relative_drops(of_tasks(PUBLISHED["RC+RI+NFF"][0]), of_tasks(SINGLE_TASK))
    assert drops == pytest.approx(of_tasks((0.751, 0.785, 2.630, 0.440, 0.360)), abs=5e-4)


def test_nyud():
    single = {"edge": 68.83, "semseg": 35.45, "normals": 22.20, "depth": 0.56}
    model = {"edge": 68.44, "semseg": 34.20, "normals": 22.41, "depth": 0.57}
    assert delta_m(model, single) == pytest.approx(1.71, abs=5e-3)


def test_positive_is_a_drop_whichever_way_is_better():
    assert delta_m({"semseg": 0.9}, {"semseg": 1.0}) == pytest.approx(10.0)
    assert delta_m({"depth": 1.1}, {"depth": 1.0}) == pytest.approx(10.0)
    assert delta_m({"depth": 0.9}, {"depth": 1.0}) == pytest.approx(-10.0)
    single = of_tasks(SINGLE_TASK)
    assert delta_m(single, single) == 0.0


def test_directions_of_tasks_of_ones_own():
    results, baseline = {"flow": 1.1, "semseg": 0.9}, {"flow": 1.0, "semseg": 1.0}
    assert delta_m(results, baseline, {"flow": True}) == pytest.approx(10.0)
    assert delta_m(results, baseline, {"flow": False}) == pytest.approx(0.0, abs=1e-12)
    assert delta_m(results, baseline, {"flow": True, "semseg": True}) == pytest.approx(0.0, abs=1e-12)


def test_table():
    table = format_table({"semseg": 65.70, "depth": 0.56784}, {"semseg": 66.22, "depth": 0.56123})
    assert table.splitlines() == [
        "| task | baseline | model | relative drop % |",
        "| --- | ---: | ---: | ---: |",
        "| semseg ↑ | 66.22 | 65.70 | +0.785 |",
        "| depth ↓ | 0.5612 | 0.5678 | +1.178 |",
        "| **Δm** (positive: drop) | | | **+0.982** |",
    ]
    assert "| 12.0000 | 13.0000 |" in format_table({"depth": 13.0}, {"depth": 12.0})
    assert "| 0.6622 | 0.6570 |" in format_table({"semseg": 0.6570}, {"semseg": 0.6622})  # shares as they are


def test_measures_of_an_evaluation():
    metrics = {"semseg": {"pixel_accuracy": 0.9, "mean_iou": 0.6}, "depth": {"rmse": 0.5, "delta_1": 0.8}}
    assert select_measures(metrics) == {"semseg": 0.6, "depth": 0.5}
    assert select_measures(metrics, {"semseg": "pixel_accuracy"}) == {"semseg": 0.9, "depth": 0.5}
    with pytest.raises(ValueError, match="`metrics` must hold 'mean_iou_41' for task 'semseg'"):
        select_measures(metrics, {"semseg": "mean_iou_41"})
    with pytest.raises(ValueError, match="`metrics` must hold 'rmse' for task 'depth'.*Received"):
        select_measures({"depth": {"delta_1": 0.8}})
    with pytest.raises(ValueError, match="task 'flow'"):
        select_measures({"flow": {"rmse": 0.8}})


def test_measures_are_what_the_metrics_answer():
    from rc_keras.metrics.boundaries import BoundaryScores
    from rc_keras.tasks.task import Task
    from rc_keras.zoo.evaluation_metrics import evaluation_metrics

    for name, (key, _) in MEASURES.items():
        if name == "edge":
            assert f"`{key}`" in BoundaryScores.result.__doc__
        else:
            assert key in evaluation_metrics(Task.get(name))[0].result()


@pytest.mark.parametrize(
    ("results", "baseline", "message"),
    [
        ({}, {}, "same tasks, at least one"),
        ({"semseg": 1.0}, {"semseg": 1.0, "depth": 1.0}, "same tasks.*baseline of .'depth', 'semseg'"),
        ({"semseg": 1.0, "depth": 1.0}, {"semseg": 1.0}, "same tasks.*Received"),
        ({"depth": 1.0}, {"depth": 0.0}, "`baseline` must be positive.*Received: baseline.'depth'.=0.0"),
        ({"depth": float("nan")}, {"depth": 1.0}, "must be finite.*Received"),
        ({"flow": 1.0}, {"flow": 1.0}, "`directions` must say.*Received: task 'flow'"),
    ],
)
def test_wrong_input_is_refused(results, baseline, message):
    for function in (delta_m, relative_drops, format_table):
        with pytest.raises(ValueError, match=message):
            function(results, baseline)
