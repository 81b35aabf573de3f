"""What a model was trained and measured with."""

import os
import pathlib
import platform
from typing import Any

import keras

import rc_keras


def describe_machine() -> dict[str, Any]:
    """Processor, GPUs and versions, `{name: text, number or list}`."""
    import tensorflow as tf

    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpus": [gpu.get("device_name", "unknown") for gpu in gpus],
        "system": platform.system(),
        "versions": {
            "rc_keras": rc_keras.__version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "python": platform.python_version(),
        },
    }


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
