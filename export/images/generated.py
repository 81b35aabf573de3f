"""Images to compare on where a user gives none."""

from collections.abc import Sequence

import numpy as np

_FREE_SIZES = ((160, 128), (96, 192))  # of generated images where the model takes any size


def generate_images(image_shape: Sequence[int | None]) -> list[np.ndarray]:
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
