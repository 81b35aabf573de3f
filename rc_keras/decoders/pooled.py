"""The head of classification tasks."""

import keras

from rc_keras.seeds import derive_seed


@keras.saving.register_keras_serializable(package="rc_keras")
class PooledHead:
    """Global average pooling and one dense layer, as a ResNet's classifier.

    Call arguments: as `DeepLabV3Plus`.

    Returns:
        Logits, `(batch, channels)`.
    """

    def __call__(self, image, features, channels, prefix, seed):
        del image
        x = keras.layers.GlobalAveragePooling2D(name=f"{prefix}pool")(features["high_level"])
        kernel = keras.initializers.RandomNormal(stddev=0.01, seed=derive_seed(seed, prefix, "head"))
        return keras.layers.Dense(channels, kernel_initializer=kernel, name=f"{prefix}head")(x)

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
