"""The exported file, run by LiteRT itself."""

import os
from collections.abc import Iterable

import numpy as np


def run_exported(path: str | os.PathLike, names: Iterable[str], images: np.ndarray) -> dict[str, np.ndarray]:
    """Runs a `.tflite` file on images.

    Args:
        path: the file, with one signature for each task.
        names: the tasks.
        images: `(images, height, width, 3)`, RGB in 0..255.

    Returns:
        `{task: activated predictions}`, `(images, height, width, channels)`.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    predictions = {}
    for name in names:
        runner = interpreter.get_signature_runner(name)
        predictions[name] = np.concatenate([runner(image=image[None].astype("float32"))[name] for image in images])
    return predictions
