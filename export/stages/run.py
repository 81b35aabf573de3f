"""An export from beginning to end."""

import contextlib
import os
import time

from rc_keras.base.global_settings import global_settings
from rc_keras.export.formats.description import to_json
from rc_keras.export.formats.format import Format
from rc_keras.export.options import ExportOptions
from rc_keras.export.report import ExportReport
from rc_keras.export.stages.check import check_request
from rc_keras.export.stages.compare import compare_joint, compare_task
from rc_keras.export.stages.fold_tasks import fold_tasks
from rc_keras.export.stages.progress import stage
from rc_keras.export.stages.report import make_report
from rc_keras.export.stages.write import temporary_target
from rc_keras.files.whole_files import write_whole
from rc_keras.files.whole_folder import folder_lock
from rc_keras.network.multi_task_network import MultiTaskNetwork


def run(format: Format, model: MultiTaskNetwork, path: str | os.PathLike, options: ExportOptions) -> ExportReport:
    """Exports a model: checks, folds, writes, reads back and compares, reports.

    Raises:
        ImportError, RuntimeError, ValueError, OSError, ExportError: as the exporter says. Whatever the error, nothing
            is left under the name, and what stood there before stays.
    """
    begin = time.perf_counter()
    target = format.check_target(path, options.overwrite)
    format.import_packages()
    request = check_request(format, model, options)
    names, verbose = list(request.tasks), options.verbose
    with global_settings("float32"), contextlib.nullcontext() if format.suffix else folder_lock(target):
        format.check_target(target, options.overwrite, names)  # another writer may have made it since
        format.check_fits(target, request.description)
        with stage(f"Folding {', '.join(names)}", verbose):
            folded = format.prepare(fold_tasks(format, request))
        with temporary_target(format, names, target) as (temporary, report_path, description_path):
            with stage(format.writing, verbose):
                converted = format.convert(folded)
                format.write(converted, folded, temporary)
            with contextlib.ExitStack() as opened:
                with stage(format.reading, verbose):
                    written = opened.enter_context(format.read(converted, folded, temporary, target))
                compared = {}
                for name in names:
                    with stage(f"Comparing {name} in {format.runs_in}", verbose):
                        compared[name] = compare_task(request, folded, written, name)
                joint = compare_joint(request, folded, written)
            seconds = time.perf_counter() - begin
            report = make_report(format, target, request, folded, written, compared, joint, seconds)
            report.save(report_path)
            write_whole(description_path, to_json(folded.self_description))
    if verbose:
        print(report)
    return report
