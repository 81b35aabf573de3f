"""Third stage: what is written has temporary names until it has passed."""

import contextlib
import os
from collections.abc import Iterator

from rc_keras.export.formats.description import FILE
from rc_keras.export.formats.format import Format
from rc_keras.export.report import REPORT
from rc_keras.files.whole_files import whole_file
from rc_keras.files.whole_folder import new_folder


@contextlib.contextmanager
def temporary_target(format: Format, tasks: list[str], target: str) -> Iterator[tuple[str, str, str]]:
    """Context with temporary paths of a file or a folder, its report and its description.

    They appear if the block ends well.

    Args:
        format: what is written.
        tasks: names of the tasks.
        target: path of the file or folder.
    """
    if format.suffix:
        # All are written before any has its name, which the file gets first, and then what is said of it.
        with (
            whole_file(f"{target}.{FILE}") as description,
            whole_file(f"{target}.report.json") as report,
            whole_file(target) as file,
        ):
            yield file, report, description
    else:
        with new_folder(target) as folder:
            yield folder, os.path.join(folder, REPORT), os.path.join(folder, FILE)
            format.publish(tasks, folder, target)
