"""How few of a bank's rotated filters hold the energy of its responses."""

from typing import Any

import numpy as np

from rc_keras.model import MultiTaskModel
from rc_keras.network.response_init import ResponseReport, eigenbasis, response_statistics
from rc_keras.training import first_batch

ENERGIES = (0.90, 0.99)


def response_spectra(model: MultiTaskModel, images: np.ndarray) -> ResponseReport:
    """Spectra of the responses of every convolution of the bank, inside the pretrained network.

    For responses y the covariance over all images and positions is `C = U diag(spectrum) U^T` (RCM section 3.3); the
    eigenvalues are the same before and after the rotation of response initialization. With channel groups, which the
    rotation must not mix, they are those of C's diagonal blocks together.

    Args:
        model: a `MultiTaskModel`.
        images: RGB in 0..255, `(n, height, width, channels)`.

    Returns:
        The `rc_keras.network.response_init.ResponseReport`, every spectrum largest first; without layers where
        the method has no bank.

    Raises:
        ValueError: if there is no image, or they have a wrong shape.
    """
    images = np.asarray(images)
    first_batch.check_images(images, model.image_shape)
    if not len(images):
        raise ValueError("`images` must hold at least one image. Received: none")
    layers = model.bank.convolutions
    if not layers:
        return ResponseReport(len(images), {})
    count, statistics = response_statistics(model.bank.template, list(layers.values()), images)
    spectra = {}
    for name, layer in layers.items():
        spectrum, _ = eigenbasis(statistics[name].covariance(), layer.groups)
        spectra[name] = np.sort(spectrum)[::-1]
    return ResponseReport(count, spectra)


def spectra_to_dict(report: ResponseReport) -> dict[str, Any]:
    """Plain data and arrays of a `ResponseReport`: energy, ranks and spectrum of each layer."""
    layers = {}
    for layer, spectrum in report.spectra.items():
        ranks = {f"rank_{100 * energy:.0f}": report.rank(layer, energy) for energy in ENERGIES}
        energy = {"spectrum": spectrum, "cumulative_energy": report.cumulative_energy(layer)}
        layers[layer] = {"channels": spectrum.size, **ranks, **energy}
    return {"images": report.images, "layers": layers}
