"""Arrays as JSON, which knows no NaN."""

import json

import numpy as np

from rc_keras.whole_files import write_whole


def write_json(path, values):
    """Writes nested dictionaries, tuples and lists of plain data and NumPy arrays; what is not a number becomes null.

    Raises:
        OSError: if the file cannot be written; what stood there before stays.
    """
    write_whole(path, (json.dumps(_plain(values), indent=2, allow_nan=False) + "\n").encode())


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
