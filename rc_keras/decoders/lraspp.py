"""The LR-ASPP decoder, for small networks."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from rc_keras.base.seeds import derive_seed
from rc_keras.layers import BatchNormalization, ConcatConv2D, Conv2D, ResizeTo


@keras.saving.register_keras_serializable(package="rc_keras")
class LRASPP:
    """Lite R-ASPP (Howard et al., Searching for MobileNetV3, ICCV 2019, section 6.4, figure 10).

    With h the high-level and l the low-level features,

        x = relu(norm(W_x h)) ⊙ up(σ(W_g pool(h))),    y = W_1 up(x) + W_2 l + b,

    all W 1x1 convolutions. Both of y are one layer, `head`, which convolves x before it is resized; see `ConcatConv2D`.

    The paper takes l at an output stride of 8; name such a map by `low_level=` of `rc_keras.build`. By default it is
    the low-level map that every decoder gets, of stride 4.

    Kernels start from a normal distribution with standard deviation 0.01, drawn by name, the bias of the head from 0.

    Args:
        width: channels of x.
        pool_size: height and width of the pooling window, in pixels of h; the paper has (49, 49) for maps of 64x128.
            `None`: the whole map.
        pool_strides: its strides, (16, 20) in the paper; `None`: as `pool_size`.

    Call arguments: as every `Decoder`.

    Returns:
        Raw predictions at the size of the image, `(batch, height, width, channels)`.
    """

    def __init__(
        self, width: int = 128, pool_size: Sequence[int] | None = None, pool_strides: Sequence[int] | None = None
    ) -> None:
        if not isinstance(width, int) or width < 1:
            raise ValueError(f"`width` must be a positive integer. Received: width={width!r}")
        for name, sizes in (("pool_size", pool_size), ("pool_strides", pool_strides)):
            if sizes is not None and not _are_two_counts(sizes):
                raise ValueError(f"`{name}` must be None or two positive integers. Received: {name}={sizes!r}")
        if pool_size is None and pool_strides is not None:
            raise ValueError(
                f"`pool_strides` must be None without `pool_size`. Received: pool_strides={pool_strides!r}"
            )
        self.width = width
        self.pool_size = None if pool_size is None else tuple(pool_size)
        self.pool_strides = None if pool_strides is None else tuple(pool_strides)

    def __call__(
        self, image: keras.KerasTensor, features: Mapping[str, keras.KerasTensor], channels: int, prefix: str, seed: int
    ) -> keras.KerasTensor:
        def normal(name: str) -> keras.initializers.RandomNormal:
            return keras.initializers.RandomNormal(stddev=0.01, seed=derive_seed(seed, prefix, name))

        def conv(x: keras.KerasTensor, name: str, **options: Any) -> keras.KerasTensor:
            kernel = normal(name)
            return Conv2D(
                self.width, 1, use_bias=False, kernel_initializer=kernel, name=f"{prefix}{name}_conv", **options
            )(x)

        low_level, high_level = features["low_level"], features["high_level"]
        x = BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{prefix}project_norm")(conv(high_level, "project"))
        x = keras.layers.ReLU(name=f"{prefix}project_relu")(x)
        if self.pool_size is None:
            pool = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{prefix}gate_pool")
        else:
            pool = keras.layers.AveragePooling2D(self.pool_size, self.pool_strides, name=f"{prefix}gate_pool")
        gate = conv(pool(high_level), "gate", activation="sigmoid")
        if self.pool_size is not None:
            gate = ResizeTo(name=f"{prefix}gate_resize")(gate, x)
        x = keras.layers.Multiply(name=f"{prefix}gated")([x, gate])
        x = ConcatConv2D(channels, 1, reference=1, kernel_initializer=normal("head"), name=f"{prefix}head")(
            [x, low_level]
        )
        return ResizeTo(name=f"{prefix}head_resize")(x, image)

    def get_config(self) -> dict[str, Any]:
        return {"width": self.width, "pool_size": self.pool_size, "pool_strides": self.pool_strides}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LRASPP":
        return cls(**config)


def _are_two_counts(sizes: Any) -> bool:
    is_pair = isinstance(sizes, (list, tuple)) and len(sizes) == 2
    return is_pair and all(isinstance(size, int) and size >= 1 for size in sizes)
