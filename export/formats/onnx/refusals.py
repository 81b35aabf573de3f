"""What onnxruntime says of a graph that it does not take."""

import contextlib
from collections.abc import Iterator

from rc_keras.export.report import ExportError


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Raises onnxruntime's own errors, in loading or running what was written, as an `ExportError` with its words."""
    try:
        yield
    except Exception as error:
        if "onnxruntime" not in type(error).__module__:
            raise
        raise ExportError(f"onnxruntime must take what was written; it was discarded. It says: {error}") from error
