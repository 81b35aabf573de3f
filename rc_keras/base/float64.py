"""Values in double precision, for what is computed once and kept in float32."""

import keras
import numpy as np


def as_float64(variable: keras.Variable) -> np.ndarray:
    """The values of a variable."""
    return keras.ops.convert_to_numpy(variable).astype("float64")
