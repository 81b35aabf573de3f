"""The example pictures of the viewer, as the renderer of `scenes` makes them.

Usage:
    python docs/viewer_examples.py

Writes `rc_keras/view/static/examples/`: rooms of the validation split, on which nothing is trained.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from rc_keras.zoo.rendering.renderer import render_scene

FOLDER = Path(__file__).resolve().parent.parent / "rc_keras" / "view" / "static" / "examples"
ROOMS = (9, 17, 2, 6, 13)  # of the validation split
SIZE, QUALITY = 256, 88


def picture(number: int) -> np.ndarray:
    """The picture of an example, counted from 1: uint8 RGB array `(SIZE, SIZE, 3)`."""
    return render_scene((1, ROOMS[number - 1]), SIZE)["image"]


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for number in range(1, len(ROOMS) + 1):
        Image.fromarray(picture(number)).save(FOLDER / f"{number}.jpg", quality=QUALITY, optimize=True)
    print(f"Rendered: {len(ROOMS)} pictures in {FOLDER}")
