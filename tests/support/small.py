"""The smallest model of two tasks, for tests that take steps with many optimizers."""

import keras
import numpy as np

import rc_keras

SIZE = 4
TASKS = (rc_keras.Task("depth", 1, "depth"), rc_keras.Task("height", 1, "depth"))


@keras.saving.register_keras_serializable(package="tests")
class Head:
    """One convolution."""

    def __call__(self, image, features, channels, prefix, seed):
        kernel = keras.initializers.RandomNormal(stddev=0.1, seed=1)
        return keras.layers.Conv2D(channels, 1, kernel_initializer=kernel, name=f"{prefix}head")(features["high_level"])

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def small_model(tasks=TASKS):
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Rescaling(1 / 64, -2.0, name="rescale")(image)
    kernel = keras.initializers.HeNormal(seed=0)
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, kernel_initializer=kernel, name="conv")(x)
    x = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="norm")(x))
    backbone = keras.Model(image, {"low_level": x, "high_level": x}, name="small")
    return rc_keras.build(list(tasks), backbone=backbone, decoder=Head(), image_shape=(SIZE, SIZE, 3), seed=0)


def small_data(n=4, seed=0):
    """Images, and labels of both tasks."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (n, SIZE, SIZE, 3)).astype("uint8")
    return images, {task.name: generator.uniform(1, 5, (n, SIZE, SIZE, 1)).astype("float32") for task in TASKS}
