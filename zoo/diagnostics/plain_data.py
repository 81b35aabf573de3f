"""Arrays as plain data for JSON, which knows no NaN."""

import numpy as np


def to_plain(value):
    """Nested dictionaries, lists and numbers from dictionaries, tuples, lists and NumPy arrays; NaN becomes `None`."""
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
