"""ResNets of basic blocks (He et al., CVPR 2016), dilated where a decoder wants finer features."""

import random
from collections.abc import Sequence

import keras

from rc_keras.backbones.arguments import check_classes_and_seed, check_image_shape, is_count, layer_seed
from rc_keras.layers import BatchNormalization, Conv2D

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# For each output stride, the (stride, dilation) of the four stages' 3x3 convolutions.
_STAGES = {
    8: ((1, 1), (2, 1), (1, 2), (1, 4)),
    16: ((1, 1), (2, 1), (2, 1), (1, 2)),
    32: ((1, 1), (2, 1), (2, 1), (2, 1)),
}


def resnet(
    depths: Sequence[int],
    widths: Sequence[int] = (64, 128, 256, 512),
    image_shape: Sequence[int | None] = (None, None, 3),
    output_stride: int = 16,
    classes: int | None = None,
    seed: int | None = None,
    name: str = "resnet",
) -> keras.Model:
    """Builds a ResNet of basic blocks as a plain functional model.

    A block answers `relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))`, where `shortcut` is the
    identity, or a 1x1 convolution and norm in the first block of stages 2 to 4. Where the output
    stride is below 32, the last stages keep their input's size and dilate all of their 3x3 kernels
    instead: by 2 in stage 4 (output stride 16), by 2 and 4 in stages 3 and 4 (output stride 8), as
    DeepLabv3 does (Chen et al., 2017). The weights do not depend on the output stride.

    Strided kernels are padded alike on both sides, and layers are named after torchvision's
    (`layer1.0.conv1` is `layer1_0_conv1` here), so that its ImageNet weights compute here what they
    compute there. The first layer normalizes the image with ImageNet's mean and standard deviation.

    Args:
        depths: four ints, the number of blocks of each stage.
        widths: four ints, the number of channels of each stage; the stem has as many as the first.
        image_shape: shape of one image, `(height, width, 3)`; height and width may be `None`.
        output_stride: image size over size of the last feature map: 8, 16 or 32.
        classes: number of classes of an image classifier on top, or `None` for an encoder without
            one.
        seed: int from which each layer's random weights are drawn, by the layer's name and not by
            the order of creation. `None` draws the seed at random.
        name: name of the model.

    Returns:
        A `keras.Model` on RGB images in 0..255, `(batch, height, width, 3)`. Without `classes` it
        answers `{"low_level": ..., "high_level": ...}`: the features of stage 1, `(batch,
        ceil(height / 4), ceil(width / 4), widths[0])`, and those of stage 4, `(batch, ceil(height /
        output_stride), ceil(width / output_stride), widths[3])`. With `classes` it answers logits,
        `(batch, classes)`.

    Raises:
        ValueError: if an argument is not as described.

    Example:

    >>> encoder = rc_keras.backbones.resnet((1, 1, 1, 1), widths=(8, 8, 16, 16), output_stride=16)
    >>> {key: features.shape for key, features in encoder(np.zeros((1, 425, 560, 3))).items()}
    {'low_level': (1, 107, 140, 8), 'high_level': (1, 27, 35, 16)}
    """
    _check_four_counts("depths", depths)
    _check_four_counts("widths", widths)
    check_image_shape(image_shape)
    if output_stride not in _STAGES:
        raise ValueError(f"`output_stride` must be one of {sorted(_STAGES)}. Received: output_stride={output_stride}")
    check_classes_and_seed(classes, seed)
    if seed is None:
        seed = random.randrange(2**31)

    # Layers
    def convolution(
        x: keras.KerasTensor, filters: int, kernel_size: int, layer_name: str, stride: int = 1, dilation: int = 1
    ) -> keras.KerasTensor:
        padding = "same"
        if stride > 1 and kernel_size > 1:
            x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{layer_name}_pad")(x)
            padding = "valid"
        return Conv2D(
            filters,
            kernel_size,
            strides=stride,
            padding=padding,
            dilation_rate=dilation,
            use_bias=False,
            kernel_initializer=_he_normal(seed, layer_name),
            name=layer_name,
        )(x)

    def norm(x: keras.KerasTensor, layer_name: str) -> keras.KerasTensor:
        return BatchNormalization(momentum=0.9, epsilon=1e-5, name=layer_name)(x)

    def relu(x: keras.KerasTensor, layer_name: str) -> keras.KerasTensor:
        return keras.layers.ReLU(name=layer_name)(x)

    def basic_block(
        x: keras.KerasTensor, filters: int, block_name: str, stride: int, dilation: int, project: bool
    ) -> keras.KerasTensor:
        shortcut = x
        if project:
            shortcut = convolution(shortcut, filters, 1, f"{block_name}_downsample_0", stride=stride)
            shortcut = norm(shortcut, f"{block_name}_downsample_1")
        x = convolution(x, filters, 3, f"{block_name}_conv1", stride=stride, dilation=dilation)
        x = relu(norm(x, f"{block_name}_bn1"), f"{block_name}_relu1")
        x = norm(
            convolution(x, filters, 3, f"{block_name}_conv2", dilation=dilation),
            f"{block_name}_bn2",
        )
        x = keras.layers.Add(name=f"{block_name}_add")([x, shortcut])
        return relu(x, f"{block_name}_relu2")

    # Functional model
    image = keras.Input(tuple(image_shape), name="image")
    x = keras.layers.Rescaling(
        scale=[1.0 / (255.0 * std) for std in IMAGENET_STD],
        offset=[-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)],
        name="preprocessing",
    )(image)
    x = relu(norm(convolution(x, widths[0], 7, "conv1", stride=2), "bn1"), "relu")
    # Padding with zeros is the maximum's neutral element here: nothing is negative after a ReLU.
    x = keras.layers.ZeroPadding2D(1, name="maxpool_pad")(x)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="valid", name="maxpool")(x)
    features = []
    for stage, (stride, dilation) in enumerate(_STAGES[output_stride]):
        for block in range(depths[stage]):
            first = block == 0
            x = basic_block(
                x,
                widths[stage],
                f"layer{stage + 1}_{block}",
                stride=stride if first else 1,
                dilation=dilation,
                project=first and stage > 0,
            )
        features.append(x)
    if classes is None:
        outputs = {"low_level": features[0], "high_level": features[3]}
    else:
        x = keras.layers.GlobalAveragePooling2D(name="avgpool")(x)
        outputs = keras.layers.Dense(
            classes,
            kernel_initializer=keras.initializers.GlorotUniform(seed=layer_seed(seed, "fc")),
            name="fc",
        )(x)

    # Config: a functional model keeps its own.
    return keras.Model(image, outputs, name=name)


