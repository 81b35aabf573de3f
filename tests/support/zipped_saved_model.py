"""A format as a contributor adds one: a SavedModel in one zip file. Run as a program: the command line with it."""

import contextlib
import dataclasses
import os
import shutil
import tempfile

from absl import app

from rc_keras.export.formats.registry import register
from rc_keras.export.formats.saved_model.exporter import SavedModel


class ZippedSavedModel(SavedModel):
    """Writes a SavedModel as one zip file."""

    name = keyword = "zipped_saved_model"
    title = "zipped SavedModel"
    summary = "one zip file with a SavedModel"
    looks = "a .zip file"
    suffix = ".zip"

    def write(self, converted, network, path):
        with tempfile.TemporaryDirectory() as folder:
            super().write(converted, network, os.path.join(folder, "content"))
            os.replace(shutil.make_archive(os.path.join(folder, "m"), "zip", os.path.join(folder, "content")), path)

    @contextlib.contextmanager
    def read(self, converted, network, path, target):
        with tempfile.TemporaryDirectory() as folder:
            shutil.unpack_archive(path, folder, "zip")
            with super().read(converted, network, folder, target) as written:
                yield dataclasses.replace(written, file_bytes=os.path.getsize(path))

    def recognizes(self, path):
        return path.is_file() and path.suffix == self.suffix

    def open(self, path, threads=None, **options):
        with tempfile.TemporaryDirectory() as folder:
            shutil.unpack_archive(path, folder, "zip")
            return super().open(folder, threads=threads, **options)


if __name__ == "__main__":
    register(ZippedSavedModel())
    from rc_keras.export.__main__ import main

    app.run(main)
