"""Keras's own tests of convolutions and batch norms, which come with its wheel, with our layers in their places."""

import re
import subprocess
import sys

import keras
import pytest
from support.folders import environment

MODULES = ("keras.src.layers.convolutional.conv_test", "keras.src.layers.normalization.batch_normalization_test")
COMMAND = ["-m", "pytest", "-q", "-c", "/dev/null", "-p", "support.our_layers", "-p", "no:cacheprovider", "--pyargs"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_they_pass(backend, tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("runs the other backends from TensorFlow's run")
    pytest.importorskip(backend)
    arguments = [sys.executable, *COMMAND, *MODULES, "-k", "not conv1d and not conv3d"]
    variables = environment(KERAS_BACKEND=backend)
    result = subprocess.run(arguments, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-4000:]
    assert int(re.search(r"(\d+) passed", result.stdout)[1]) >= 50
