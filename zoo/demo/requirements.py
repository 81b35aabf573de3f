"""What the demo needs besides the package."""

import importlib

import keras

_NEEDED = {  # what to install: what is imported of it
    "train": ("tensorflow", "tensorflow_datasets"),
    "litert": ("ai_edge_litert.interpreter",),
    "viz": ("matplotlib", "PIL"),
}


def check_requirements() -> None:
    """Raises before the minutes of training what would otherwise be raised after them.

    Raises:
        ImportError: if a package is missing; says what to install.
        RuntimeError: if Keras is not on TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "The demo exports to LiteRT, which needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow. "
            f"Received: backend {keras.backend.backend()!r}"
        )
    for names in _NEEDED.values():
        for name in names:
            try:
                importlib.import_module(name)
            except ImportError as error:
                raise ImportError(
                    f"The demo needs {error.name or name}: pip install rc_keras[{','.join(_NEEDED)}]"
                ) from error
