"""The sizes that an `EinsumDense` meets."""

from collections.abc import Sequence

import keras


def einsum_sizes(layer: keras.layers.EinsumDense, shape: Sequence[int]) -> tuple[dict[str, int], tuple[int, ...]]:
    """`({index: size}, shape of the output)` for an input of a shape; axes of an ellipsis are indices too.

    The layer itself answers with the shape that it was built for.
    """
    terms, _, result = layer.equation.replace(" ", "").partition("->")
    given, of_kernel = terms.split(",")
    ellipsis = len(shape) - len(given.replace("...", ""))
    sizes = dict(zip(_indices(given, ellipsis), shape, strict=True))
    sizes |= zip(of_kernel, layer.kernel.shape, strict=True)
    return sizes, tuple(sizes[index] for index in _indices(result, ellipsis))


def _indices(term: str, ellipsis: int) -> list[str]:
    before, dots, after = term.partition("...")
    return [*before, *(f"...{axis}" for axis in range(ellipsis if dots else 0)), *after]
