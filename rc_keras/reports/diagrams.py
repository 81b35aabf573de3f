"""Diagrams: matplotlib, where it is installed."""

import os
from typing import TYPE_CHECKING

from rc_keras.files.whole_files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float, layout: str = "constrained") -> "Figure":
    """A matplotlib `Figure`, sizes in inches; without a window, and without pyplot's list of open figures.

    Raises:
        ImportError: without matplotlib; names what to install.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Drawing needs matplotlib: pip install rc_keras[viz]") from error
    return Figure(figsize=(width, height), layout=layout)


def save(figure: "Figure", path: str | os.PathLike, dpi: int = 150, trim: bool = False) -> None:
    """Writes a figure.

    Args:
        figure: the `Figure`.
        path: the picture; its suffix gives the format.
        dpi: pixels per inch.
        trim: whether empty margins are cut off.

    Raises:
        OSError: if it cannot be written; what stood there before stays.
    """
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=dpi, bbox_inches="tight" if trim else None)
