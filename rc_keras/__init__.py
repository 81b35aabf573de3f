"""Incremental multi-task dense prediction on one frozen filter bank.

`build` makes a `MultiTaskModel`; see there.
"""

import importlib
from types import ModuleType

import rc_keras.base.own_command  # noqa: F401, before Keras is imported

# isort: split

from rc_keras import backbones, decoders, layers, losses, methods, metrics, optimizers, pretrained
from rc_keras.build import build
from rc_keras.from_preset import from_preset
from rc_keras.model import MultiTaskModel
from rc_keras.network.bank import FilterBank
from rc_keras.network.graft import graft
from rc_keras.published.listing import presets
from rc_keras.reports.graft_report import graft_report
from rc_keras.tasks.task import Task, nyud, pascal_context
from rc_keras.training.check_data import check_data
from rc_keras.training.draw_predictions import DrawPredictions
from rc_keras.training.dynamic_task_prioritization import DynamicTaskPrioritization
from rc_keras.version import __version__


def __getattr__(name: str) -> ModuleType:
    """`rc_keras.export` and `rc_keras.zoo` are imported when they are first used: they need more than Keras."""
    if name in ("export", "zoo"):
        return importlib.import_module(f"rc_keras.{name}")
    raise AttributeError(f"module 'rc_keras' has no attribute {name!r}")


__all__ = [
    "DrawPredictions",
    "DynamicTaskPrioritization",
    "FilterBank",
    "MultiTaskModel",
    "Task",
    "__version__",
    "backbones",
    "build",
    "check_data",
    "decoders",
    "from_preset",
    "graft",
    "graft_report",
    "layers",
    "losses",
    "methods",
    "metrics",
    "nyud",
    "optimizers",
    "pascal_context",
    "presets",
    "pretrained",
]
