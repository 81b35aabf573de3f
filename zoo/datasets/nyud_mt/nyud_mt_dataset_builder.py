"""The `nyud_mt` dataset: NYUDv2 with the labels of four tasks, from a folder or archive."""

import re

import numpy as np
import tensorflow_datasets as tfds

from rc_keras.zoo.datasets.nyud_mt.normal_map import NormalMap

SPLITS = {"train": "train", "validation": "val"}
FOLDERS = {
    "images": "jpg",
    "segmentation": "mat",
    "edge": "png",
    "normals": "jpg",
    "depth": "mat",
}
LABELS = 41


class Builder(tfds.core.GeneratorBasedBuilder):
    """Reads the NYUD_MT archive."""

    # The package's folders need not be nested like its modules, which is what TFDS looks for.
    code_path = tfds.core.Path(__file__)
    pkg_dir_path = code_path.parent

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Put the archive NYUD_MT.zip into the manual directory, or the folder NYUD_MT extracted from
    it, with images/, segmentation/, edge/, normals/, depth/ and gt_sets/ inside.
    """

    def _info(self):
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

    def _split_generators(self, dl_manager):
        root = self._find_root(dl_manager)
        # Everything is looked for before anything is written.
        ids = {split: _read_ids(root, name) for split, name in SPLITS.items()}
        for split, names in ids.items():
            _check_files(root, split, names)
        return {split: self._generate_examples(root, names) for split, names in ids.items()}

    def _find_root(self, dl_manager):
        folder = dl_manager.manual_dir / "NYUD_MT"
        archive = dl_manager.manual_dir / "NYUD_MT.zip"
        if not folder.is_dir():
            if not archive.exists():
                raise FileNotFoundError(
                    "The manual directory must hold the folder `NYUD_MT` or the archive "
                    f"`NYUD_MT.zip`. Received: manual_dir={dl_manager.manual_dir}"
                )
            folder = dl_manager.extract(archive) / "NYUD_MT"
            if not folder.is_dir():
                raise FileNotFoundError(f"The archive must hold a folder `NYUD_MT`. Received: {archive}")
        return folder

    def _generate_examples(self, root, names):
        for name in names:
            paths = {f: root / f / f"{name}.{suffix}" for f, suffix in FOLDERS.items()}
            shape = _read_pixels(paths["images"], "RGB").shape[:2]
            _check_shape(paths["normals"], _read_pixels(paths["normals"], "RGB").shape[:2], shape)
            edge = _read_pixels(paths["edge"], "L")
            _check_shape(paths["edge"], edge.shape, shape)
            semseg = _read_mat(paths["segmentation"], "segmentation", shape)
            if semseg.dtype.kind not in "ui" or semseg.min() < 0 or semseg.max() >= LABELS:
                raise ValueError(
                    f"`{paths['segmentation']}` must hold integers 0..{LABELS - 1}. Received: "
                    f"{semseg.dtype} in {semseg.min()}..{semseg.max()}"
                )
            depth = _read_mat(paths["depth"], "depth", shape).astype(np.float32)
            yield (
                name,
                {
                    "id": name,
                    "image": paths["images"],
                    "semseg": semseg.astype(np.uint8)[..., None],
                    "edge": (edge > 127).astype(np.uint8)[..., None],
                    "normals": paths["normals"],
                    "depth": np.where(np.isfinite(depth) & (depth > 0), depth, 0)[..., None],
                },
            )


def _read_ids(root, name):
    path = root / "gt_sets" / f"{name}.txt"
    if not path.exists():
        raise FileNotFoundError(f"The split file `{path}` must exist, with one image id a line.")
    ids = path.read_text().split()
    if not ids:
        raise ValueError(f"The split file `{path}` must hold one image id a line. It is empty.")
    for image_id in ids:
        # An id becomes a file name, so it may not lead elsewhere.
        if not re.fullmatch(r"\w+", image_id):
            raise ValueError(f"An image id in `{path}` must be letters and digits. Received: {image_id!r}")
    return ids


def _check_files(root, split, ids):
    for folder, suffix in FOLDERS.items():
        if not (root / folder).is_dir():
            raise FileNotFoundError(f"The folder `{root / folder}` must exist.")
        present = {path.name for path in (root / folder).iterdir()}
        missing = [i for i in ids if f"{i}.{suffix}" not in present]
        if missing:
            raise FileNotFoundError(
                f"The file `{root / folder / missing[0]}.{suffix}` must exist: split {split!r} "
                f"names the image {missing[0]!r}. {len(missing)} of {len(ids)} files of this "
                f"split are missing in `{folder}`."
            )


def _read_pixels(path, mode):
    from PIL import Image, UnidentifiedImageError

    try:
        with path.open("rb") as file, Image.open(file) as image:
            return np.asarray(image.convert(mode))
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"`{path}` must be a readable image. Received: {error}") from error


def _read_mat(path, key, shape):
    import scipy.io

    try:
        with path.open("rb") as file:
            content = scipy.io.loadmat(file, variable_names=[key])
    except Exception as error:  # SciPy raises a different error for each kind of damage.
        raise ValueError(f"`{path}` must be a MATLAB 5 file. Received: {error}") from error
    if key not in content:
        raise ValueError(f"`{path}` must hold the variable {key!r}. Received: none of that name")
    _check_shape(path, content[key].shape, shape)
    return content[key]


def _check_shape(path, received, expected):
    if tuple(received) != tuple(expected):
        raise ValueError(f"`{path}` must be as large as its image, {tuple(expected)}. Received: {tuple(received)}")
