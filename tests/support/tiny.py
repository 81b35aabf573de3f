"""Small models and data for tests."""

import keras
import numpy as np

import rc_keras
from rc_keras.base.seeds import derive_seed
from rc_keras.files.named_weights import named_variables

SIZE = 32
TASKS = (
    rc_keras.Task("semseg", 5, "segmentation"),
    rc_keras.Task("edge", 1, "edge", loss_weight=50.0),
    rc_keras.Task("normals", 3, "normals"),
    rc_keras.Task("depth", 1, "depth"),
)


def micro_backbone(seed=0, size=SIZE):
    """Three bank convolutions, one of the task's own, four norms: quick to trace."""
    generator = iter(range(100 * seed, 100 * seed + 100))

    def unit(x, filters, kernel_size, name, **kwargs):
        initializer = keras.initializers.HeNormal(seed=next(generator))
        x = keras.layers.Conv2D(
            filters, kernel_size, use_bias=False, kernel_initializer=initializer, name=f"{name}_conv", **kwargs
        )(x)
        return keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)

    image = keras.Input((size, size, 3), name="image")
    x = keras.layers.Rescaling(1 / 64, -2.0, name="rescale")(image)
    x = keras.layers.ReLU(name="stem_relu")(unit(x, 8, 4, "stem", strides=4))
    low = keras.layers.ReLU(name="low_relu")(unit(x, 8, 3, "low", padding="same"))
    shortcut = unit(low, 12, 1, "shortcut")
    x = unit(low, 12, 3, "high", padding="same", dilation_rate=2)
    high = keras.layers.ReLU(name="high_relu")(keras.layers.Add(name="add")([x, shortcut]))
    backbone = keras.Model(image, {"low_level": low, "high_level": high}, name="micro")
    randomize_norms(backbone, seed)
    return backbone


@keras.saving.register_keras_serializable(package="tests")
class MicroDecoder:
    """One convolution with a norm, and the head."""

    def __call__(self, image, features, channels, prefix, seed):
        def normal(name):
            return keras.initializers.RandomNormal(stddev=0.1, seed=derive_seed(seed, prefix, name))

        x = rc_keras.layers.Conv2D(8, 1, use_bias=False, kernel_initializer=normal("conv"), name=f"{prefix}conv")(
            features["high_level"]
        )
        x = rc_keras.layers.BatchNormalization(name=f"{prefix}norm")(x)
        x = rc_keras.layers.Conv2D(channels, 1, kernel_initializer=normal("head"), name=f"{prefix}head")(x)
        return rc_keras.layers.ResizeTo(name=f"{prefix}resize")(x, image)

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def tiny_backbone(seed=0, size=SIZE, **kwargs):
    """A ResNet of four blocks with random norms, so that folding or forgetting one would show."""
    backbone = rc_keras.backbones.resnet((1, 1, 1, 1), (8, 8, 16, 16), (size, size, 3), seed=seed, **kwargs)
    randomize_norms(backbone, seed)
    return backbone


def randomize_norms(model, seed=0):
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "moving_mean"):
            variable.assign(generator.normal(0.0, 0.2, variable.shape))


def tiny_decoder():
    return rc_keras.decoders.DeepLabV3Plus(width=16, low_level_width=8, rates=(1, 2, 3))


def tiny_model(tasks=TASKS[:3], **kwargs):
    arguments = {
        "backbone": micro_backbone(seed=99 if "bank" in kwargs else 0),
        "decoder": MicroDecoder(),
        "image_shape": (SIZE, SIZE, 3),
        "seed": 0,
        **kwargs,
    }
    return rc_keras.build(list(tasks), **arguments)


def tiny_data(n=8, seed=0):
    """Images and labels of all tasks."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (n, SIZE, SIZE, 3)).astype("uint8")
    normals = generator.normal(size=(n, SIZE, SIZE, 3)).astype("float32")
    labels = {
        "semseg": generator.integers(0, 5, (n, SIZE, SIZE, 1)).astype("int32"),
        "edge": generator.integers(0, 2, (n, SIZE, SIZE, 1)).astype("int32"),
        "normals": normals / np.linalg.norm(normals, axis=-1, keepdims=True),
        "depth": generator.uniform(1, 5, (n, SIZE, SIZE, 1)).astype("float32"),
    }
    return images, labels


def arrays(mapping):
    """`{key: NumPy array}` of tensors or variables."""
    return {key: np.array(keras.ops.convert_to_numpy(value)) for key, value in mapping.items()}


def state(branch):
    """`{name: value}` of everything a branch holds, copied, named without the task."""
    return arrays(named_variables(branch.layers, strip=f"{branch.name}__"))


def assert_same_bits(left, right):
    assert left.keys() == right.keys()
    for key in left:
        np.testing.assert_array_equal(left[key], right[key], err_msg=key)


def differs(left, right):
    return [key for key in left if not np.array_equal(left[key], right[key])]