def resnet18(
    image_shape: Sequence[int | None] = (None, None, 3),
    output_stride: int = 16,
    classes: int | None = None,
    seed: int | None = None,
    name: str = "resnet18",
) -> keras.Model:
    """Builds ResNet-18: `resnet` with 2, 2, 2 and 2 blocks. See `resnet` for the arguments."""
    return resnet(
        (2, 2, 2, 2),
        image_shape=image_shape,
        output_stride=output_stride,
        classes=classes,
        seed=seed,
        name=name,
    )


def resnet34(
    image_shape: Sequence[int | None] = (None, None, 3),
    output_stride: int = 16,
    classes: int | None = None,
    seed: int | None = None,
    name: str = "resnet34",
) -> keras.Model:
    """Builds ResNet-34: `resnet` with 3, 4, 6 and 3 blocks. See `resnet` for the arguments."""
    return resnet(
        (3, 4, 6, 3),
        image_shape=image_shape,
        output_stride=output_stride,
        classes=classes,
        seed=seed,
        name=name,
    )


def _he_normal(seed: int, layer_name: str) -> keras.initializers.Initializer:
    """He et al.'s normal initialization (ICCV 2015), backward form: variance 2 / (k^2 c_out)."""
    return keras.initializers.VarianceScaling(
        scale=2.0,
        mode="fan_out",
        distribution="untruncated_normal",
        seed=layer_seed(seed, layer_name),
    )


def _check_four_counts(argument: str, values: Sequence[int]) -> None:
    if not isinstance(values, (list, tuple)) or len(values) != 4 or not all(map(is_count, values)):
        raise ValueError(f"`{argument}` must be four positive ints, one for each stage. Received: {argument}={values}")
