"""Comparison of an exported file with the model, in the runtime the file is meant for."""

import dataclasses

import numpy as np

TOLERANCE = 1e-4  # largest difference allowed, of the range of the output
_FREE_SIZES = ((160, 128), (96, 192))  # of generated images where the model takes any size


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far one output of a file is from the model's.

    Attributes:
        shape: shape of the output of the last image.
        absolute: largest absolute difference over all images.
        scale: range of the model's output over all images, `max - min`; at least 1 % of the largest absolute value,
            since an output that hardly varies is only as exact as float32.
    """

    shape: tuple
    absolute: float
    scale: float

    @property
    def relative(self):
        """The largest difference, of the range."""
        if self.absolute == 0.0:
            return 0.0
        return self.absolute / self.scale if self.scale > 0.0 else np.inf

    @property
    def passed(self):
        return self.relative <= TOLERANCE  # False for NaN


def compare(expected, received, images):
    """Compares two functions from images to an output.

    Args:
        expected, received: take a float32 array `(1, height, width, channels)`, return an array.
        images: arrays of that shape.

    Returns:
        The `Difference`.
    """
    absolute, low, high = 0.0, np.inf, -np.inf
    for image in images:
        wanted, got = expected(image), received(image)
        if wanted.shape != got.shape:
            return Difference(got.shape, np.inf, 1.0)
        absolute = np.maximum(absolute, np.max(np.abs(wanted - got)))  # np.maximum keeps a NaN
        low, high = min(low, wanted.min()), max(high, wanted.max())
    scale = max(high - low, 0.01 * max(abs(low), abs(high)))
    return Difference(tuple(got.shape), float(absolute), float(scale))


def generate_images(image_shape):
    """Images with the statistics that matter of photographs: smooth shading, edges, and texture at every scale.

    Args:
        image_shape: `(height, width, channels)`, `None` where free.

    Returns:
        A list of two float32 arrays `(1, height, width, channels)` in 0..255, the same at every call.
    """
    images = []
    for seed, (free_height, free_width) in enumerate(_FREE_SIZES):
        generator = np.random.default_rng(seed)
        height, width, channels = image_shape
        height, width = height or free_height, width or free_width
        y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][..., None]
        image = 0.5 + (generator.uniform(-1, 1, channels) * y + generator.uniform(-1, 1, channels) * x) / 2
        for _ in range(6):  # discs before the shading
            centre_y, centre_x, radius = generator.uniform(size=3)
            disc = (y - centre_y) ** 2 + (x - centre_x) ** 2 < (radius / 4) ** 2
            image = np.where(disc, generator.uniform(size=channels), image)
        # Noise with amplitude 1 / frequency, as photographs have it (Field, 1987).
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))[..., None]
        spectrum = np.fft.fft2(generator.normal(size=(height, width, channels)), axes=(0, 1))
        noise = np.fft.ifft2(spectrum / np.maximum(frequency, 1.0 / max(height, width)), axes=(0, 1)).real
        image = image + 0.1 * noise / noise.std()
        images.append(np.clip(255.0 * image, 0.0, 255.0).astype("float32")[None])
    return images
