"""The `folder` dataset: a folder of images with folders of labels, named like the tasks."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rc_keras.tasks.task import Task
from rc_keras.zoo.datasets import label_checks
from rc_keras.zoo.datasets.folder.folder_layout import FolderLayout
from rc_keras.zoo.datasets.folder.label_coding import find_foreground, read_label, stored_dtype
from rc_keras.zoo.datasets.ordered_map import ordered_map


class Builder(tfds.core.GeneratorBasedBuilder):
    """Your own images and labels, from a folder.

    The layout and the coding of the labels are described in the README beside this file. Prepared data is kept under a
    name made of all files' paths, sizes and times of change and of the tasks, so it is never older than the files.

    Args:
        root: path of the folder.
        data_dir: where TFDS keeps the prepared data; its own folder by default.

    Raises:
        FileNotFoundError: if a folder, list or file is missing.
        ValueError: if a name, a list or `tasks.json` is wrong. Files are opened when the data is prepared.

    Example:

    >>> builder = Builder("my_data")
    >>> builder.download_and_prepare()
    >>> dataset = builder.as_dataset(split="train")
    >>> model = rc_keras.build(tasks=builder.tasks)
    """

    # The package's folders need not be nested like its modules, which is what TFDS looks for.
    code_path = tfds.core.Path(__file__)
    pkg_dir_path = code_path.parent

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}

    def __init__(self, root: str | os.PathLike, data_dir: str | os.PathLike | None = None) -> None:
        self._layout = FolderLayout(root)
        names = ", ".join(task.name for task in self.tasks)
        config = tfds.core.BuilderConfig(name=self._layout.fingerprint, description=f"Tasks: {names}.")
        super().__init__(data_dir=data_dir, config=config)
        # TFDS pickles a builder as its arguments.
        self._original_state = {"root": root, "data_dir": data_dir}

    @property
    def tasks(self) -> list[Task]:
        """List of `rc_keras.Task`, one for each folder of labels, sorted by name."""
        return list(self._layout.tasks)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"id": tfds.features.Text(), "image": tfds.features.Image(shape=(None, None, 3))}
        for task in self.tasks:
            features[task.name] = _make_feature(task)
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        del dl_manager
        layout = self._layout
        used = [stem for stems in layout.splits.values() for stem in stems]
        foregrounds = {
            task.name: find_foreground(task, [layout.labels[task.name][stem] for stem in used]) for task in self.tasks
        }
        return {split: self._generate_examples(stems, foregrounds) for split, stems in layout.splits.items()}

    def _generate_examples(
        self, stems: Iterable[str], foregrounds: Mapping[str, int]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        layout = self._layout

        def read(stem: str) -> tuple[str, dict[str, Any]]:
            image = layout.images[stem]
            size = label_checks.read_image(image).shape[:2]
            example = {"id": stem, "image": image}
            for task in layout.tasks:
                path = layout.labels[task.name][stem]
                example[task.name] = read_label(path, task, size, foregrounds[task.name])
            return stem, example

        yield from ordered_map(read, stems)
        if layout.has_changed():
            raise RuntimeError(f"The files in `{layout.root}` must not change while they are read. Make a new builder.")


def _make_feature(task: Task) -> tfds.features.FeatureConnector:
    dtype = stored_dtype(task)
    if dtype == np.uint8:
        coloured = task.definition.of_classes
        return tfds.features.Image(shape=(None, None, 1), encoding_format="png", use_colormap=coloured)
    channels = task.definition.label_channels(task)
    return tfds.features.Tensor(shape=(None, None, channels), dtype=dtype, encoding="zlib")
