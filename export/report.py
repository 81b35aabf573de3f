"""The report of an export: sizes, differences and operators."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from rc_keras.export.comparison import TOLERANCES
from rc_keras.files.whole_files import write_json

REPORT = "report.json"  # name of the report in a folder


class ExportError(ValueError):
    """An exported file does not compute what the model computes; the message holds the report's table."""


@dataclasses.dataclass(frozen=True)
class TaskReport:
    """One task in an exported file.

    Attributes:
        shape: shape of the output.
        difference: largest absolute difference from the model's output over all images compared.
        mean_difference: the mean one.
        relative_difference: the largest, of the range of the model's output.
        correlation: of all numbers with the model's.
        agreement: share of pixels of the same class, or `None`.
        passed: whether all that is within the tolerance of the precision.
        bytes: ideal size of the task's own folded weights.
        operators: `{operator: count}` of the task's graph.
        metric: `{"name": …, "model": …, "file": …}` on the images compared, where labels were given, or `None`.
        operators_outside_delegate: those of them that the runtime does not leave to its delegate, in LiteRT XNNPACK, as
            measured in the runtime; `None` where it does not tell, or has none.
    """

    shape: tuple[int, ...]
    difference: float
    mean_difference: float
    relative_difference: float
    correlation: float
    agreement: float | None
    passed: bool
    bytes: int
    operators: dict[str, int]
    metric: dict[str, Any] | None = None
    operators_outside_delegate: dict[str, int] | None = None


