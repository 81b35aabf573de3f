"""The data sets that recipes name, each with its tasks."""

import dataclasses
import importlib
import os
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import rc_keras
from rc_keras.base.names import unknown_name

if TYPE_CHECKING:
    import tensorflow_datasets as tfds


# Name of a data set: its module. That has `open_data(config, manual_dir, data_dir)`, which answers the `Data`.
DATASETS = {
    "nyud_mt": "rc_keras.zoo.datasets.nyud_mt",
    "pascal_mt": "rc_keras.zoo.datasets.pascal_mt",
    "scenes": "rc_keras.zoo.datasets.scenes",
    "folder": "rc_keras.zoo.datasets.folder",
}


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set of the zoo, with splits `train` and `validation`.

    Attributes:
        builder: the TFDS builder; its features are named like the tasks.
        tasks: `{name: Task}`.
        manual_dir: folder of the archive, or `None`.
    """

    builder: "tfds.core.DatasetBuilder"
    tasks: dict[str, rc_keras.Task]
    manual_dir: str | os.PathLike | None = None

    @classmethod
    def of(
        cls,
        builder: "tfds.core.DatasetBuilder",
        tasks: Iterable[rc_keras.Task],
        manual_dir: str | os.PathLike | None = None,
    ) -> "Data":
        """A data set with a list of tasks."""
        return cls(builder, {task.name: task for task in tasks}, manual_dir)

    def prepare(self) -> None:
        """Reads the archive into TFDS's files, the first time; says so."""
        from rc_keras.zoo.datasets.preparation import prepare_quietly

        if not pathlib.Path(self.builder.data_path).exists():
            print(f"Preparing {self.builder.info.full_name} in {self.builder.data_path}", flush=True)
        prepare_quietly(self.builder, self.manual_dir)

    def select(self, names: Iterable[str]) -> list[rc_keras.Task]:
        """The `Task`s of some names; raises `ValueError` for unknown ones."""
        for name in names:
            if name not in self.tasks:
                raise unknown_name("task", name, self.tasks)
        return [self.tasks[name] for name in names]


def open_data(
    name: str, manual_dir: str | os.PathLike | None = None, data_dir: str | os.PathLike | None = None
) -> Data:
    """Finds a data set; nothing is prepared yet.

    Args:
        name: a key of `DATASETS`, and maybe a configuration, as in `"scenes/tiny"`.
        manual_dir: folder of the archive; for `"folder"` the root of the data.
        data_dir: where TFDS keeps prepared data; `None`: its default.

    Raises:
        ValueError: for an unknown name, or a missing root.
    """
    name_of_package, _, config = name.partition("/")
    if name_of_package not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    return importlib.import_module(DATASETS[name_of_package]).open_data(config, manual_dir, data_dir)
