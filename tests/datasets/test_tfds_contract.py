"""The builders keep the contract of TensorFlow Datasets."""

from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from rc_keras.zoo.datasets import nyud_mt, scenes

pytest.importorskip("dill", reason="tfds.testing needs dill")


class ScenesTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = scenes.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["tiny"]
    SPLITS = {"train": 16, "validation": 8}
    # Nothing is read from it: the images are rendered.
    EXAMPLE_DIR = str(Path(__file__).parent)


class NyudMtTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = nyud_mt.Builder
    SPLITS = {"train": 3, "validation": 2}
