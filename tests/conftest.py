"""What every test shares: the backend, quiet logs, and where real data lies."""

import importlib.util
import os
from pathlib import Path

import pytest

# Before the first import of Keras, which reads them once.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real photographs and weights named by RC_KERAS_TEST_DATA."""
    folder = os.environ.get("RC_KERAS_TEST_DATA")
    if not folder:
        pytest.skip("RC_KERAS_TEST_DATA is not set: it names a folder of real data")
    if not Path(folder).is_dir():
        pytest.skip(f"RC_KERAS_TEST_DATA is not a folder: {folder}")
    return Path(folder)


@pytest.fixture(params=["jax", "torch"])
def backend(request) -> str:
    """The backends beside TensorFlow's, one after the other, for tests that run a program on each."""
    import keras

    if keras.backend.backend() != "tensorflow":
        pytest.skip("runs the other backends from TensorFlow's run")
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param
