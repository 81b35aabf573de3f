"""What the colours of a picture mean."""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np


@dataclasses.dataclass(frozen=True)
class Swatches:
    """One colour a name.

    Attributes:
        names: the names.
        colours: uint8 RGB array `(len(names), 3)`.
    """

    names: Sequence[str]
    colours: np.ndarray


@dataclasses.dataclass(frozen=True)
class Ramp:
    """A scale of colours.

    Attributes:
        colours: uint8 RGB array `(n, 3)`, equally spaced from low to high.
        low, high: what its ends stand for.
    """

    colours: np.ndarray
    low: str
    high: str


@dataclasses.dataclass(frozen=True)
class Sample:
    """A picture of something known, drawn in the same colours.

    Attributes:
        picture: uint8 RGBA array `(height, width, 4)`.
        title: what is seen on it.
        text: how to read it.
    """

    picture: np.ndarray
    title: str
    text: str


Legend: TypeAlias = Swatches | Ramp | Sample
