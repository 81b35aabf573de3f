"""Response initialization (RI): rotates a bank into the eigenbasis of its responses."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from rc_keras.layers import BankConv2D
from rc_keras.methods import Method
from rc_keras.network.adapters import adapter_of, own_convolutions

ENERGIES = (0.90, 0.95, 0.99, 0.999)


@dataclasses.dataclass(frozen=True)
class ResponseReport:
    """Spectra of the responses of a bank.

    Attributes:
        images: number of images the responses come from, 0 for the data-free form.
        spectra: `{layer: eigenvalues}`, the variance of each rotated response, largest first, `(c_out,)` float64.
        kept: `{layer: KeptResponses}` of a truncated bank; empty where all responses are kept.
    """

    images: int
    spectra: dict[str, np.ndarray]
    kept: dict[str, "KeptResponses"] = dataclasses.field(default_factory=dict)

    def rank(self, layer: str, energy: float) -> int:
        """The smallest number of leading responses that keeps `energy`, in 0..1, of the total variance."""
        share = self.cumulative_energy(layer)
        return min(int(np.searchsorted(share, energy * (1 - 1e-12))) + 1, share.size)

    def cumulative_energy(self, layer: str) -> np.ndarray:
        """The share of the total variance, in 0..1, in the first response, the first two, and so on, `(c_out,)`."""
        spectrum = self.spectra[layer]
        return np.cumsum(spectrum) / max(spectrum.sum(), np.finfo("float64").tiny)

    def dropped_energy(self, layer: str) -> float:
        """The share of the total variance, in 0..1, that a truncated bank drops of a layer: its relative error."""
        share = self.cumulative_energy(layer)
        return float(share[-1] - share[self.kept[layer].rank - 1]) if layer in self.kept else 0.0

    def __str__(self) -> str:
        source = f"{self.images} images" if self.images else "no images (white inputs assumed)"
        head = "".join(f"{100 * energy:>8.4g}%" for energy in ENERGIES)
        width = max(map(len, self.spectra), default=5)
        lines = [f"Rank that keeps a share of the response energy; {source}", f"{'layer':<{width}}    size{head}"]
        if self.kept:
            lines[1] += "     kept  dropped     MACs  parameters"
        for layer, spectrum in self.spectra.items():
            ranks = "".join(f"{self.rank(layer, energy):>9}" for energy in ENERGIES)
            lines.append(f"{layer:<{width}}{spectrum.size:>8}{ranks}")
            if layer in self.kept:
                kept, dropped = self.kept[layer], self.dropped_energy(layer)
                lines[-1] += f"{kept.rank:>9}{dropped:>9.2%}{kept.macs:>9.2f}{kept.parameters:>12.2f}"
        if self.kept:
            lines.append("MACs: of the plain convolution. Parameters: a task's own, of those without truncation.")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class KeptResponses:
    """What a truncated bank keeps of a convolution.

    Attributes:
        rank: number of leading responses.
        channels: c_out.
        inputs: values that one response is computed from, `k_h k_w c_in / groups`.
    """

    rank: int
    channels: int
    inputs: int

    @property
    def macs(self) -> float:
        """Multiply-accumulates of kernel and modulator, as a share of those of the plain convolution."""
        return self.rank * (self.inputs + self.channels) / (self.inputs * self.channels)

    @property
    def parameters(self) -> float:
        """What a task owns, as a share of what it would own: a whole modulator, or the kernel if that is smaller."""
        return self.rank / min(self.channels, self.inputs)


class StreamingCovariance:
    """Covariance of vectors that arrive in batches, in float64 and O(c^2) memory.

    Batches are merged by their means (Chan, Golub and LeVeque 1979), which loses no digits to a large mean.
    """

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = np.zeros(channels)
        self.scatter = np.zeros((channels, channels))

    def update(self, vectors: np.ndarray) -> None:
        """Adds vectors, `(n, channels)`."""
        vectors = np.asarray(vectors, "float64")
        n = len(vectors)
        mean = vectors.mean(axis=0)
        centred = vectors - mean
        step = mean - self.mean
        total = self.count + n
        self.scatter += centred.T @ centred + np.outer(step, step) * (self.count * n / total)
        self.mean += step * (n / total)
        self.count = total

    def covariance(self) -> np.ndarray:
        """The unbiased covariance, `(channels, channels)`."""
        return self.scatter / max(self.count - 1, 1)


def rotate(template: keras.Model, method: Method, images: Any = None) -> tuple[ResponseReport, dict[str, np.ndarray]]:
    """Rotates the bank of a template into its response eigenbasis; the template computes what it computed.

    For a bank convolution with kernel W (one row for each filter) and responses y = W x, the covariance of y over all
    images and positions is `C = U diag(spectrum) U^T` (RCM section 3.3). The kernel becomes `W_s = U^T W` and the
    modulator `W_t = U`. Without images C is `W W^T`. With channel groups, which a rotation must not mix, U is block
    diagonal.

    Args:
        template: a `FilterBank.template` whose adapters are identities. Kernels with an adapter of pointwise kernels
            stay as they are.
        method: its `Method`, with an adapter that has `set_matrix`.
        images: see `response_statistics`, or `None`.

    Returns:
        The `ResponseReport`, and `{layer: mean of each rotated response, (c_out,)}`, empty without images.
    """
    layers = own_convolutions(template, method)
    count, statistics = 0, dict[str, StreamingCovariance]()
    if images is None or not layers:
        covariances = {layer.name: _kernel_gram(layer) for layer in layers}
    else:
        count, statistics = response_statistics(template, layers, images)
        covariances = {name: statistic.covariance() for name, statistic in statistics.items()}
    spectra, means = {}, {}
    for layer in layers:
        spectrum, basis = eigenbasis(covariances[layer.name], layer.groups)
        spectra[layer.name] = spectrum
        kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float64")
        layer.kernel.assign((kernel @ basis).astype("float32"))
        adapter_of(template, layer.name, method).set_matrix(basis.T.astype("float32"))
        if layer.name in statistics:
            means[layer.name] = basis.T @ statistics[layer.name].mean
    return ResponseReport(count, spectra), means


def response_statistics(
    template: keras.Model, layers: Sequence[BankConv2D], images: Any
) -> tuple[int, dict[str, StreamingCovariance]]:
    """Covariances of the responses of all layers, in one forward pass over the images.

    Args:
        template: the functional model that holds the layers.
        layers: its `BankConv2D` layers.
        images: RGB in 0..255: an array `(n, height, width, channels)`; or an iterable (`tf.data.Dataset`, generator,
            list) of batches of that shape, of single images, or of tuples that begin with either. Sizes may differ from
            batch to batch.

    Returns:
        `(number of images, {layer name: StreamingCovariance})`.
    """
    responses: dict[str, list[keras.KerasTensor]] = {layer.name: [] for layer in layers}

    def record(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        if layer.name in responses:
            responses[layer.name].append(outputs)
        return outputs

    flexible = keras.Input((None, None, template.inputs[0].shape[-1]))
    keras.models.clone_model(template, input_tensors=flexible, clone_function=lambda layer: layer, call_function=record)
    probe = keras.Model(flexible, responses)
    statistics = {layer.name: StreamingCovariance(layer.filters) for layer in layers}
    batches, total = _batches(images)
    progress = keras.utils.Progbar(total, unit_name="image")
    count = 0
    for batch in batches:
        for name, maps in probe.predict_on_batch(batch).items():
            for response in maps:
                statistics[name].update(response.reshape(-1, response.shape[-1]))
        count += len(batch)
        progress.update(count)
    if not count:
        raise ValueError("`response_images` must hold at least one image. Received: none")
    progress.update(count, finalize=True)
    return count, statistics


def eigenbasis(covariance: np.ndarray, groups: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of a covariance matrix, largest first, with a deterministic sign.

    The component of largest magnitude of each eigenvector is positive. With `groups` > 1 only the diagonal blocks are
    used, and each block is sorted by itself.

    Args:
        covariance: `(c, c)`, symmetric.
        groups: number of equal diagonal blocks.

    Returns:
        `(spectrum, basis)`: `(c,)`, not negative, and `(c, c)` with one eigenvector in each column.
    """
    spectra, basis = [], np.zeros_like(covariance, "float64")
    size = len(covariance) // groups
    for start in range(0, len(covariance), size):
        block = slice(start, start + size)
        values, vectors = np.linalg.eigh(covariance[block, block])
        values, vectors = values[::-1], vectors[:, ::-1]
        largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
        spectra.append(np.maximum(values, 0.0))
        basis[block, block] = vectors * np.where(largest < 0, -1.0, 1.0)
    return np.concatenate(spectra), basis


