"""A small network of every layer with a pointwise kernel."""

import keras
import numpy as np

from support.tiny import SIZE


def mobile_backbone(seed=0, size=SIZE):
    """An inverted residual block with squeeze-and-excitation, a separable convolution, and a block of attention."""
    layers = keras.layers
    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / 64, -2.0, name="rescale")(image)
    x = layers.Conv2D(8, 4, strides=4, use_bias=False, name="stem")(x)
    low = x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(x))
    x = layers.Conv2D(24, 1, use_bias=False, name="expand")(x)
    x = layers.ReLU(6.0, name="expand_relu")(layers.BatchNormalization(name="expand_norm")(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    pooled = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    pooled = layers.Conv2D(8, 1, activation="relu", name="squeeze")(pooled)
    x = layers.Multiply(name="excited")([x, layers.Conv2D(24, 1, activation="sigmoid", name="excite")(pooled)])
    x = layers.Conv2D(8, 1, use_bias=False, name="project")(x)
    x = layers.Add(name="add")([low, layers.BatchNormalization(name="project_norm")(x)])
    x = layers.SeparableConv2D(12, 3, strides=2, padding="same", activation="relu", name="separable")(x)
    tokens = layers.Reshape((-1, 12), name="tokens")(x)
    query, key, value = (
        layers.EinsumDense("abc,cde->abde", (None, 3, 4), bias_axes="de", name=name)(tokens)
        for name in ("query", "key", "value")
    )
    scores = layers.Softmax(name="softmax")(keras.ops.einsum("bnhd,bmhd->bhnm", query, key))
    heads = keras.ops.einsum("bhnm,bmhd->bnhd", scores, value)
    x = layers.Add(name="attended")([tokens, layers.EinsumDense("abcd,cde->abe", (None, 12), name="joined")(heads)])
    x = layers.Dense(24, activation="gelu", name="mlp_in")(layers.LayerNormalization(name="mlp_norm")(x))
    x = layers.Dense(12, name="mlp_out")(x)
    high = layers.Reshape((size // 8, size // 8, 12), name="map")(x)
    network = keras.Model(image, {"low_level": low, "high_level": high}, name="mobile")
    generator = np.random.default_rng(seed)
    for variable in network.variables:
        value = generator.normal(0.0, np.prod(variable.shape[:-1]) ** -0.5, variable.shape)
        variable.assign(np.abs(value) + 0.5 if variable.name in ("gamma", "moving_variance") else value)
    return network


POINTWISE = {  # names of those layers
    "expand",
    "squeeze",
    "excite",
    "project",
    "separable",
    "query",
    "key",
    "value",
    "joined",
    "mlp_in",
    "mlp_out",
}
