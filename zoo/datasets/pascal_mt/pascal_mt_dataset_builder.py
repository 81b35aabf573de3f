"""The `pascal_mt` dataset: PASCAL-Context with the labels of five tasks, from a folder or archive."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

import rc_keras
from rc_keras.zoo.datasets.archive import find_root, read_splits
from rc_keras.zoo.datasets.file_path import FilePath
from rc_keras.zoo.datasets.label_checks import (
    check_size,
    check_values,
    decoded,
    read_image,
    read_mat,
    read_png,
    read_rgb,
)
from rc_keras.zoo.datasets.nyud_mt.normal_map import NormalMap
from rc_keras.zoo.datasets.ordered_map import ordered_map
from rc_keras.zoo.datasets.pascal_mt.edges import boundaries, evaluation_boundaries
from rc_keras.zoo.datasets.pascal_mt.human_parts import IGNORE, read_human_parts
from rc_keras.zoo.datasets.pascal_mt.layouts import find_files, find_layout
from rc_keras.zoo.datasets.pascal_mt.normals_classes import normals_classes

TASKS = {task.name: task for task in rc_keras.pascal_context()}
SPLITS = {"train": "train", "validation": "val"}

# A grey pixel decodes to a vector of length 0.007, which `NormalMap` reads as unknown.
UNKNOWN = 127


class Builder(tfds.core.GeneratorBasedBuilder):
    """Reads either of the two archives PASCAL_MT."""

    # The package's folders need not be nested like its modules, which is what TFDS looks for.
    code_path = tfds.core.Path(__file__)
    pkg_dir_path = code_path.parent

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "Boundaries to evaluate with, as seism has them.", "1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Put the archive PASCAL_MT.zip of RCM, or PASCAL_MT.tgz of ASTMT and of Vandenhende's multi-task
    survey, into the manual directory, or the folder PASCAL_MT extracted from it, with JPEGImages/,
    ImageSets/Context/{train,val}.txt and the folders of the labels inside. Which of the two it is,
    is seen.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        label = {"shape": (None, None, 1), "encoding_format": "png"}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "edge": tfds.features.Image(**label),
                    "edge_for_evaluation": tfds.features.Image(**label),
                    "semseg": tfds.features.Image(**label, use_colormap=True),
                    "human_parts": tfds.features.Image(**label, use_colormap=True),
                    "has_human_parts": np.bool_,
                    "normals": NormalMap(shape=(None, None, 3)),
                    "saliency": tfds.features.Image(**label),
                }
            ),
            homepage="https://cs.stanford.edu/~roozbeh/pascal-context/",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        root = find_root(dl_manager, "PASCAL_MT")
        # Everything is looked for before anything is written.
        layout = find_layout(root)
        classes = normals_classes(root)
        ids = read_splits(root / "ImageSets" / "Context", SPLITS)
        files = {split: find_files(root, layout, split, names) for split, names in ids.items()}
        return {split: self._generate_examples(paths, classes) for split, paths in files.items()}

    def _generate_examples(
        self, files: Mapping[str, Mapping[str, FilePath]], classes: Sequence[int]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        def read(item: tuple[str, Mapping[str, FilePath]]) -> tuple[str, dict[str, Any]]:
            name, paths = item
            return name, _read_example(name, paths, classes)

        yield from ordered_map(read, files.items())


def _read_example(name: str, paths: Mapping[str, FilePath], classes: Sequence[int]) -> dict[str, Any]:
    size = read_image(paths["image"]).shape[:2]
    label_map = _read_label_map(paths["context"], size)
    parts = read_human_parts(paths["parts"], size)
    return {
        "id": name,
        "image": paths["image"],
        "edge": boundaries(label_map)[..., None],
        "edge_for_evaluation": evaluation_boundaries(label_map)[..., None],
        "semseg": _read_semseg(paths["semseg"], size)[..., None],
        "human_parts": parts[..., None],
        "has_human_parts": bool((parts != IGNORE).any()),
        "normals": _read_normals(paths["normals"], np.isin(label_map, classes)),
        "saliency": _read_saliency(paths["saliency"], size)[..., None],
    }


def _read_label_map(path: FilePath, size: Sequence[int]) -> np.ndarray:
    label_map = read_mat(path, "LabelMap")
    if label_map.dtype.kind not in "ui" or label_map.ndim != 2:
        raise ValueError(
            f"`{path}` must hold integers (height, width) in 'LabelMap'. "
            f"Received: {label_map.dtype} of shape {label_map.shape}"
        )
    check_size(path, label_map, size)
    return label_map


def _read_semseg(path: FilePath, size: Sequence[int]) -> np.ndarray:
    classes = read_png(path)
    check_size(path, classes, size)
    check_values(path, TASKS["semseg"], classes)
    return classes.astype(np.uint8)


def _read_normals(path: FilePath, valid: np.ndarray) -> np.ndarray:
    """Pixels of the normals, grey where they do not count."""
    pixels = read_rgb(path)
    check_size(path, pixels, valid.shape)
    pixels = np.where(valid[..., None], pixels, np.uint8(UNKNOWN))
    decoded(path, TASKS["normals"], pixels)
    return pixels


def _read_saliency(path: FilePath, size: Sequence[int]) -> np.ndarray:
    saliency = read_png(path)
    check_size(path, saliency, size)
    return (saliency > 127).astype(np.uint8)
