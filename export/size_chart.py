"""The bar chart of an export's sizes."""

import os
from typing import TYPE_CHECKING

from rc_keras.reports.diagrams import new_figure, save

if TYPE_CHECKING:
    from rc_keras.export.report import ExportReport

_BANK_COLOUR, _GRAPH_COLOUR = "#7f7f7f", "#222222"


def draw_size_chart(report: "ExportReport", path: str | os.PathLike) -> None:
    """Draws one bar for what was exported and one for the weights of separate files, stacked from bank and tasks.

    Args:
        report: the `ExportReport`.
        path: the picture; its suffix gives the format, e.g. `.png`.

    Raises:
        ImportError: without matplotlib; names what to install.
        OSError: if the picture cannot be written.
    """
    figure = new_figure(8, 2.8)
    axes = figure.add_subplot()
    bank, copies = report.bank_bytes / 1e6, len(report.tasks)
    # Upper bar: this file, the bank once. Lower bar: a bank in each of the separate files.
    axes.barh([0, 1], [bank, bank * copies], color=_BANK_COLOUR, edgecolor="white", label="shared bank")
    left = [bank, bank * copies]
    for name, task in report.tasks.items():
        size = task.bytes / 1e6
        axes.barh([0, 1], size, left=left, edgecolor="white", label=name)
        left = [edge + size for edge in left]
    graph = max(report.file_bytes / 1e6 - left[0], 0.0)  # what is not weights
    axes.barh(0, graph, left=left[0], color=_GRAPH_COLOUR, edgecolor="white", label="graph")
    left[0] += graph
    for position, end in enumerate(left):
        axes.text(end, position, f" {end:,.1f} MB", va="center")
    axes.set_yticks([0, 1], ["exported", f"{copies} separate files" if copies > 1 else "separate file"])
    axes.invert_yaxis()
    axes.set_xlabel("MB")
    title = f"{os.path.basename(report.path)}: {report.format}, {report.precision}, {report.mode}, "
    axes.set_title(f"{title}{report.ratio:.3f} of the ideal size", fontsize="medium", loc="left")
    axes.set_xlim(0, 1.15 * max(left))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=min(6, copies + 2), frameon=False, fontsize="small")
    save(figure, path)
