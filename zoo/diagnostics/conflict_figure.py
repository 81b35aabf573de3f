"""The diagram of gradient conflict: cosines, and the share of batches in conflict."""

import os

from rc_keras.reports.diagrams import new_figure, save
from rc_keras.zoo.diagnostics.gradient_conflict import GradientConflict
from rc_keras.zoo.diagnostics.matrix_figure import draw_matrix


def draw_conflict(conflict: GradientConflict, path: str | os.PathLike) -> None:
    """Draws the two matrices, or a sentence where no two tasks train a common weight.

    Args:
        conflict: the `GradientConflict`.
        path: the picture; its suffix gives the format, e.g. `.png`.

    Raises:
        ImportError: without matplotlib; names what to install.
        OSError: if the picture cannot be written.
    """
    if not conflict.possible:
        figure = new_figure(6.5, 1.6)
        sentence = (
            f"No two of the tasks\n{', '.join(conflict.tasks)}\ntrain a common weight: gradients cannot conflict."
        )
        figure.text(0.5, 0.5, sentence, ha="center", va="center", fontsize=11, wrap=True)
        save(figure, path)
        return
    side = 1.2 + 0.6 * len(conflict.tasks)
    figure = new_figure(max(2 * side, 5.5), side + 1.4, layout="compressed")
    left, right = figure.subplots(1, 2)
    draw_matrix(left, conflict.cosine, conflict.tasks, "cosine, mean", (-1.0, 1.0), "RdBu")
    title = "batches with opposed gradients"
    draw_matrix(right, conflict.conflicts, conflict.tasks, title, (0.0, 1.0), "Reds", written="{:.0%}")
    figure.suptitle(f"Gradients on the weights two tasks train, {conflict.batches} batches", fontsize=11)
    save(figure, path, trim=True)
