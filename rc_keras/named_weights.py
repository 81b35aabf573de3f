"""Weights by name: one key for every variable of a set of layers, whatever the order of creation."""

import keras


def named_variables(layers, strip=""):
    """Names the variables of layers: `{"<layer>/<variable>": variable}`.

    A layer that holds several variables of one name (a composite layer brought by the user) has the repetitions
    numbered, in the order in which its class creates them.

    Args:
        layers: Keras layers with unique names.
        strip: a prefix that is left out of the layers' names, e.g. `"depth__"`.

    Returns:
        A dictionary of `keras.Variable`, without variables that appeared before.
    """
    named, seen = {}, set()
    for layer in layers:
        for variable in layer.variables:
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            stem = f"{layer.name.removeprefix(strip)}/{variable.name}"
            key, repetition = stem, 1
            while key in named:
                key, repetition = f"{stem}_{repetition}", repetition + 1
            named[key] = variable
    return named


def named_arrays(layers, strip=""):
    """As `named_variables`, with NumPy arrays."""
    return {name: keras.ops.convert_to_numpy(v) for name, v in named_variables(layers, strip).items()}


def assign_named(variables, tensors, source):
    """Assigns tensors to variables of the same names, all or nothing.

    Args:
        variables: `{name: keras.Variable}`.
        tensors: `{name: array}`.
        source: where the tensors come from, for the error.

    Raises:
        ValueError: if names are missing or superfluous or shapes differ; lists them all.
    """
    problems = [f"missing: {name}" for name in sorted(variables.keys() - tensors.keys())]
    problems += [f"superfluous: {name}" for name in sorted(tensors.keys() - variables.keys())]
    problems += [
        f"misshapen: {name} must be {tuple(variables[name].shape)}, is {tuple(tensors[name].shape)}"
        for name in sorted(variables.keys() & tensors.keys())
        if tuple(variables[name].shape) != tuple(tensors[name].shape)
    ]
    if problems:
        raise ValueError(f"The weights in {source} do not match the model:\n  " + "\n  ".join(problems))
    for name, variable in variables.items():
        variable.assign(tensors[name])
