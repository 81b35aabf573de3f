"""The builder `scenes` stores what the renderer draws."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

import rc_keras.zoo.datasets.scenes  # noqa: F401  (registers the builder)
from rc_keras.zoo.rendering.renderer import render_scene


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tfds.load("scenes/tiny", data_dir=tmp_path_factory.mktemp("tfds"))


@pytest.mark.parametrize(("split", "number"), [("train", 0), ("validation", 1)])
def test_examples_are_the_rendered_scenes(tiny, split, number):
    stored = {e["image"].tobytes(): e for e in tfds.as_numpy(tiny[split])}
    for index in (0, 5):
        drawn = render_scene((number, index), 64)
        example = stored[drawn["image"].tobytes()]
        assert set(example) == set(drawn) - {"instance", "focal_length"}
        for name, value in example.items():
            np.testing.assert_array_equal(value, drawn[name], strict=True)


def test_default_configuration():
    builder = tfds.builder("scenes")
    assert builder.builder_config.name == "128x128"
    assert (builder.builder_config.train, builder.builder_config.validation) == (1000, 200)
    assert builder.info.features["image"].shape == (128, 128, 3)
    assert "rendered" in builder.info.description


def test_tasks_fit_the_features():
    pytest.importorskip("rc_keras.tasks.task")
    from rc_keras.zoo.datasets.scenes.tasks import scenes_tasks

    tasks = {task.name: task for task in scenes_tasks()}
    features = tfds.builder("scenes").info.features
    assert set(tasks) == set(features) - {"image"}
    drawn = [render_scene(seed, 32) for seed in range(12)]
    for name, task in tasks.items():
        if task.kind == "segmentation":
            assert max(scene[name].max() for scene in drawn) < task.channels
            assert len(task.class_names) == task.channels
        else:
            assert features[name].shape[-1] == task.channels
