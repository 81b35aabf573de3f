"""The functions by which users call exporters."""

import inspect
import os
from collections.abc import Callable
from typing import Any

from rc_keras.export.formats.format import Format
from rc_keras.export.listed import listed
from rc_keras.export.options import ExportOptions
from rc_keras.export.report import ExportReport
from rc_keras.export.stages.run import run
from rc_keras.network.multi_task_network import MultiTaskNetwork

_HELP = """
Args:
    model: the `MultiTaskModel`.
    {target}
    options: all others, in the order of the signature or by name, see `rc_keras.export.ExportOptions`.{quantizers}

Returns:
    The `ExportReport`.

Raises:
    ImportError: if a package is missing; names what to install.
    RuntimeError: if Keras does not run on TensorFlow, which the converters need.
    ValueError: if an argument is not as described, or does not go with what is there.
    OSError: if it may not be written there, or the disk is full.
    ExportError: if the converter does not know an operation, an output differs from the model's by more than the
        `TOLERANCES` of the precision allow, or a bank kernel is not stored exactly once for all tasks.

Whatever the error, nothing is left under the name, and what stood there before stays."""


def public_call(format: Format) -> Callable[..., ExportReport]:
    """A function `(model, path, **options)` that exports to a format.

    Its signature and its help show the options that the format knows, with their defaults: `path` is called `directory`
    where the format is a folder.
    """
    signature = _signature(format)

    def call(*args: Any, **kwargs: Any) -> ExportReport:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{format.name}() {error}") from None
        bound.apply_defaults()
        (_, model), (_, path), *options = bound.arguments.items()
        return run(format, model, path, ExportOptions(**dict(options)))

    call.__name__ = call.__qualname__ = format.name
    call.__module__ = "rc_keras.export"
    call.__doc__ = f"{inspect.getdoc(format)}\n{_help(format)}"
    call.__dict__["__signature__"] = signature
    return call


def _signature(format: Format) -> inspect.Signature:
    target = "path" if format.suffix else "directory"
    required = {"model": MultiTaskNetwork, target: str | os.PathLike}
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    options = inspect.signature(ExportOptions).parameters
    return inspect.Signature(
        [inspect.Parameter(name, kind, annotation=annotation) for name, annotation in required.items()]
        + [options[name].replace(default=format.defaults.get(name, options[name].default)) for name in format.options],
        return_annotation=ExportReport,
    )


def _help(format: Format) -> str:
    return _HELP.format(
        target=f"path: the file, ending in `{format.suffix}`." if format.suffix else "directory: the folder to write.",
        quantizers=f" `quantize` knows {listed(map(repr, format.quantizers))}." if format.quantizers else "",
    )
