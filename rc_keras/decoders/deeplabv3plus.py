"""The DeepLabv3+ decoder."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from rc_keras.base.seeds import derive_seed
from rc_keras.layers import BatchNormalization, ConcatConv2D, Conv2D, ResizeTo


@keras.saving.register_keras_serializable(package="rc_keras")
class DeepLabV3Plus:
    """DeepLabv3+ (Chen et al., ECCV 2018): atrous spatial pyramid pooling, a low-level skip, two 3x3 convolutions.

    What is pooled or small is convolved before it is resized, with the same result; see `ConcatConv2D`.

    Convolutions start from a normal distribution with standard deviation 0.01, the bias of the head from a uniform one
    in ±1/√width, both drawn by name.

    Args:
        width: channels of the pyramid and of the decoder.
        low_level_width: channels of the projected low-level features.
        rates: dilation rates of the pyramid's 3x3 convolutions.

    Call arguments: as every `Decoder`.

    Returns:
        Raw predictions at the size of the image, `(batch, height, width, channels)`.
    """

    def __init__(self, width: int = 256, low_level_width: int = 48, rates: Sequence[int] = (6, 12, 18)) -> None:
        for name, value in (("width", width), ("low_level_width", low_level_width)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
        if not all(isinstance(rate, int) and rate >= 1 for rate in rates):
            raise ValueError(f"`rates` must be positive integers. Received: rates={rates!r}")
        self.width = width
        self.low_level_width = low_level_width
        self.rates = tuple(rates)

    def __call__(
        self, image: keras.KerasTensor, features: Mapping[str, keras.KerasTensor], channels: int, prefix: str, seed: int
    ) -> keras.KerasTensor:
        def normal(name: str) -> keras.initializers.RandomNormal:
            return keras.initializers.RandomNormal(stddev=0.01, seed=derive_seed(seed, prefix, name))

        def conv(
            x: keras.KerasTensor | list[keras.KerasTensor], filters: int, size: int, name: str, **options: int
        ) -> keras.KerasTensor:
            x = (ConcatConv2D if isinstance(x, list) else Conv2D)(
                filters,
                size,
                padding="same",
                use_bias=False,
                kernel_initializer=normal(name),
                name=f"{prefix}{name}_conv",
                **options,
            )(x)
            x = BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{prefix}{name}_norm")(x)
            return keras.layers.ReLU(name=f"{prefix}{name}_relu")(x)

        low_level, high_level = features["low_level"], features["high_level"]
        pyramid = [conv(high_level, self.width, 1, "aspp_1x1")]
        for rate in self.rates:
            pyramid.append(conv(high_level, self.width, 3, f"aspp_rate{rate}", dilation_rate=rate))
        pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{prefix}aspp_pool")(high_level)
        pyramid.append(conv(pooled, self.width, 1, "aspp_pooled"))
        x = conv(pyramid, self.width, 1, "aspp_out")
        low_level = conv(low_level, self.low_level_width, 1, "low_level")
        x = conv([x, low_level], self.width, 3, "fuse1", reference=1)
        x = conv(x, self.width, 3, "fuse2")
        bound = self.width**-0.5
        x = Conv2D(
            channels,
            1,
            kernel_initializer=normal("head"),
            bias_initializer=keras.initializers.RandomUniform(
                -bound, bound, seed=derive_seed(seed, prefix, "head_bias")
            ),
            name=f"{prefix}head",
        )(x)
        return ResizeTo(name=f"{prefix}head_resize")(x, image)

    def get_config(self) -> dict[str, Any]:
        return {"width": self.width, "low_level_width": self.low_level_width, "rates": self.rates}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "DeepLabV3Plus":
        return cls(**config)
