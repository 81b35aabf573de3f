"""Flatbuffers from a list of fields, without generated code."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import flatbuffers
import numpy as np

# `(name, {field: value})`. A value is a string, a NumPy number of the field's type, a table, or a list of one of these.
Table: TypeAlias = tuple[str, Mapping[str, Any]]


def pack(table: Table, schema: Mapping[str, Sequence[str]], identifier: bytes) -> bytes:
    """Writes a flatbuffer.

    Args:
        table: the root; fields that are `None` or empty are left out.
        schema: `{table: fields in the order of the schema}`.
        identifier: of the file, 4 bytes.
    """
    builder = flatbuffers.Builder()
    builder.Finish(_table(builder, schema, *table), file_identifier=identifier)
    return bytes(builder.Output())


def _table(
    builder: flatbuffers.Builder, schema: Mapping[str, Sequence[str]], name: str, fields: Mapping[str, Any]
) -> int:
    numbers = {field: value for field, value in fields.items() if isinstance(value, np.generic)}
    # What a table refers to is written before it.
    references = {
        field: _reference(builder, schema, value)
        for field, value in fields.items()
        if field not in numbers and value is not None and value != []
    }
    builder.StartObject(len(schema[name]))
    for field, value in numbers.items():
        prepend = getattr(builder, f"Prepend{value.dtype.name.title()}Slot")
        prepend(schema[name].index(field), int(value), 0)
    for field, offset in references.items():
        builder.PrependUOffsetTRelativeSlot(schema[name].index(field), offset, 0)
    return builder.EndObject()


def _reference(builder: flatbuffers.Builder, schema: Mapping[str, Sequence[str]], value: Any) -> int:
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, tuple):
        return _table(builder, schema, *value)
    if isinstance(value[0], np.float32):
        return builder.CreateNumpyVector(np.array(value))
    offsets = [_reference(builder, schema, entry) for entry in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