@dataclasses.dataclass(frozen=True)
class JointReport:
    """The signature or graph `all`, which answers all tasks of an image in one call.

    Attributes:
        relative_difference: largest difference from the answers of the tasks' own, of their range.
        bytes: what it adds to the size.
        operators: `{operator: count}` of its graph.
    """

    relative_difference: float
    bytes: int
    operators: dict[str, int]


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What was exported; `str(report)` is a table.

    Attributes:
        path: the file or folder.
        format: e.g. `"litert"`.
        precision: `"float32"`, `"float16"`, `"dynamic_int8"` or `"int8"`.
        mode: `"shared"` or `"merged"`.
        tasks: `{task: TaskReport}`.
        bank_bytes: ideal size of the shared kernels.
        bank_kernels: number of shared kernels.
        bank_kernels_stored_once: how many of them stand in the file exactly once for all tasks: bit for bit in float32,
            else rounded as the precision demands.
        bank_fingerprint: see `FilterBank.fingerprint`.
        file_bytes: size of the file, or of all files.
        update_bytes: `{task: what has to be shipped to change or add this task alone}`.
        seconds: duration of the whole export.
        versions: `{package: version}`.
        notes: what else a user should know, a sentence each.
        joint: the `JointReport`, where there is a signature or graph of all tasks; else `None`.
    """

    path: str
    format: str
    precision: str
    mode: str
    tasks: dict[str, TaskReport]
    bank_bytes: int
    bank_kernels: int
    bank_kernels_stored_once: int
    bank_fingerprint: str
    file_bytes: int
    update_bytes: dict[str, int]
    seconds: float
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    joint: JointReport | None = None

    @property
    def ideal_bytes(self) -> int:
        """Size of the folded weights, the shared ones counted once."""
        return self.bank_bytes + sum(task.bytes for task in self.tasks.values())

    @property
    def ratio(self) -> float:
        """Size of the file over the ideal size; near 1."""
        return self.file_bytes / self.ideal_bytes

    @property
    def separate_bytes(self) -> int:
        """Size of the folded weights if every task came in a file of its own, bank included."""
        return self.ideal_bytes + (len(self.tasks) - 1) * self.bank_bytes

    @property
    def separate_ratio(self) -> float:
        """How many times as large separate files would be, ideal against ideal."""
        return self.separate_bytes / self.ideal_bytes

    @property
    def operators(self) -> dict[str, int]:
        """`{operator: count}` over all tasks."""
        names = sorted({name for task in self.tasks.values() for name in task.operators})
        return {name: sum(task.operators.get(name, 0) for task in self.tasks.values()) for name in names}

    @property
    def passed(self) -> bool:
        """Whether every output is within the tolerance and every shared kernel stands in the file once."""
        return self.bank_kernels_stored_once == self.bank_kernels and all(task.passed for task in self.tasks.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: the attributes, and the sizes that follow from them."""
        attributes = dataclasses.asdict(self)
        if self.joint is None:
            del attributes["joint"]
        return {
            **attributes,
            "tolerance": dataclasses.asdict(TOLERANCES[self.precision]),
            "passed": self.passed,
            "ideal_bytes": self.ideal_bytes,
            "ratio": self.ratio,
            "separate_bytes": self.separate_bytes,
            "separate_ratio": self.separate_ratio,
            "operators": self.operators,
        }

    def save(self, path: str | os.PathLike | None = None) -> str | os.PathLike:
        """Writes the report as JSON; returns the path, which is `<file>.report.json` unless given."""
        path = f"{self.path}.report.json" if path is None else path
        write_json(path, self.to_dict())
        return path

    def plot(self, path: str | os.PathLike) -> None:
        """Draws the sizes as a bar chart, this file against separate files, and writes it as a picture.

        Raises:
            ImportError: without matplotlib; names what to install.
        """
        from rc_keras.export.size_chart import draw_size_chart

        draw_size_chart(self, path)

    def __str__(self) -> str:
        width = max(map(len, (*self.tasks, "shared bank")))
        headings = f"{'max difference':>16}{'of the range':>14}{'correlation':>13}{'classes':>9}"
        lines = [f"{'':<{width}}  {'output':<18}{headings}    {'weights':>12}"]
        for name, task in self.tasks.items():
            shape = " x ".join(map(str, task.shape))
            agreement = "" if task.agreement is None else f"{task.agreement:.2%}"
            lines.append(
                f"{name:<{width}}  {shape:<18}{task.difference:>16.1e}{task.relative_difference:>14.1e}"
                f"{task.correlation:>13.6f}{agreement:>9} {_mark(task.passed)}  {_megabytes(task.bytes):>12}"
            )
        once = self.bank_kernels_stored_once
        how = "bit for bit" if self.precision == "float32" else "rounded alike for all tasks"
        stored = f"{once} of {self.bank_kernels} kernels stored once, {how}" if self.bank_kernels else "none"
        mark = _mark(once == self.bank_kernels)
        update = " to ".join(dict.fromkeys(_megabytes(f(self.update_bytes.values())) for f in (min, max)))
        lines += [
            f"{'shared bank':<{width}}  {stored:<70} {mark}  {_megabytes(self.bank_bytes):>12}",
            f"{'file':<{width}}  {f'{self.ratio:.4f} of the ideal {_megabytes(self.ideal_bytes)}':<72}  "
            f"{_megabytes(self.file_bytes):>12}",
            f"{'separate':<{width}}  {f'{self.separate_ratio:.2f} times as large':<72}  "
            f"{_megabytes(self.separate_bytes):>12}",
            f"{'update':<{width}}  {'what changing or adding one task costs':<72}  {update:>12}",
        ]
        if self.joint is not None:
            text = f"every task in one call, {self.joint.relative_difference:.1e} of the range from their own"
            lines.append(f"{'all':<{width}}  {text:<72}  {_megabytes(self.joint.bytes):>12}")
        for name, task in self.tasks.items():
            if task.metric is not None:
                model, file = task.metric["model"], task.metric["file"]
                lines.append(f"{name:<{width}}  {task.metric['name']} of the model {model:.4f}, of the file {file:.4f}")
        lines += [
            f"{self.path}: {self.format}, {self.precision}, {self.mode}, {self.seconds:.1f} s",
            f"operators: {_counts(self.operators)}",
            *self._outside_delegate(),
            *self.notes,
        ]
        return "\n".join(lines)

    def _outside_delegate(self) -> list[str]:
        """A line on what runs outside of the delegate, where that is known of all tasks."""
        found = {name: task.operators_outside_delegate for name, task in self.tasks.items()}
        if None in found.values():
            return []
        texts = [f"{name} {_counts(counts)}" for name, counts in found.items() if counts]
        return [f"outside of the delegate: {'; '.join(texts) or 'none'}"]


def _counts(operators: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in operators.items())


def _mark(passed: bool) -> str:
    return "✓" if passed else "✗"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.3f} MB"
