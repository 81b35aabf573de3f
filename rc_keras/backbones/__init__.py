"""Plain encoders: ordinary functional Keras models, from which a task's branch is grafted."""

from collections.abc import Callable

import keras

from rc_keras.backbones.backbone import Backbone, PublishedWeights
from rc_keras.backbones.resnet import IMAGENET_MEAN, IMAGENET_STD, resnet, resnet18, resnet34
from rc_keras.base.names import unknown_name

# Weights are torchvision's IMAGENET1K_V1, in the newer of its two files each, which is in torch's zip format.
BACKBONES: dict[str, Backbone] = {
    "resnet18": Backbone(
        resnet18,
        PublishedWeights(
            url="https://download.pytorch.org/models/resnet18-f37072fd.pth",
            sha256_prefix="f37072fd",
            licence="BSD-3-Clause",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            top_1=0.69758,
        ),
    ),
    "resnet34": Backbone(
        resnet34,
        PublishedWeights(
            url="https://download.pytorch.org/models/resnet34-b627a593.pth",
            sha256_prefix="b627a593",
            licence="BSD-3-Clause",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            top_1=0.73314,
        ),
    ),
}


def get(name: str) -> Callable[..., keras.Model]:
    """Looks up a backbone's entry point.

    Args:
        name: a key of `BACKBONES`, e.g. `"resnet18"`.

    Returns:
        The function that builds the backbone, see `Backbone`.

    Raises:
        ValueError: if there is no backbone of that name.

    Example:

    >>> encoder = rc_keras.backbones.get("resnet18")(output_stride=16)
    """
    if isinstance(name, str) and name in BACKBONES:
        return BACKBONES[name].function
    raise unknown_name("backbone", name, BACKBONES)


__all__ = ["BACKBONES", "Backbone", "PublishedWeights", "get", "resnet", "resnet18", "resnet34"]
