"""The export formats by name. What people read about them, and what chooses among them, follows from here."""

from collections.abc import Callable

from rc_keras.export.formats.format import Format
from rc_keras.export.formats.onnx.exporter import ONNX
from rc_keras.export.formats.saved_model.exporter import SavedModel
from rc_keras.export.formats.tflite.exporter import LiteRT
from rc_keras.export.public_call import public_call
from rc_keras.export.report import ExportReport

REGISTRY: dict[str, Format] = {}  # by `Format.keyword`
FORMATS: dict[str, Callable[..., ExportReport]] = {}  # the exporters, by the same
SUFFIXES: dict[str, str] = {}  # {suffix of a file: keyword}


def register(format: Format) -> None:
    """Makes a format known to `export`, `runtime.load` and the command line.

    Raises:
        ValueError: if another format has one of its names, or its suffix.
    """
    for other in REGISTRY.values():
        for attribute in ("name", "keyword", "suffix"):
            value = getattr(format, attribute)
            if value and value == getattr(other, attribute):
                raise ValueError(
                    f"The {attribute} of a format must be its own. Received: {attribute}={value!r}, that of "
                    f"{type(other).__name__}"
                )
    REGISTRY[format.keyword] = format
    FORMATS[format.keyword] = public_call(format)
    if format.suffix:
        SUFFIXES[format.suffix] = format.keyword


def markdown_table() -> str:
    """The formats as the README shows them."""
    rows = ["| `format=` | writes | `quantize=` | needs |", "| --- | --- | --- | --- |"]
    for keyword, format in REGISTRY.items():
        quantizers = ", ".join(f'`"{name}"`' for name in format.quantizers) or "–"
        extra = f"`rc_keras[{format.extra}]`" if format.extra else "–"
        suffix = f", or by the suffix `{format.suffix}`" if format.suffix else ""
        rows.append(f'| `"{keyword}"`{suffix} | {format.title}: {format.summary} | {quantizers} | {extra} |')
    return "\n".join(rows) + "\n"


register(LiteRT())
register(ONNX())
register(SavedModel())
