"""The report of an export: sizes, differences and operators."""

import dataclasses
import json

from rc_keras.export.verify import TOLERANCE
from rc_keras.whole_files import write_whole


class ExportError(ValueError):
    """An exported file does not compute what the model computes; the message holds the report's table."""


@dataclasses.dataclass(frozen=True)
class TaskReport:
    """One task in an exported file.

    Attributes:
        difference: largest absolute difference from the model's output over all images compared.
        relative_difference: the same, of the range of the model's output.
        passed: whether it is within the tolerance.
        shape: shape of the output.
        bytes: size of the task's own folded weights.
        operators: `{operator: count}` of the task's signature.
    """

    difference: float
    relative_difference: float
    passed: bool
    shape: tuple
    bytes: int
    operators: dict


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What was exported; `str(report)` is a table.

    Attributes:
        path: the file.
        format: e.g. `"litert"`.
        tasks: `{task: TaskReport}`.
        bank_bytes: size of the shared kernels.
        bank_kernels: number of shared kernels.
        bank_kernels_stored_once: how many of them stand in the file exactly once and bit for bit.
        bank_fingerprint: see `FilterBank.fingerprint`.
        file_bytes: size of the file.
        seconds: duration of the whole export.
        versions: `{package: version}`.
    """

    path: str
    format: str
    tasks: dict
    bank_bytes: int
    bank_kernels: int
    bank_kernels_stored_once: int
    bank_fingerprint: str
    file_bytes: int
    seconds: float
    versions: dict

    @property
    def ideal_bytes(self):
        """Size of the folded weights, the shared ones counted once."""
        return self.bank_bytes + sum(task.bytes for task in self.tasks.values())

    @property
    def ratio(self):
        """Size of the file over the ideal size; near 1."""
        return self.file_bytes / self.ideal_bytes

    @property
    def separate_bytes(self):
        """Size of the folded weights if every task came in a file of its own, bank included."""
        return self.ideal_bytes + (len(self.tasks) - 1) * self.bank_bytes

    @property
    def separate_ratio(self):
        """How many times as large separate files would be, ideal against ideal."""
        return self.separate_bytes / self.ideal_bytes

    @property
    def operators(self):
        """`{operator: count}` over all tasks."""
        names = sorted({name for task in self.tasks.values() for name in task.operators})
        return {name: sum(task.operators.get(name, 0) for task in self.tasks.values()) for name in names}

    @property
    def passed(self):
        """Whether every output is within the tolerance and every shared kernel stands in the file once."""
        return self.bank_kernels_stored_once == self.bank_kernels and all(task.passed for task in self.tasks.values())

    def to_dict(self):
        """Plain data for JSON: the attributes, and the sizes that follow from them."""
        return {
            **dataclasses.asdict(self),
            "tolerance": TOLERANCE,
            "passed": self.passed,
            "ideal_bytes": self.ideal_bytes,
            "ratio": self.ratio,
            "separate_bytes": self.separate_bytes,
            "separate_ratio": self.separate_ratio,
            "operators": self.operators,
        }

    def save(self, path=None):
        """Writes the report as JSON; returns the path, which is `<file>.report.json` unless given."""
        path = f"{self.path}.report.json" if path is None else path
        write_whole(path, (json.dumps(self.to_dict(), indent=2) + "\n").encode())
        return path

    def plot(self, path):
        """Draws the sizes as a bar chart, this file against separate files, and writes it as a picture.

        Raises:
            ImportError: without matplotlib; names what to install.
        """
        from rc_keras.export.size_chart import draw_size_chart

        draw_size_chart(self, path)

    def __str__(self):
        width = max(map(len, (*self.tasks, "shared bank")))
        lines = [f"{'':<{width}}  {'output':<18}{'max difference':>16}{'of the range':>15}  {'weights':>12}"]
        for name, task in self.tasks.items():
            shape = " x ".join(map(str, task.shape))
            lines.append(
                f"{name:<{width}}  {shape:<18}{task.difference:>16.1e}{task.relative_difference:>13.1e} "
                f"{_mark(task.passed)}  {_megabytes(task.bytes):>12}"
            )
        once = self.bank_kernels_stored_once
        stored = f"{once} of {self.bank_kernels} kernels stored once, bit for bit" if self.bank_kernels else "none"
        mark = _mark(once == self.bank_kernels)
        lines += [
            f"{'shared bank':<{width}}  {stored:<47} {mark}  {_megabytes(self.bank_bytes):>12}",
            f"{'file':<{width}}  {f'{self.ratio:.4f} of the ideal {_megabytes(self.ideal_bytes)}':<49}  "
            f"{_megabytes(self.file_bytes):>12}",
            f"{'separate':<{width}}  {f'{self.separate_ratio:.2f} times as large':<49}  "
            f"{_megabytes(self.separate_bytes):>12}",
            f"{self.path}: {self.format}, {self.seconds:.1f} s, tolerance {TOLERANCE:g} of the range",
            "operators: " + ", ".join(f"{name} {count}" for name, count in self.operators.items()),
        ]
        return "\n".join(lines)


def _mark(passed):
    return "✓" if passed else "✗"


def _megabytes(size):
    return f"{size / 1e6:,.3f} MB"
