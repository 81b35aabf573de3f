"""The stored examples of a split, each readable on its own."""

import os
import struct
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from rc_keras.base.names import unknown_name

# A record is its length (8 bytes), a checksum of that (4), the data, and a checksum of the data (4).
_HEAD, _TAIL = 12, 4


class StoredExamples:
    """Random access to the TFRecord files of a prepared TFDS split.

    The heads of the records are walked once for where each record lies; afterwards any example is read alone. So a
    shuffled pass needs no buffer, and starting in the middle of one reads nothing of what comes before.

    Args:
        builder: the prepared `tfds.core.DatasetBuilder`.
        split: name of a split, or a part of one like `"train[:80%]"`.
        names: features to read and decode; the others are never decoded.

    Raises:
        ValueError: if the data set is not prepared, is not kept as TFRecord files, lacks a feature, or a file is
            damaged.
        FileNotFoundError: if a file is missing.
    """

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str, names: Iterable[str]) -> None:
        info = builder.info
        if not info.splits:
            raise ValueError(
                f"The data set `{info.full_name}` must be prepared with `builder.download_and_prepare()`. "
                f"Received: nothing in {builder.data_dir}"
            )
        if info.file_format not in (None, tfds.core.FileFormat.TFRECORD):
            raise ValueError(
                f"The data set `{info.full_name}` must be kept as TFRecord files. Received: {info.file_format.value}"
            )
        for name in names:
            if name not in info.features:
                raise unknown_name("feature", name, info.features)
        self._features = tfds.features.FeaturesDict({name: info.features[name] for name in names})
        self._files: list[str] = []
        places = []
        for instruction in info.splits[split].file_instructions:
            number = len(self._files)
            self._files.append(str(instruction.filename))
            found = _find_records(instruction.filename, instruction.examples_in_shard)
            places += [(number, *place) for place in found[instruction.skip : instruction.skip + instruction.take]]
        self._places = np.array(places, "int64").reshape(-1, 4)

    def __len__(self) -> int:
        return len(self._places)

    def read(self, index: int | np.integer | tf.Tensor) -> dict[str, tf.Tensor]:
        """The decoded features of an example.

        Args:
            index: scalar int64 tensor, place in the stored order.

        Returns:
            `{feature: tensor}`. A file that has disappeared raises `tf.errors.NotFoundError`.
        """
        file, start, length, rest = tf.unstack(tf.gather(self._places, index), num=4)
        record = tf.data.FixedLengthRecordDataset(
            tf.gather(self._files, file),
            record_bytes=length,
            header_bytes=start,
            footer_bytes=rest,
            buffer_size=length,
        )
        return self._features.deserialize_example(record.get_single_element())


def _find_records(path: str | os.PathLike, count: int) -> list[tuple[int, int, int]]:
    """Returns [(start of the data, its length, bytes after it)] of a file of `count` records."""
    found = []
    with tfds.core.Path(path).open("rb") as file:
        size = file.seek(0, 2)
        at = 0
        while at < size:
            file.seek(at)
            head = file.read(_HEAD)
            length = struct.unpack("<Q", head[:8])[0] if len(head) == _HEAD else size
            at += _HEAD + length + _TAIL
            if at > size:
                break
            found.append((at - _TAIL - length, length, size - at + _TAIL))
    if at != size or len(found) != count:
        raise ValueError(
            f"`{path}` must hold {count} examples; prepare the data set again. Received: {len(found)} readable ones"
        )
    return found
