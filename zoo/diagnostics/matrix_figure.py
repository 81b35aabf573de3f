"""A square matrix as a diagram."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_matrix(
    axes: "Axes",
    matrix: np.ndarray,
    names: Sequence[str],
    title: str,
    limits: tuple[float, float],
    colours: str,
    written: str = "{:.2f}",
) -> None:
    """Draws a square matrix with its values written in; what is not a number is a grey dash.

    Args:
        axes: of matplotlib.
        matrix: `(n, n)`.
        names: of rows and columns.
        title: of the axes.
        limits: values of the first and the last colour.
        colours: name of matplotlib's colour map.
        written: how a value is written.
    """
    axes.set_facecolor("#e3e3e0")
    image = axes.imshow(matrix, cmap=colours, vmin=limits[0], vmax=limits[1])
    for (row, column), value in _entries(matrix):
        if value == value:
            red, green, blue, _ = image.cmap(image.norm(value))
            ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
            axes.text(column, row, written.format(value), ha="center", va="center", color=ink, fontsize=8)
        else:
            axes.text(column, row, "–", ha="center", va="center", color="#6f6f6f")
    axes.set_title(title, fontsize=10.5)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _entries(matrix: np.ndarray) -> Iterator[tuple[tuple[int, int], float]]:
    return (((i, j), value) for i, row in enumerate(matrix) for j, value in enumerate(row))
