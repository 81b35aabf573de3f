"""Last stage: the report."""

import contextlib
import importlib.metadata
from collections.abc import Iterable

from rc_keras.export.folding.folded_network import FoldedNetwork
from rc_keras.export.formats.format import Format, Written
from rc_keras.export.report import ExportError, ExportReport, JointReport, TaskReport
from rc_keras.export.stages.check import Request
from rc_keras.export.stages.compare import ideal_bytes


def make_report(
    format: Format,
    path: str,
    request: Request,
    folded: FoldedNetwork,
    written: Written,
    tasks: dict[str, TaskReport],
    joint: JointReport | None,
    seconds: float,
) -> ExportReport:
    """The report of an export that has passed.

    Args:
        format: what was exported to.
        path: of the file or folder under its final name.
        request, folded, written, tasks, joint: what the stages before gave.
        seconds: since the export began.

    Raises:
        ExportError: if it has not passed.
    """
    notes = ["Compared on images it was calibrated on; `images` takes others."] if request.compares_calibration else []
    report = ExportReport(
        path=path,
        format=format.name,
        precision=folded.precision,
        mode=request.options.mode,
        tasks=tasks,
        bank_bytes=ideal_bytes(folded.bank.values(), folded.precision),
        bank_kernels=len(folded.kernels),
        bank_kernels_stored_once=written.stored_once,
        bank_fingerprint=request.model.bank.fingerprint,
        file_bytes=written.file_bytes,
        update_bytes=written.update_bytes,
        seconds=seconds,
        versions=_versions(("rc_keras", "keras", "tensorflow", *format.packages)),
        notes=(*written.notes, *notes),
        joint=joint,
    )
    if not report.passed:
        raise ExportError(_failure(report))
    return report


def _failure(report: ExportReport) -> str:
    message = "The exported file must compute what the model computes, with the bank stored once; it was discarded."
    if report.bank_kernels_stored_once < report.bank_kernels:
        message += (
            " The converter multiplies a constant into the kernel behind it: let `keras.layers.Rescaling` scale the "
            "input of a shared convolution."
        )
    return f"{message}\n{report}"


def _versions(packages: Iterable[str]) -> dict[str, str]:
    versions = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
