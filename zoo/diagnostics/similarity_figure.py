"""The diagram of representational similarity: a matrix for each stage."""

import os

import numpy as np

from rc_keras.reports.diagrams import new_figure, save
from rc_keras.zoo.diagnostics.matrix_figure import draw_matrix
from rc_keras.zoo.diagnostics.representation_similarity import RepresentationSimilarity


def draw_similarity(similarity: RepresentationSimilarity, path: str | os.PathLike) -> None:
    """Draws one matrix a stage, tasks and the pretrained network in rows and columns.

    Args:
        similarity: the `RepresentationSimilarity`.
        path: the picture; its suffix gives the format, e.g. `.png`.

    Raises:
        ImportError: without matplotlib; names what to install.
        OSError: if the picture cannot be written.
    """
    side = 1.0 + 0.42 * len(similarity.networks)
    figure = new_figure(max(side * len(similarity.stages), 4.5), side + 1.4, layout="compressed")
    grid = figure.subplots(1, len(similarity.stages), squeeze=False)[0]
    lowest = min([0.0, *(float(np.nanmin(matrix)) for matrix in similarity.stages.values())])
    for axes, (stage, matrix) in zip(grid, similarity.stages.items(), strict=True):
        draw_matrix(axes, matrix, similarity.networks, stage, (lowest, 1.0), "viridis")
        if axes is not grid[0]:
            axes.set_yticklabels([])
    features = "averaged over positions, " if similarity.pooled else ""
    figure.suptitle(f"Similarity of representations, {features}{similarity.images} images", fontsize=11)
    save(figure, path, trim=True)
