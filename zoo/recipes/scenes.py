"""Scenes: six tasks of rooms that render themselves, no download.

    python -m rc_keras.zoo.train --recipe scenes --workdir RUN

| scale | images | steps | hardware | duration |
| --- | --- | --- | --- | --- |
| `small` | 128x128 | 1,000 of 8 images, 8 epochs | two CPU cores | not measured |
| `tiny` | 64x64 | 8 of 4 images: shows that everything runs, learns nothing | two CPU cores | a minute |
"""

from rc_keras.zoo.recipes.recipe import Recipe

TASKS = ("semseg", "parts", "edge", "saliency", "normals", "depth")
SCALES = ("small", "tiny")


def recipe(scale: str, tasks: tuple[str, ...] = TASKS) -> Recipe:
    """The `Recipe` at a scale, one of `SCALES`."""
    if scale == "small":
        return Recipe(
            "scenes/128x128",
            tasks,
            crop=(128, 128),
            steps=1000,
            checkpoint_every=125,
            validate_every=250,
            decoder_width=64,
            low_level_width=24,
            response_images=64,
            scales=(1.0, 1.25, 1.5),
        )
    return Recipe(
        "scenes/tiny",
        tasks,
        crop=(64, 64),
        steps=8,
        checkpoint_every=4,
        decoder_width=32,
        low_level_width=24,
        response_images=0,
        scales=(1.0, 1.25, 1.5),
        batch_size=4,
    )
