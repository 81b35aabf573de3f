"""The data sets that recipes name."""

import dataclasses
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

import rc_keras
from rc_keras.base.names import unknown_name

if TYPE_CHECKING:
    import tensorflow_datasets as tfds


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

    def prepare(self) -> None:
        """Reads the archive into TFDS's files, the first time."""
        import tensorflow_datasets as tfds

        self.builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=self.manual_dir))

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
        name: `"nyud_mt"`, `"pascal_mt"`, `"scenes/<config>"` or `"folder"`.
        manual_dir: folder of the archive; for `"folder"` the root of the data.
        data_dir: where TFDS keeps prepared data; `None`: its default.

    Raises:
        ValueError: for an unknown name, or a missing root.
    """
    kind, _, config = name.partition("/")
    if kind not in _OPENERS:
        raise unknown_name("data set", name, _OPENERS)
    builder, tasks = _OPENERS[kind](config, manual_dir, data_dir)
    return Data(builder, {task.name: task for task in tasks}, None if kind == "folder" else manual_dir)


_Opened: TypeAlias = tuple["tfds.core.DatasetBuilder", list[rc_keras.Task]]


def _nyud_mt(config: str, manual_dir: str | os.PathLike | None, data_dir: str | os.PathLike | None) -> _Opened:
    from rc_keras.zoo.datasets.nyud_mt import Builder

    return Builder(data_dir=data_dir), rc_keras.nyud()


def _pascal_mt(config: str, manual_dir: str | os.PathLike | None, data_dir: str | os.PathLike | None) -> _Opened:
    from rc_keras.zoo.datasets.pascal_mt import Builder

    return Builder(data_dir=data_dir), rc_keras.pascal_context()


def _scenes(config: str, manual_dir: str | os.PathLike | None, data_dir: str | os.PathLike | None) -> _Opened:
    from rc_keras.zoo.datasets.scenes import Builder
    from rc_keras.zoo.datasets.scenes.tasks import scenes_tasks

    return Builder(config=config or None, data_dir=data_dir), scenes_tasks()


def _folder(config: str, manual_dir: str | os.PathLike | None, data_dir: str | os.PathLike | None) -> _Opened:
    from rc_keras.zoo.datasets.folder import Builder

    if manual_dir is None:
        raise ValueError("`manual_dir` must be the root of the folder with your data. Received: manual_dir=None")
    builder = Builder(manual_dir, data_dir=data_dir)
    return builder, builder.tasks


_OPENERS = {"nyud_mt": _nyud_mt, "pascal_mt": _pascal_mt, "scenes": _scenes, "folder": _folder}
