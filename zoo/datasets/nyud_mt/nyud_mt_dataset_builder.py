"""The `nyud_mt` dataset: NYUDv2 with the labels of four tasks, from a folder or archive."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

import rc_keras
from rc_keras.zoo.datasets import label_checks
from rc_keras.zoo.datasets.archive import find_root, read_splits
from rc_keras.zoo.datasets.file_path import FilePath
from rc_keras.zoo.datasets.nyud_mt.layouts import find_layout
from rc_keras.zoo.datasets.nyud_mt.normal_map import NormalMap
from rc_keras.zoo.datasets.ordered_map import ordered_map

SPLITS = {"train": "train", "validation": "val"}
TASKS = {task.name: task for task in rc_keras.nyud()}


class Builder(tfds.core.GeneratorBasedBuilder):
    """Reads either of the two archives NYUD_MT."""

    # The package's folders need not be nested like its modules, which is what TFDS looks for.
    code_path = tfds.core.Path(__file__)
    pkg_dir_path = code_path.parent

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Put the archive NYUD_MT.zip of RCM, or NYUD_MT.tgz of ASTMT or of Vandenhende's multi-task
    survey, into the manual directory, or the folder NYUD_MT extracted from it, with images/,
    segmentation/, edge/, normals/, depth/ and gt_sets/{train,val}.txt inside. The labels may be
    .png, .mat and .jpg files (RCM, ASTMT) or .npy and .png files (Vandenhende); which, is seen.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "semseg": tfds.features.Image(shape=(None, None, 1), encoding_format="png", use_colormap=True),
                    "edge": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
                    "normals": NormalMap(shape=(None, None, 3)),
                    "depth": tfds.features.Tensor(shape=(None, None, 1), dtype=np.float32, encoding="zlib"),
                }
            ),
            homepage="https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        root = find_root(dl_manager, "NYUD_MT")
        # Everything is looked for before anything is written.
        layout = find_layout(root)
        ids = read_splits(root / "gt_sets", SPLITS)
        for split, names in ids.items():
            _check_files(root, layout, split, names)
        return {split: self._generate_examples(root, layout, names) for split, names in ids.items()}

    def _generate_examples(
        self, root: FilePath, layout: Mapping[str, str], names: Iterable[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        def read(name: str) -> tuple[str, dict[str, Any]]:
            paths = {folder: root / folder / f"{name}.{suffix}" for folder, suffix in layout.items()}
            return name, _read_example(name, paths)

        yield from ordered_map(read, names)


def _check_files(root: FilePath, layout: Mapping[str, str], split: str, ids: Sequence[str]) -> None:
    for folder, suffix in layout.items():
        present = {path.name for path in (root / folder).iterdir()}
        missing = [i for i in ids if f"{i}.{suffix}" not in present]
        if missing:
            raise FileNotFoundError(
                f"The file `{root / folder / missing[0]}.{suffix}` must exist: split {split!r} "
                f"names the image {missing[0]!r}. {len(missing)} of {len(ids)} files of this "
                f"split are missing in `{folder}`."
            )


def _read_example(name: str, paths: Mapping[str, FilePath]) -> dict[str, Any]:
    size = label_checks.read_image(paths["images"]).shape[:2]
    return {
        "id": name,
        "image": paths["images"],
        "semseg": _read_semseg(paths["segmentation"], size),
        "edge": _read_edge(paths["edge"], size),
        "normals": _read_normals(paths["normals"], size),
        "depth": _read_depth(paths["depth"], size),
    }


def _read_numbers(path: FilePath, key: str, size: Sequence[int]) -> np.ndarray:
    """The one-channel label in a file of any layout, (height, width)."""
    if path.suffix == ".mat":
        values = label_checks.read_mat(path, key)
    else:
        values = (label_checks.read_png if path.suffix == ".png" else label_checks.read_npy)(path)
    label_checks.check_size(path, values, size)
    return values


def _read_semseg(path: FilePath, size: Sequence[int]) -> np.ndarray:
    classes = _read_numbers(path, "segmentation", size)
    # 255 means the same as 0 here: no label.
    classes = np.where(classes == 255, 0, classes)
    label_checks.check_values(path, TASKS["semseg"], classes)
    return classes.astype(np.uint8)[..., None]


def _read_edge(path: FilePath, size: Sequence[int]) -> np.ndarray:
    edge = _read_numbers(path, "edge", size)
    low, high = edge.min(), edge.max()
    if not 0 <= low <= high <= 255 or edge.ndim != 2:
        raise ValueError(
            f"`{path}` must hold edges (height, width) in 0..1 or 0..255. Received: shape {edge.shape}, {low}..{high}"
        )
    return (edge > (0.5 if high <= 1 else 127)).astype(np.uint8)[..., None]


def _read_normals(path: FilePath, size: Sequence[int]) -> FilePath | np.ndarray:
    """The JPEG file itself, or pixels made of an array."""
    is_array = path.suffix == ".npy"
    values = label_checks.read_npy(path) if is_array else label_checks.read_rgb(path)
    label_checks.check_size(path, values, size)
    n = label_checks.decoded(path, TASKS["normals"], values)
    return np.round((n + 1) * 127.5).astype(np.uint8) if is_array else path


def _read_depth(path: FilePath, size: Sequence[int]) -> np.ndarray:
    depth = _read_numbers(path, "depth", size)
    return label_checks.decoded(path, TASKS["depth"], depth)[..., None]
