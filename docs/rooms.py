"""The picture of what the shipped preset answers.

Usage:
    python docs/rooms.py

Writes `docs/pictures/rooms.png`: rooms of the validation split, on which nothing is trained, and the predictions.
"""

from pathlib import Path

import numpy as np

import rc_keras
from rc_keras.zoo.picture_grid import write_grid
from rc_keras.zoo.rendering import render_scene

PATH = Path(__file__).resolve().parent / "pictures" / "rooms.png"
ROOMS = (9, 17, 2)


if __name__ == "__main__":
    model = rc_keras.from_preset("rooms")
    images = np.stack([render_scene((1, room), model.image_shape[:2])["image"] for room in ROOMS])
    raw = model.predict(images, verbose=0)
    tasks = [model.task(name) for name in model.tasks]
    rows = [[image, *(task.draw(raw[task.name][i]) for task in tasks)] for i, image in enumerate(images)]
    write_grid(PATH, ["image", *model.tasks], rows)
    print(f"Drawn: {PATH}")
