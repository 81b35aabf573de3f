"""The diagram of response spectra: how energy gathers in the leading responses, and how many of them hold 99 %."""

import os

import numpy as np

from rc_keras.network.response_init import ResponseReport
from rc_keras.reports.diagrams import new_figure, save
from rc_keras.zoo.chart_style import GREY

_ENERGY = 0.99


def draw_spectra(report: ResponseReport, path: str | os.PathLike) -> None:
    """Draws cumulative energy by layer, and the rank that keeps 99 % of it as a part of the layer's channels.

    Args:
        report: the `ResponseReport`.
        path: the picture; its suffix gives the format, e.g. `.png`.

    Raises:
        ImportError: without matplotlib; names what to install.
        OSError: if the picture cannot be written.
    """
    if not report.spectra:
        figure = new_figure(6.5, 1.6)
        figure.text(0.5, 0.5, "The method of this model has no filter bank.", ha="center", va="center", fontsize=11)
        save(figure, path)
        return
    layers = list(report.spectra)
    figure = new_figure(10, max(3.6, 0.8 + 0.22 * len(layers)))
    curves, bars = figure.subplots(1, 2)

    from matplotlib import colormaps

    colours = colormaps["viridis"](np.linspace(0, 0.9, len(layers)))
    for layer, colour in zip(layers, colours, strict=True):
        share = np.concatenate([[0.0], report.cumulative_energy(layer)])
        curves.plot(np.linspace(0, 100, share.size), 100 * share, color=colour, lw=1.6)
    curves.axhline(100 * _ENERGY, color=GREY, lw=1, ls=":")
    curves.set_xlabel("leading responses [% of the layer]")
    curves.set_ylabel("cumulative energy [%]")
    curves.set_xlim(0, 100)
    curves.set_ylim(0, 102)
    curves.set_title("Energy in the leading responses, coloured as the bars", fontsize=10.5)

    places = np.arange(len(layers))
    sizes = np.array([report.spectra[layer].size for layer in layers])
    ranks = np.array([report.rank(layer, _ENERGY) for layer in layers])
    bars.barh(places, 100 * ranks / sizes, color=colours)
    for place, rank, size in zip(places, ranks, sizes, strict=True):
        bars.text(100 * rank / size + 1, place, f"{rank}/{size}", va="center", fontsize=8)
    bars.set_yticks(places, layers, fontsize=8)
    bars.invert_yaxis()
    bars.set_xlim(0, 115)
    bars.set_xticks(range(0, 101, 20))
    bars.set_xlabel("responses [% of the layer]")
    bars.set_title(f"Responses that hold {_ENERGY:.0%} of the energy", fontsize=10.5)
    for axes in (curves, bars):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Responses of the filter bank, {report.images} images", fontsize=11)
    save(figure, path)
