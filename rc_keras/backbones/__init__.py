"""Plain encoders: ordinary functional Keras models, from which a task's branch is grafted."""

from collections.abc import Callable

import keras

from rc_keras.backbones.backbone import Backbone, KerasWeights, PublishedWeights
from rc_keras.backbones.keras_networks import (
    convnext_tiny,
    efficientnetv2_b0,
    keras_network,
    mobilenetv2,
    mobilenetv3_large,
    resnet50,
)
from rc_keras.backbones.norm_momentum import with_norm_momentum
from rc_keras.backbones.resnet import IMAGENET_MEAN, IMAGENET_STD, resnet, resnet18, resnet34
from rc_keras.base.names import unknown_name

_RESNET = "He et al., Deep residual learning for image recognition, CVPR 2016"
_NORMALIZED = "(x / 255 - mean) / std of ImageNet"

# Weights of resnet18 and resnet34 are torchvision's IMAGENET1K_V1, in the newer of its two files each, which is in
# torch's zip format. All others are those of `keras.applications`, with the accuracy that Keras tells.
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
        source=_RESNET,
        preprocessing=_NORMALIZED,
        bank_share=0.99,
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
        source=_RESNET,
        preprocessing=_NORMALIZED,
        bank_share=0.99,
    ),
    "resnet50": Backbone(
        resnet50,
        KerasWeights("ResNet50", licence="MIT", top_1=0.749),
        source=_RESNET,
        preprocessing="blue, green, red; less their means on ImageNet",
        bank_share=0.99,
    ),
    "mobilenetv2": Backbone(
        mobilenetv2,
        KerasWeights("MobileNetV2", licence="Apache-2.0", top_1=0.713),
        source="Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks, CVPR 2018",
        preprocessing="x / 127.5 - 1",
        bank_share=0.95,
    ),
    "mobilenetv3_large": Backbone(
        mobilenetv3_large,
        KerasWeights("MobileNetV3Large", licence="Apache-2.0", top_1=0.756),
        source="Howard et al., Searching for MobileNetV3, ICCV 2019",
        preprocessing="x / 127.5 - 1",
        bank_share=0.96,
    ),
    "efficientnetv2_b0": Backbone(
        efficientnetv2_b0,
        KerasWeights("EfficientNetV2B0", licence="Apache-2.0", top_1=0.787),
        source="Tan and Le, EfficientNetV2: smaller models and faster training, ICML 2021",
        preprocessing=_NORMALIZED,
        bank_share=0.96,
    ),
    "convnext_tiny": Backbone(
        convnext_tiny,
        KerasWeights("ConvNeXtTiny", licence="MIT", top_1=0.813),
        output_strides=(16, 32),
        source="Liu et al., A ConvNet for the 2020s, CVPR 2022",
        preprocessing=_NORMALIZED,
        bank_share=0.98,
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


__all__ = [
    "BACKBONES",
    "Backbone",
    "KerasWeights",
    "PublishedWeights",
    "convnext_tiny",
    "efficientnetv2_b0",
    "get",
    "keras_network",
    "mobilenetv2",
    "mobilenetv3_large",
    "resnet",
    "resnet18",
    "resnet34",
    "resnet50",
    "with_norm_momentum",
]
