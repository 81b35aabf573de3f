"""The head of classification tasks."""

from collections.abc import Mapping
from typing import Any

import keras

from rc_keras.base.seeds import derive_seed


@keras.saving.register_keras_serializable(package="rc_keras")
class PooledHead:
    """Global average pooling and one dense layer, as a ResNet's classifier.

    Call arguments: as every `Decoder`.

    Returns:
        Logits, `(batch, channels)`.
    """

    def __call__(
        self, image: keras.KerasTensor, features: Mapping[str, keras.KerasTensor], channels: int, prefix: str, seed: int
    ) -> keras.KerasTensor:
        del image
        x = keras.layers.GlobalAveragePooling2D(name=f"{prefix}pool")(features["high_level"])
        kernel = keras.initializers.RandomNormal(stddev=0.01, seed=derive_seed(seed, prefix, "head"))
        return keras.layers.Dense(channels, kernel_initializer=kernel, name=f"{prefix}head")(x)

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PooledHead":
        return cls(**config)
