"""What an export format is: a description of it, and the few steps in which formats differ."""

import abc
import contextlib
import dataclasses
import importlib
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from rc_keras.export.folding.folded_network import FoldedNetwork
from rc_keras.export.formats.network import Network
from rc_keras.export.formats.target import check_target
from rc_keras.export.listed import listed
from rc_keras.export.options import OPTIONS
from rc_keras.export.report import REPORT
from rc_keras.files import manifest
from rc_keras.files.whole_files import write_whole
from rc_keras.files.whole_folder import switch


@dataclasses.dataclass(frozen=True)
class Written:
    """A file or folder as it was read back, open in its runtime.

    Attributes:
        run: function from a task's name and an image, float32 `(1, height, width, channels)`, to the answer.
        operators: `{task: {operator: count}}`.
        stored_once: how many kernels of the bank stand in it exactly once for all tasks: bit for bit in float32, else
            rounded as the precision demands.
        file_bytes: size of all that was written.
        update_bytes: `{task: what has to be shipped to change or add this task alone}`.
        notes: what else a user should know, a sentence each.
        run_all: function from such an image to `{task: answer}` by the signature or graph of all tasks, where there is
            one, whose operators are then those of `"all"`; else `None`.
        joint_bytes: what that one adds to the size.
        operators_outside_delegate: `{task: {operator: count}}` of what the runtime computes outside of its delegate;
            `None`, or no entry, where it does not tell.
    """

    run: Callable[[str, np.ndarray], np.ndarray]
    operators: Mapping[str, dict[str, int]]
    stored_once: int
    file_bytes: int
    update_bytes: dict[str, int]
    notes: tuple[str, ...] = ()
    run_all: Callable[[np.ndarray], dict[str, np.ndarray]] | None = None
    joint_bytes: int = 0
    operators_outside_delegate: Mapping[str, dict[str, int] | None] = dataclasses.field(default_factory=dict)


class Format(abc.ABC):
    """An export format; the docstring of a subclass is the help of its exporter.

    Checking, folding, locks, temporary names, comparing and reporting are the same for all, see
    `rc_keras.export.stages.run`. A format says what it is, in these attributes, and how it is written and read.

    Attributes:
        name: of its exporter, as in `rc_keras.export.onnx`; also in reports, and in `runtime.load(runtime=…)`.
        keyword: as in `export(format=…)`.
        title: its name for people.
        summary: what it is, in one line for people.
        looks: what `runtime.load` knows it by, for people: goes on "must be".
        suffix: of the file; empty for a folder.
        part_suffix: of the main files in the folder, for which a user may take the folder's name; or empty.
        part: what such a file is.
        quantizers: the values of `quantize` besides `None`, keys of `TOLERANCES`.
        unknown_options: names of fields of `ExportOptions` that it does not know.
        defaults: `{option: default}` where another one than that of `ExportOptions` suits it.
        packages: `{name: module}` of packages that it needs besides TensorFlow, as pip and as Python name them.
        extra: what to install of rc_keras for them, as in `pip install rc_keras[extra]`; empty where there are none.
        runs_in: the runtime's name for people.
        writing, reading: titles of these stages; a stage without one is not told.
    """

    name: ClassVar[str]
    keyword: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    looks: ClassVar[str]
    suffix: ClassVar[str] = ""
    part_suffix: ClassVar[str] = ""
    part: ClassVar[str] = ""
    quantizers: ClassVar[tuple[str, ...]] = ()
    unknown_options: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Mapping[str, Any]] = {}
    packages: ClassVar[Mapping[str, str]] = {}
    extra: ClassVar[str] = ""
    runs_in: ClassVar[str]
    writing: ClassVar[str]
    reading: ClassVar[str | None] = None

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options that it knows."""
        return tuple(name for name in OPTIONS if name not in self.unknown_options)

    def check_target(self, path: str | os.PathLike, overwrite: bool = False, tasks: list[str] | None = None) -> str:
        """Checks where it is to be written, before there is a model.

        Args:
            path: of the file or folder.
            overwrite: whether what is there is to be replaced.
            tasks: names of the tasks to write; `None`: not known yet.

        Returns:
            The absolute path.

        Raises:
            ValueError, OSError: see `rc_keras.export.formats.target.check_target`.
        """
        return check_target(path, overwrite, self.suffix)

    def check_fits(self, path: str, description: dict[str, Any]) -> None:  # noqa: B027, few formats need it
        """Raises `ValueError` if what is there, and stays, does not go with what will be written."""

    def place(self, task: str) -> dict[str, str | None]:
        """Where a task is found: its `signature`, or in a folder its `file`, for the file's description."""
        return {"signature": task, "file": None}

    def import_packages(self) -> None:
        """Raises `ImportError`, which says what to install, if a package is missing."""
        for module in self.packages.values():
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise ImportError(
                    f"Exporting to {self.title} needs {listed(self.packages)}: pip install rc_keras[{self.extra}]"
                ) from error

    def prepare(self, network: FoldedNetwork) -> FoldedNetwork:
        """The network in the form that suits the runtime; `convert`, `write` and `read` are given this."""
        return network

    @abc.abstractmethod
    def convert(self, network: FoldedNetwork) -> Any:
        """Makes whatever `write` takes, in the precision of the network; an iterator, to be in memory part by part.

        Raises:
            ExportError: if the converter does not know an operation.
        """

    @abc.abstractmethod
    def write(self, converted: Any, network: FoldedNetwork, path: str) -> None:
        """Writes what `convert` gave to the file `path`, or into the empty folder `path`: temporary names."""

    @abc.abstractmethod
    def read(
        self, converted: Any, network: FoldedNetwork, path: str, target: str
    ) -> contextlib.AbstractContextManager[Written]:
        """Opens what `write` wrote in its runtime.

        Args:
            converted, network, path: as in `write`; an iterator is at its end.
            target: where it will be put; what is there now stays as it is.
        """

    def publish(self, tasks: list[str], path: str, target: str) -> None:
        """Gives a folder that has passed, report inside, its name, and a manifest; a file is renamed without this.

        Args:
            tasks: names of the tasks.
            path: the temporary folder.
            target: path of the folder, which may be there; this process is its only writer.
        """
        files = manifest.of_folder(path)
        files.pop(REPORT)
        write_whole(os.path.join(path, manifest.NAME), manifest.to_json(files))
        switch(path, target)

    @abc.abstractmethod
    def recognizes(self, path: pathlib.Path) -> bool:
        """Whether a path that is there looks like one that was exported to this format."""

    @abc.abstractmethod
    def open(self, path: pathlib.Path, threads: int | None = None, **options: Any) -> Network:
        """Opens an exported file or folder, see `rc_keras.export.runtime.load`."""
