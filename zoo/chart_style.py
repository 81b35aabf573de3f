"""The look that charts have in common."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, SINGLE_TASK, GREY, INK = "#0b6e4f", "#c8553d", "#8a8f98", "#1c2024"


def tidy(axes: "Axes") -> None:
    """Leaves two of the frame's sides, and a faint grid behind what is drawn."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e3", lw=0.8)
    axes.set_axisbelow(True)
