"""Every optimizer of Keras, with what may be wrapped around it; as a program, the second half of an interrupted run.

Usage: python optimizer_cases.py FOLDER trains each model that `half_way` left in FOLDER, and writes `after` it.
"""

import inspect
import sys
from pathlib import Path

import keras
import numpy as np

from support.small import TASKS, small_data, small_model

CLASSES = {
    name: value
    for name, value in vars(keras.optimizers).items()
    if inspect.isclass(value) and issubclass(value, keras.Optimizer) and name not in ("Optimizer", "LossScaleOptimizer")
}
OPTIONS = {
    "plain": {},
    "averaged": {"use_ema": True, "ema_momentum": 0.5},
    "accumulated": {"gradient_accumulation_steps": 2},
    "clipped": {"global_clipnorm": 0.1},
    "scaled": {"loss_scale_factor": 8.0},
    "dynamically scaled": {},
}


def make(name, option):
    """The optimizer `keras.optimizers.<name>`."""
    optimizer = _make(name, OPTIONS[option])
    if option == "dynamically scaled":
        return keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0, dynamic_growth_steps=2)
    return optimizer


def _make(name, options):
    if name == "MultiOptimizer":
        factor = options.get("loss_scale_factor")
        chosen = {".*kernel": _make("Nadam", options), ".*gamma": _make("Adafactor", options)}
        return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(_make("SGD", options), chosen), factor)
    momentum = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    return CLASSES[name](learning_rate=0.01, **momentum, **options)


def weights(model):
    return {v.path: keras.ops.convert_to_numpy(v) for task in TASKS for v in model.branch(task.name).variables}


def half_way(name, option):
    """A model after three steps of both tasks."""
    model = small_model()
    model.compile(make(name, option), run_eagerly=True)
    fit(model, [task.name for task in TASKS], steps=3)
    return model


def fit(model, names, steps):
    images, labels = small_data(4 * steps)
    model.fit(images, {name: labels[name] for name in names}, batch_size=4, shuffle=False, verbose=0)


if __name__ == "__main__":
    for file in sorted(Path(sys.argv[1]).glob("*.keras")):
        loaded = keras.saving.load_model(file)
        fit(loaded, ["depth"], steps=2)
        np.savez(file.with_suffix(".npz"), **weights(loaded))
