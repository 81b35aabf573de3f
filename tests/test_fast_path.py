"""What a compiled train step contains on TensorFlow, and the memory of a joint step."""

import collections

import keras
import numpy as np
import pytest

import rc_keras

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="looks at a TensorFlow graph")


@pytest.fixture(scope="module")
def operations():
    """Counts of the operations in a train step of a five-task ResNet-18, narrow, at 128x128."""
    import tensorflow as tf

    model = rc_keras.build(
        rc_keras.pascal_context(),
        backbone=rc_keras.backbones.resnet((2, 2, 2, 2), (8, 8, 8, 8), (128, 128, 3)),
        decoder=rc_keras.decoders.DeepLabV3Plus(width=8, low_level_width=8),
        image_shape=(128, 128, 3),
    )
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))
    images = tf.zeros((2, 128, 128, 3), tf.uint8)
    labels = {
        task.name: tf.zeros((2, 128, 128, task.channels if task.kind == "normals" else 1))
        for task in rc_keras.pascal_context()
    }
    step = tf.function(lambda images, labels: model.train_step((images, labels)), autograph=False)
    graph = step.get_concrete_function(images, labels).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return collections.Counter(node.op for node in nodes)


def test_dilation_is_direct(operations):
    assert not [name for name in operations if "SpaceToBatch" in name or "BatchToSpace" in name]


def test_norms_are_fused(operations):
    norms = 5 * (20 + 9)  # encoder, decoder
    assert operations["FusedBatchNormV3"] == operations["FusedBatchNormGradV3"] == norms
    assert operations["Rsqrt"] <= 5 * (17 + 1)  # the modulators' rows and unit normals, no norm by hand


def test_modulators_are_matrix_products(operations):
    modulators, convolutions = 5 * 17, 5 * (17 + 3 + 10)  # the last with the head
    assert operations["MatMul"] >= 3 * modulators
    assert operations["Conv2D"] <= convolutions + 5 * 7  # and the input gradients of the dilated ones


def test_unsupported_gradients_fall_back(monkeypatch):
    """The same numbers whether or not TensorFlow can differentiate its dilated kernel."""
    import tensorflow as tf

    from rc_keras import ops as rc_ops

    generator = np.random.default_rng(0)
    image = tf.constant(generator.normal(size=(2, 9, 9, 3)), tf.float32)
    kernel = tf.constant(generator.normal(size=(3, 3, 3, 4)), tf.float32)
    results = []
    for _ in range(2):
        with tf.GradientTape() as tape:
            tape.watch((image, kernel))
            loss = tf.reduce_sum(rc_ops.conv2d(image, kernel, padding="same", dilation_rate=(2, 2)) ** 2)
        results.append(tape.gradient(loss, (image, kernel)))
        if rc_ops._differentiates_dilation("float32"):
            monkeypatch.setattr(rc_ops, "_differentiates_dilation", lambda dtype: False)
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)
