"""Models that look trained: every weight a task owns is random, so that no two tasks are alike and no step is idle."""

import zlib

import numpy as np


def pretend_training(model, seed=0):
    """Draws all weights of all tasks, norms with their statistics and gains included; the bank stays."""
    bank = {id(layer.kernel) for layer in model.bank.convolutions.values()}
    for name in model.tasks:
        for variable in model.branch(name).variables:
            if id(variable) in bank or "int" in variable.dtype:
                continue
            generator = np.random.default_rng([seed, zlib.crc32(variable.path.encode())])
            if variable.name in ("gamma", "gain", "moving_variance"):
                value = generator.uniform(0.5, 1.5, variable.shape)
            elif variable.name in ("beta", "bias", "moving_mean"):
                value = generator.normal(0.0, 0.2, variable.shape)
            else:
                value = generator.normal(0.0, np.prod(variable.shape[:-1]) ** -0.5, variable.shape)
            variable.assign(value)
    return model
