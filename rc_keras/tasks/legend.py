"""What the colours of a picture mean."""

import dataclasses
import math
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


def show_number(value: float, span: float, digits: int = 2) -> str:
    """A number with as many decimals as show so many digits of the span that it is from, and no zero at their end."""
    places = max(digits - 1 - math.floor(math.log10(span)), 0) if span > 0 and math.isfinite(span) else digits
    text = f"{value:.{places}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
