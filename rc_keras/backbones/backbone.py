"""What is known of a backbone that has a name."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """ImageNet weights that `weights="imagenet"` downloads.

    Attributes:
        url: of a file that `rc_keras.pretrained.load_weights` reads.
        sha256_prefix: how the file's sha256 begins, in hexadecimal digits.
        licence: SPDX identifier.
        mean, std: of the pixels in 0..1 that the network was trained on, for red, green and blue.
        top_1: published share of ImageNet's validation images that it classifies, in 0..1.
    """

    url: str
    sha256_prefix: str
    licence: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    top_1: float


@dataclasses.dataclass(frozen=True)
class KerasWeights:
    """ImageNet weights that `weights="imagenet"` gets from `keras.applications`, which downloads and checks them.

    Attributes:
        network: its name in `keras.applications`, for example `"ResNet50"`.
        licence: SPDX identifier of what they come from.
        top_1: published share of ImageNet's validation images that the network classifies, in 0..1.
    """

    network: str
    licence: str
    top_1: float


@dataclasses.dataclass(frozen=True)
class Backbone:
    """An entry of `rc_keras.backbones.BACKBONES`; called, it builds the network.

    Attributes:
        function: what builds it: a functional `keras.Model` that bears the entry's name, on RGB images in 0..255,
            `(batch, height, width, 3)`, which its first layer normalizes. Its arguments are `image_shape`,
            `output_stride`, `classes`, `seed` and `name`, those of `rc_keras.backbones.resnet18`, all with a default.
            Without `classes` it answers `{"low_level": map, "high_level": map}`, at a stride of 4 and at
            `output_stride`. No layer is called `output` or `decoder_…`.
        weights: the published weights, whose tensors have the names of its layers; `None`: there are none.
        image_size: height and width of the images that `weights` were published for.
        output_strides: those it can be built with.
        source: the paper.
        preprocessing: what the first layers do to the pixels x in 0..255.
        bank_share: the share of its weights, in 0..1, that is at least in layers that tasks share, see
            `rc_keras.graft_report`, with `pointwise_rank=8`; `None`: not told.
    """

    function: Callable[..., keras.Model]
    weights: PublishedWeights | KerasWeights | None = None
    image_size: int = 224
    output_strides: tuple[int, ...] = (8, 16, 32)
    source: str = ""
    preprocessing: str = ""
    bank_share: float | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> keras.Model:
        return self.function(*args, **kwargs)
