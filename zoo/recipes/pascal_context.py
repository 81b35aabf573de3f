"""PASCAL-Context: edges, semantic segmentation, human parts, normals and saliency.

    python -m rc_keras.zoo.train --recipe pascal_context --manual_dir DIR --weights imagenet --workdir RUN

`--manual_dir` holds the archive PASCAL_MT. Scales:

| scale | images | steps | hardware | duration |
| --- | --- | --- | --- | --- |
| `paper` | 512x512 | 37,500 of 8 images, 60 epochs; human parts alone 13,020 | one GPU | not measured |
| `small` | 128x128 | 6,250 of 8 images, 10 epochs; human parts alone 2,170 | two CPU cores | not measured |

The paper trains human parts on the images with people only: so does this recipe when human parts is the only task
(`--tasks human_parts`). Together with other tasks it meets all images, and those without people, unlabelled, only move
its norms, momentum and decay.
"""

from rc_keras.zoo.recipes.recipe import Recipe

TASKS = ("edge", "semseg", "human_parts", "normals", "saliency")
SCALES = ("paper", "small")


def recipe(scale: str, tasks: tuple[str, ...] = TASKS) -> Recipe:
    """The `Recipe` at a scale, one of `SCALES`."""
    people_only = tuple(tasks) == ("human_parts",)
    epoch = 217 if people_only else 625  # steps
    images_with = "has_human_parts" if people_only else None
    if scale == "paper":
        return Recipe(
            "pascal_mt",
            tasks,
            crop=(512, 512),
            steps=60 * epoch,
            checkpoint_every=epoch,
            images_with=images_with,
        )
    return Recipe(
        "pascal_mt",
        tasks,
        resize=(128, 128),
        crop=(128, 128),
        steps=10 * epoch,
        checkpoint_every=epoch,
        decoder_width=64,
        low_level_width=24,
        scales=(1.0, 1.25, 1.5),
        images_with=images_with,
    )
