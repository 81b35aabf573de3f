"""The `scenes` dataset: rendered rooms with six labels, no download."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rc_keras.zoo.rendering.classes import CLASSES, PARTS
from rc_keras.zoo.rendering.renderer import render_scene


@dataclasses.dataclass
class ScenesConfig(tfds.core.BuilderConfig):
    """Size of a `scenes` dataset.

    Attributes:
        size: height and width of the images, pixels.
        train: number of training images.
        validation: number of validation images.
    """

    size: int = 128
    train: int = 1000
    validation: int = 200


class Builder(tfds.core.GeneratorBasedBuilder):
    """Renders rooms full of simple objects, with the truth of six tasks for each image.

    Image `i` of a split depends on `i` and the split alone, so every configuration shows the
    same rooms.
    """

    # The package's folders need not be nested like its modules, which is what TFDS looks for.
    code_path = tfds.core.Path(__file__)
    pkg_dir_path = code_path.parent

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        ScenesConfig(name="128x128", description="The default: 1,000 + 200 images."),
        ScenesConfig(name="64x64", description="The same rooms, smaller.", size=64),
        ScenesConfig(name="tiny", description="For tests.", size=64, train=16, validation=8),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.size

        def labels(names: Sequence[str] | None = None) -> tfds.features.Image:
            return tfds.features.Image(shape=(size, size, 1), encoding_format="png", use_colormap=names is not None)

        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(size, size, 3), encoding_format="png"),
                    "semseg": labels(CLASSES),
                    "parts": labels(PARTS),
                    "edge": labels(),
                    "saliency": labels(),
                    "normals": tfds.features.Tensor(shape=(size, size, 3), dtype=np.float32, encoding="zlib"),
                    "depth": tfds.features.Tensor(shape=(size, size, 1), dtype=np.float32, encoding="zlib"),
                }
            ),
            homepage="https://arxiv.org/abs/2007.12540",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager
        config = self.builder_config
        return {
            "train": self._generate_examples(0, config.train),
            "validation": self._generate_examples(1, config.validation),
        }

    def _generate_examples(self, split: int, count: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in range(count):
            scene = render_scene((split, index), self.builder_config.size)
            yield index, {name: scene[name] for name in self.info.features}
