"""Thinning of binary maps to lines one pixel wide."""

import numpy as np
from numpy.typing import ArrayLike


def thin(binary: ArrayLike) -> np.ndarray:
    """Removes pixels from both sides of every line until none can go; connectedness and line ends are kept.

    Guo and Hall, "Parallel thinning with two-subiteration algorithms", 1989, as in MATLAB's `bwmorph(…, 'thin', Inf)`.
    With the neighbours x1 … x8 of a pixel counted from the east, counter-clockwise (x3 north, x5 west, x7 south), and
    x9 = x1, a subiteration removes at once all the pixels with

        G1:   Σ_i ( ¬x_{2i−1} ∧ (x_{2i} ∨ x_{2i+1}) ) = 1                                         i = 1 … 4
        G2:   2 <= min( Σ_i x_{2i−1} ∨ x_{2i} , Σ_i x_{2i} ∨ x_{2i+1} ) <= 3
        G3:   (x2 ∨ x3 ∨ ¬x8) ∧ x1 = 0     in the first,    (x6 ∨ x7 ∨ ¬x4) ∧ x5 = 0     in the second subiteration.

    Outside the map there are no pixels. Only pixels whose neighbourhood has changed are looked at again.

    Args:
        binary: `(H, W)` map in any memory order, true or nonzero on the pixels to thin.

    Returns:
        `(H, W)` booleans, a subset of the given pixels.
    """
    binary = np.asarray(binary)
    if binary.ndim != 2:
        raise ValueError(f"`binary` must be a map (H, W). Received: shape={binary.shape}")
    padded = np.pad(np.ascontiguousarray(binary, dtype=bool), 1)
    width = padded.shape[1]
    offsets = np.array([1, 1 - width, -width, -width - 1, -1, width - 1, width, width + 1])
    flat = padded.reshape(-1)
    pixels = np.flatnonzero(flat)
    codes = np.zeros(flat.shape, dtype="uint8")
    neighbourhood = np.zeros(len(pixels), dtype="uint8")
    for bit, offset in enumerate(offsets):
        neighbourhood |= flat[pixels + offset].view("uint8") << np.uint8(bit)
    codes[pixels] = neighbourhood
    unseen = [pixels, pixels]
    subiteration = 0
    while len(unseen[0]) or len(unseen[1]):
        candidates = unseen[subiteration]
        removed = candidates[_REMOVED[subiteration][codes[candidates]]]
        unseen[subiteration] = candidates[:0]
        if len(removed):
            flat[removed] = False
            for bit, offset in enumerate(offsets):
                # The neighbour at `offset` sees the removed pixel in the opposite direction.
                codes[removed + offset] &= np.uint8(~(1 << (bit + 4) % 8) & 255)
            touched = (removed[:, None] + offsets).reshape(-1)
            for i in (0, 1):
                again = np.concatenate([unseen[i], touched])
                unseen[i] = _unique(again[flat[again]], codes)
        subiteration = 1 - subiteration
    return padded[1:-1, 1:-1].copy()


def _unique(pixels: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The distinct pixels, in any order, without sorting: the last of equal ones stays."""
    place = np.empty(like.shape, dtype="int32")
    order = np.arange(len(pixels), dtype="int32")
    place[pixels] = order
    return pixels[place[pixels] == order]


def _removed_codes() -> tuple[np.ndarray, np.ndarray]:
    """Two tables of 256 booleans: which neighbourhoods, bit k being x_{k+1}, lose their pixel."""
    x = (np.arange(256)[:, None] >> np.arange(8)) & 1 == 1
    odd, even, next_odd = x[:, 0::2], x[:, 1::2], np.roll(x, -2, axis=1)[:, 0::2]
    crossings = (~odd & (even | next_odd)).sum(axis=1)
    pairs = np.minimum((odd | even).sum(axis=1), (even | next_odd).sum(axis=1))
    thick = (crossings == 1) & (pairs >= 2) & (pairs <= 3)
    first = ~((x[:, 1] | x[:, 2] | ~x[:, 7]) & x[:, 0])
    second = ~((x[:, 5] | x[:, 6] | ~x[:, 3]) & x[:, 4])
    return thick & first, thick & second


_REMOVED = _removed_codes()