def _kernel_gram(layer: BankConv2D) -> np.ndarray:
    """`W W^T`, `(c_out, c_out)`: the covariance of the responses to white inputs."""
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float64").reshape(-1, layer.filters)
    return kernel.T @ kernel


def _batches(images: Any, batch_size: int = 16) -> tuple[Iterator[np.ndarray], int | None]:
    """Batches of images, and the number of images where it is known before the end."""
    if hasattr(images, "shape"):
        if len(images.shape) != 4:
            raise ValueError(
                "`response_images` must be an array (images, height, width, channels). "
                f"Received: shape {tuple(images.shape)}"
            )
        return (np.asarray(images[i : i + batch_size]) for i in range(0, len(images), batch_size)), len(images)
    return (_as_batch(item) for item in images), None


def _as_batch(item: Any) -> np.ndarray:
    image = np.asarray(item[0] if isinstance(item, (tuple, list)) else item)
    if isinstance(item, Mapping):
        raise ValueError(
            "`response_images` must yield images, or tuples with an image first. "
            f"Received: a dictionary with keys {list(item)}"
        )
    if image.ndim == 3:
        image = image[None]
    if image.ndim != 4:
        raise ValueError(
            "`response_images` must yield images (height, width, channels) or batches of them. "
            f"Received: shape {image.shape}"
        )
    return image
