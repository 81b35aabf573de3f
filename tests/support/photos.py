"""Real photographs with their ImageNet classes."""

import csv

import keras
import numpy as np


def load_photos(folder, count):
    """`(images, classes)`: every so-many-th of the photographs, resized and centre-cropped as ImageNet's validation.

    Images are float32, `(count, 224, 224, 3)`, 0..255.
    """
    with open(folder / "photos.csv") as file:
        rows = list(csv.DictReader(file))
    rows = rows[:: len(rows) // count][:count]
    images = np.stack([_centre_crop(folder / "photos" / row["file"]) for row in rows])
    return images, np.array([int(row["imagenet_index"]) for row in rows])


def _centre_crop(path, short_side=256, size=224):
    image = keras.utils.load_img(path)
    scale = short_side / min(image.size)
    if scale != 1:
        image = image.resize([round(n * scale) for n in image.size], resample=2)
    pixels = np.asarray(image, "float32")
    top, left = ((n - size) // 2 for n in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]
