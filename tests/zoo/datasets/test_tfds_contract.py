"""The builders keep the contract of TensorFlow Datasets."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from rc_keras.zoo.datasets import folder, nyud_mt, scenes

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


class FolderTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = folder.Builder
    SPLITS = {"train": 2, "validation": 1}
    # The files are made anew for each test.
    EXAMPLE_DIR = str(Path(__file__).parent)

    def _make_builder(self, config=None):
        root = Path(self.tmp_dir) / "root"
        for stem in "abc":
            for name, shape in (("images", (6, 8, 3)), ("edge", (6, 8)), ("semseg", (6, 8))):
                path = root / name / f"{stem}.png"
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(np.full(shape, ord(stem) % 2, np.uint8)).save(path)
        return folder.Builder(root, data_dir=self.tmp_dir)
