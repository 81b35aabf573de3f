"""Weights by name: one key for every variable of a set of layers, whatever the order of creation."""

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

# What Keras calls a variable that its layer gives no name, with a number that counts on through all models.
_UNNAMED = re.compile(r"(?P<layer>.*[/.])variable(_(?P<number>\d+))?\Z")


def named_variables(layers: Iterable[keras.layers.Layer], strip: str = "") -> dict[str, keras.Variable]:
    """Names the variables of layers: `{"<layer>/<variable>": variable}`.

    A layer that holds several variables of one name, or without (a composite layer brought by the user), has the
    repetitions numbered, in the order in which its class creates them.

    Args:
        layers: Keras layers with unique names.
        strip: a prefix that is left out of the layers' names, e.g. `"depth__"`.

    Returns:
        A dictionary of `keras.Variable`, without variables that appeared before.
    """
    named: dict[str, keras.Variable] = {}
    seen = set()
    for layer in layers:
        for variable in layer.variables:
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            stem = _UNNAMED.sub(r"\g<layer>variable", f"{layer.name.removeprefix(strip)}/{variable.name}")
            key, repetition = stem, 1
            while key in named:
                key, repetition = f"{stem}_{repetition}", repetition + 1
            named[key] = variable
    return named


def named_arrays(layers: Iterable[keras.layers.Layer], strip: str = "") -> dict[str, np.ndarray]:
    """As `named_variables`, with NumPy arrays."""
    return {name: keras.ops.convert_to_numpy(v) for name, v in named_variables(layers, strip).items()}


def assign_named(
    variables: Mapping[str, keras.Variable], tensors: Mapping[str, Any], source: str, skip_mismatch: bool = False
) -> None:
    """Assigns tensors to variables of the same names, all or nothing.

    Args:
        variables: `{name: keras.Variable}`.
        tensors: `{name: array}`, of any precision and byte order.
        source: where the tensors come from, for the error.
        skip_mismatch: assign those that match, and warn of the others.

    Raises:
        ValueError: if names are missing or superfluous, shapes differ, or values do not fit; lists them all.

    Warns:
        UserWarning: the same, with `skip_mismatch`.
    """
    if variables.keys() != tensors.keys():
        tensors = _numbered_anew(tensors)
    problems = [f"missing: {name}" for name in sorted(variables.keys() - tensors.keys())]
    problems += [f"superfluous: {name}" for name in sorted(tensors.keys() - variables.keys())]
    fitting = {}
    for name in sorted(variables.keys() & tensors.keys()):
        shape, dtype = tuple(variables[name].shape), keras.backend.standardize_dtype(variables[name].dtype)
        if shape != tuple(tensors[name].shape):
            problems.append(f"misshapen: {name} must be {shape}, is {tuple(tensors[name].shape)}")
            continue
        array = array_for(dtype, tensors[name])
        if array is None:
            problems.append(f"out of reach: {name} has values that {dtype} does not reach")
        else:
            fitting[name] = array
    listed = "\n  ".join(problems)
    if problems and not skip_mismatch:
        raise ValueError(f"The weights in {source} do not match the model:\n  {listed}")
    for name, array in fitting.items():
        variables[name].assign(array)
    if problems:
        warnings.warn(f"Of the weights in {source}, skipped were:\n  {listed}", stacklevel=2)


def _numbered_anew(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors with those of unnamed variables as `named_variables` has them; older files have Keras's own numbers."""
    unnamed = [found for found in map(_UNNAMED.fullmatch, tensors) if found]
    anew, counts = {}, dict[str, int]()
    for found in sorted(unnamed, key=lambda found: int(found["number"] or 0)):
        count = counts.setdefault(found["layer"], 0)
        anew[found[0]] = f"{found['layer']}variable" + (f"_{count}" if count else "")
        counts[found["layer"]] += 1
    return {anew.get(name, name): tensor for name, tensor in tensors.items()}


def array_for(dtype: str, value: Any) -> np.ndarray | None:
    """A value as every backend can assign it: a contiguous array of a variable's dtype in the machine's byte order.

    `None` if there are values that were finite and in `dtype` are not.
    """
    value = np.asarray(value)
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.array(value, dtype, order="C")
    return array if np.array_equal(np.isfinite(array), np.isfinite(value)) else None
