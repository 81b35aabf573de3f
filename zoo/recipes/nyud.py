"""NYUD: edges, semantic segmentation, normals and depth of indoor images.

    python -m rc_keras.zoo.train --recipe nyud --scale small --manual_dir DIR --weights resnet18.pth --workdir RUN

`--manual_dir` holds the archive NYUD_MT. Scales:

| scale | images | steps | hardware | duration |
| --- | --- | --- | --- | --- |
| `paper` | 425x560 | 19,875 of 8 images, about 200 epochs | one GPU | not measured |
| `small` | 96x128 | 1,600 of 8 images, 16 epochs | two CPU cores without AVX-512 | 66 min while other work ran |

The paper's numbers need its own ImageNet networks and data (see the README of the data set). Last obtained with
`small`, method `rcm` and an ImageNet ResNet-18 with an approximate layer4, on the 654 validation images at 96x128:

| steps | edge | semseg | normals | depth |
| --- | --- | --- | --- | --- |
| 1,600 | | mIoU 13.0 % (without class 40: 13.3 %) | mean angle 33.6° | RMSE 0.891 m |
| 800 | odsF 54.4 % | mIoU 8.8 % (without class 40: 9.0 %) | mean angle 36.0° | RMSE 0.961 m |

from a copy of the data with depth in steps of 3.9 cm, normals derived from it, edges that are the borders of labels,
and class 40 unlabelled in the training split. mIoU is the mean over the 40 named classes, and is what enters Δm;
`mean_iou_41`, reported beside it, counts class 0 as the paper does (see `rc_keras.zoo.evaluation_metrics`).
"""

from rc_keras.zoo.recipes.recipe import Recipe

TASKS = ("edge", "semseg", "normals", "depth")
SCALES = ("paper", "small")


def recipe(scale: str, tasks: tuple[str, ...] = TASKS) -> Recipe:
    """The `Recipe` at a scale, one of `SCALES`."""
    if scale == "paper":
        return Recipe("nyud_mt", tasks, crop=(425, 560), steps=19875, checkpoint_every=75, edge_tolerance=0.011)
    return Recipe(
        "nyud_mt",
        tasks,
        resize=(96, 128),
        crop=(96, 128),
        steps=1600,
        checkpoint_every=100,
        validate_every=400,
        decoder_width=64,
        low_level_width=24,
        scales=(1.0, 1.25, 1.5),
        learning_rate=0.01,
        edge_tolerance=0.011,
    )
