"""The command for real images, on dummy files."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import rc_keras
from rc_keras.zoo import nyud
from rc_keras.zoo.datasets.nyud_mt import nyud_mt_dataset_builder

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads with TFDS, and exports")
DUMMY = Path(nyud_mt_dataset_builder.__file__).parent / "dummy_data"


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    return [nyud.load_split(split, DUMMY, data_dir) for split in ("train", "validation")]


def test_splits_are_reduced(splits):
    for split in splits:
        n = len(split["image"])
        channels = {"image": 3, "semseg": 1, "edge": 1, "normals": 3, "depth": 1}
        assert {name: array.shape for name, array in split.items()} == {
            name: (n, 96, 128, c) for name, c in channels.items()
        }
        assert split["image"].dtype == np.uint8 and split["image"].max() > 100
        lengths = np.linalg.norm(split["normals"], axis=-1)
        np.testing.assert_allclose(lengths[lengths > 0], 1.0, atol=1e-5)  # never averaged


@pytest.mark.slow
def test_train(splits, tmp_path):
    backbone = rc_keras.backbones.resnet18((64, 64, 3), seed=0)
    weights = {f"{layer.name}/{v.name}": v.numpy() for layer in backbone.layers for v in layer.weights}
    np.savez(tmp_path / "weights.npz", **weights)
    splits = [{name: np.repeat(array, 8, axis=0)[:8] for name, array in split.items()} for split in splits]
    results = nyud.train(*splits, tmp_path / "weights.npz", tmp_path / "out", epochs=1)
    assert list(results) == ["semseg", "normals", "depth", "edge"]
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
    assert (tmp_path / "out" / "model.tflite").exists()
