"""Folder: your own images and labels, see `rc_keras.zoo.datasets.folder`.

    python -m rc_keras.zoo.train --recipe folder --scale small --manual_dir ROOT --weights imagenet --workdir RUN

`--manual_dir` is the root of the folders. The steps fit some thousand images; give `--steps` and `--checkpoint_every`,
which must divide it, for other amounts. Images larger than `--crop` are cropped in training; to evaluate them, give a
larger `--crop`, or a `--resize`.

| scale | images | steps |
| --- | --- | --- |
| `paper` | crops of 512x512 | 20,000 of 8 images |
| `small` | resized to 128x128 | 2,000 of 8 images |
"""

from rc_keras.zoo.recipes.recipe import Recipe

TASKS = None  # those of the folder
SCALES = ("paper", "small")


def recipe(scale: str, tasks: tuple[str, ...]) -> Recipe:
    """The `Recipe` at a scale, one of `SCALES`."""
    if scale == "paper":
        return Recipe("folder", tasks, crop=(512, 512), steps=20000, checkpoint_every=500)
    return Recipe(
        "folder",
        tasks,
        resize=(128, 128),
        crop=(128, 128),
        steps=2000,
        checkpoint_every=100,
        validate_every=500,
        decoder_width=64,
        low_level_width=24,
        scales=(1.0, 1.25, 1.5),
    )
