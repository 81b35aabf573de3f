"""Pointwise kernels of families people use: what a task adds, and that the function is kept."""

import keras
import numpy as np
import pytest

import rc_keras
from rc_keras import FilterBank, graft

pytestmark = pytest.mark.slow

ROUNDING = 1e-5  # of the range: float32 in another order
RANK = 8


def vision_transformer(image_shape=(64, 64, 3), width=192, depth=12):
    layers = keras.layers
    image = keras.Input(image_shape)
    x = layers.Conv2D(width, 16, strides=16, name="patches")(image)
    height, breadth = x.shape[1:3]
    x = layers.Reshape((height * breadth, width), name="tokens")(x)
    for at in range(depth):
        y = layers.LayerNormalization(name=f"block_{at}_norm")(x)
        y = layers.MultiHeadAttention(3, width // 3, name=f"block_{at}_attention")(y, y)
        x = layers.Add(name=f"block_{at}_attended")([x, y])
        y = layers.LayerNormalization(name=f"block_{at}_mlp_norm")(x)
        y = layers.Dense(4 * width, "gelu", name=f"block_{at}_mlp_in")(y)
        x = layers.Add(name=f"block_{at}_out")([x, layers.Dense(width, name=f"block_{at}_mlp_out")(y)])
    return keras.Model(image, layers.Reshape((height, breadth, width), name="map")(x), name="vision_transformer")


def published(name):
    make = getattr(keras.applications, name)
    return lambda: make(weights=None, include_top=False, input_shape=(64, 64, 3))


FAMILIES = {  # what a task adds at most, as a share of the plain encoder
    "ResNet50": (published("ResNet50"), 0.08),
    "MobileNetV2": (published("MobileNetV2"), 0.12),
    "EfficientNetB0": (published("EfficientNetB0"), 0.15),
    "ConvNeXtTiny": (published("ConvNeXtTiny"), 0.07),
    "vision_transformer": (vision_transformer, 0.08),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_task_adds_little_to_what_is_computed_alike(name):
    make, most = FAMILIES[name]
    keras.utils.set_random_seed(0)
    backbone, generator = make(), np.random.default_rng(0)
    for variable in backbone.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "bias", "moving_mean"):
            variable.assign(generator.normal(0.0, 0.1, variable.shape))
    report = rc_keras.graft_report(backbone, pointwise_rank=RANK)
    assert report.per_task <= most
    branch = graft(FilterBank(backbone, "rcm", pointwise_rank=RANK), "edge")
    images = generator.uniform(-1.0, 1.0, (2, 64, 64, 3)).astype("float32")
    ours, expected = (keras.ops.convert_to_numpy(net(images, training=False)) for net in (branch, backbone))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=ROUNDING * np.ptp(expected))
