"""Response initialization against direct linear algebra."""

import keras
import numpy as np
import pytest
from support.tiny import SIZE, tiny_backbone, tiny_data

from rc_keras import FilterBank
from rc_keras.network.response_init import ENERGIES, StreamingCovariance, eigenbasis

COVARIANCE = 1e-10  # float64
RESPONSES = 1e-4  # float32 forward passes of a few layers


def test_streaming_covariance_of_data_with_a_large_mean():
    vectors = np.random.default_rng(0).normal(1e6, 1.0, (1000, 7)) @ np.diag(np.arange(1.0, 8.0))
    statistic = StreamingCovariance(7)
    for batch in np.split(vectors, [1, 10, 400]):
        statistic.update(batch)
    np.testing.assert_allclose(statistic.covariance(), np.cov(vectors.T), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(statistic.mean, vectors.mean(axis=0), rtol=COVARIANCE)


def test_eigenbasis_is_sorted_orthogonal_and_has_a_fixed_sign():
    generator = np.random.default_rng(0)
    matrix = np.cov(generator.normal(size=(6, 50)))
    spectrum, basis = eigenbasis(matrix)
    assert (np.diff(spectrum) <= 0).all()
    np.testing.assert_allclose(basis.T @ basis, np.eye(6), atol=COVARIANCE)
    np.testing.assert_allclose(basis @ np.diag(spectrum) @ basis.T, matrix, atol=COVARIANCE)
    assert (basis[np.abs(basis).argmax(axis=0), range(6)] > 0).all()


def test_eigenbasis_does_not_mix_groups():
    matrix = np.cov(np.random.default_rng(0).normal(size=(6, 50)))
    _, basis = eigenbasis(matrix, groups=2)
    assert not basis[:3, 3:].any() and not basis[3:, :3].any()
    np.testing.assert_allclose(basis.T @ basis, np.eye(6), atol=COVARIANCE)


def responses_by_layer(backbone, images):
    """Responses of the plain network's convolutions, straight from its graph."""
    layers = [layer for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D)]
    probe = keras.Model(backbone.input, {layer.name: layer.output for layer in layers})
    return {name: np.array(response) for name, response in probe.predict(images, verbose=0).items()}


@pytest.mark.parametrize("with_images", [True, False])
def test_bank_against_a_direct_eigendecomposition(with_images):
    backbone = tiny_backbone()
    images = tiny_data(8)[0] if with_images else None
    bank = FilterBank(backbone, "rcm", images)
    responses = responses_by_layer(backbone, images) if with_images else None
    assert bank.convolutions
    for name, layer in bank.convolutions.items():
        kernel = keras.ops.convert_to_numpy(backbone.get_layer(name).kernel).astype("float64")
        rows = kernel.reshape(-1, kernel.shape[-1]).T  # W
        if with_images:
            vectors = responses[name].reshape(-1, kernel.shape[-1]).astype("float64")
            covariance = np.cov(vectors.T)
        else:
            covariance = rows @ rows.T
        spectrum = np.linalg.eigvalsh(covariance)[::-1]
        np.testing.assert_allclose(bank.response_report.spectra[name], spectrum, atol=RESPONSES * spectrum[0])

        shared = keras.ops.convert_to_numpy(layer.kernel).reshape(-1, kernel.shape[-1]).T  # W_s
        modulator = bank.template.get_layer(f"{name}_modulator")
        start = keras.ops.convert_to_numpy(modulator.direction).T  # W_t = U
        np.testing.assert_allclose(start @ shared, rows, atol=1e-5 * np.abs(rows).max())
        np.testing.assert_allclose(start.T @ start, np.eye(len(start)), atol=1e-5)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(modulator.gain), 1.0, atol=1e-5)
        # The rotated responses are uncorrelated, strongest first.
        rotated = start.T @ covariance @ start
        off_diagonal = rotated - np.diag(np.diag(rotated))
        assert np.abs(off_diagonal).max() < RESPONSES * spectrum[0]


@pytest.mark.parametrize("form", ["array", "batches", "single images", "tuples", "tf.data"])
def test_forms_of_images_agree(form):
    backbone = tiny_backbone()
    images, labels = tiny_data(6)
    expected = FilterBank(backbone, "rcm", images).response_report
    if form == "batches":
        given = (images[i : i + 4] for i in (0, 4))
    elif form == "single images":
        given = list(images)
    elif form == "tuples":
        given = [(images[:2], labels), (images[2:], labels)]
    elif form == "tf.data":
        tf = pytest.importorskip("tensorflow")
        given = tf.data.Dataset.from_tensor_slices(images).batch(5)
    else:
        given = images
    report = FilterBank(backbone, "rcm", given).response_report
    assert report.images == 6
    for name, spectrum in expected.spectra.items():
        np.testing.assert_allclose(report.spectra[name], spectrum, atol=RESPONSES * spectrum[0])


def test_images_of_other_sizes():
    bank = FilterBank(tiny_backbone(), "rcm", [np.zeros((SIZE, 2 * SIZE, 3)), np.full((48, 40, 3), 200.0)])
    assert bank.response_report.images == 2


def test_ranks_keep_the_stated_energy():
    report = FilterBank(tiny_backbone(), "rcm", tiny_data(4)[0]).response_report
    for name, spectrum in report.spectra.items():
        for energy in ENERGIES:
            rank = report.rank(name, energy)
            assert spectrum[:rank].sum() >= energy * spectrum.sum() * (1 - 1e-9)
            assert rank == 1 or spectrum[: rank - 1].sum() < energy * spectrum.sum()
        assert f"{name} " in str(report)
    assert "99.9%" in str(report)


@pytest.mark.parametrize("images", [np.zeros((0, 8, 8, 3)), np.zeros((8, 8, 3)), [np.zeros(3)], iter(())])
def test_wrong_images(images):
    with pytest.raises(ValueError, match="response_images"):
        FilterBank(tiny_backbone(), "rcm", images)


def test_images_without_response_initialization():
    with pytest.raises(ValueError, match="rc_identity"):
        FilterBank(tiny_backbone(), "rc_identity", tiny_data(2)[0])
