"""Data sets are prepared without what TFDS tells of it."""

import contextlib
import io
import os
import sys

import tensorflow_datasets as tfds


def prepare_quietly(builder: tfds.core.DatasetBuilder, manual_dir: str | os.PathLike | None = None) -> None:
    """Prepares a data set that is not; TFDS prints nothing but, on standard error, its bars.

    Args:
        builder: of the data set.
        manual_dir: folder of the archive, or `None`.
    """
    config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_config=config)


def hide_bars_in_files() -> None:
    """Has TFDS draw its bars on a terminal alone, for the rest of the process."""
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
