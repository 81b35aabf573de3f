"""What a compiled train step contains on TensorFlow, and the numbers of its dilated convolutions, on any processor."""

import collections
import platform
import subprocess
import sys

import keras
import numpy as np
import pytest
import scipy.signal
from support.folders import SUPPORT, environment
from support.slow import slow

import rc_keras
from rc_keras.base import convolution

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="looks at a TensorFlow graph")

TASKS = ("semseg", "normals")
WORKER = SUPPORT / "dilation_worker.py"
# Sums of up to 126 products of standard normal numbers in float32.
RELATIVE, ABSOLUTE = 1e-5, 2e-5

# Image, kernel and dilation: unequal everywhere; taps that meet only padding; a kernel that ends as one tap.
DILATED = {
    "unequal": ((2, 7, 6, 3), (3, 5, 3, 4), (2, 1)),
    "wider_than_the_map": ((1, 9, 5, 2), (5, 3, 2, 3), (3, 4)),
    "one_tap": ((2, 4, 5, 3), (3, 3, 3, 2), (6, 6)),
}


@pytest.fixture(scope="module", params=[True, slow(False)], ids=["native", "fallback"])
def operations(request):
    """Counts of the operations in a train step of a two-task ResNet-18, narrow, at 128x128.

    `differentiates` tells whether TensorFlow's own gradients of dilated convolutions are in it, whatever this
    processor has; `taps` counts the taps whose gradients are products of our own.
    """
    import tensorflow as tf

    tasks = [task for task in rc_keras.pascal_context() if task.name in TASKS]
    model = rc_keras.build(
        tasks,
        backbone=rc_keras.backbones.resnet((2, 2, 2, 2), (8, 8, 8, 8), (128, 128, 3)),
        decoder=rc_keras.decoders.DeepLabV3Plus(width=8, low_level_width=8),
        image_shape=(128, 128, 3),
    )
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))
    images = tf.zeros((2, 128, 128, 3), tf.uint8)
    labels = {task.name: tf.zeros((2, 128, 128, task.channels if task.kind == "normals" else 1)) for task in tasks}
    kernel_gradient, taps = convolution._kernel_gradient, []

    def step(images, labels):
        taps.clear()  # the first trace only makes variables
        return model.train_step((images, labels))

    def counted(inputs, upstream, kernel_shape, dilation_rate):
        taps.append(kernel_shape[0] * kernel_shape[1])
        return kernel_gradient(inputs, upstream, kernel_shape, dilation_rate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "_differentiates_dilation", lambda dtype: request.param)
        patch.setattr(convolution, "_kernel_gradient", counted)
        graph = tf.function(step, autograph=False).get_concrete_function(images, labels).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    counts = collections.Counter(node.op for node in nodes)
    return {**counts, "differentiates": request.param, "taps": sum(taps), "dilated": len(taps)}


def test_dilation_is_direct(operations):
    assert not [name for name in operations if "SpaceToBatch" in name or "BatchToSpace" in name]


def test_norms_are_fused(operations):
    norms = len(TASKS) * (20 + 9)  # encoder, decoder
    assert operations["FusedBatchNormV3"] == operations["FusedBatchNormGradV3"] == norms
    assert operations["Rsqrt"] <= len(TASKS) * (17 + 1)  # the modulators' rows and unit normals, no norm by hand


def test_modulators_are_matrix_products(operations):
    """Forward, by input and by kernel; below the first modulator nothing is trained.

    Four more are in the decoder: the pooled map, and three rows of the kernel on the map that is then stretched.
    """
    assert operations["MatMul"] == len(TASKS) * (3 * (17 + 1 + 3) - 1) + operations["taps"]
    convolutions = 1 + len(TASKS) * (16 + 3 + 10)  # the stem's once for all tasks; the last with the head
    assert operations["Conv2D"] == convolutions + operations["dilated"]


def test_our_gradient_stands_in_where_tensorflow_has_none(operations):
    """Of maps of 8x8, rates of 12 and 18 see one pixel through their middle tap; the other taps are left out."""
    whole, one_tap = 4 + 1, 2  # the last stage and rate 6; rates 12 and 18
    dilated = 0 if operations["differentiates"] else len(TASKS)
    assert operations["dilated"] == dilated * (whole + one_tap)
    assert operations["taps"] == dilated * (9 * whole + one_tap)


def convolve(image, kernel, dilation):
    """The definition, in float64: a correlation with the kernel spread by zeros, over zeros around the image."""
    k_h, k_w, c_in, c_out = kernel.shape
    spread = np.zeros(((k_h - 1) * dilation[0] + 1, (k_w - 1) * dilation[1] + 1, c_in, c_out))
    spread[:: dilation[0], :: dilation[1]] = kernel
    around = [(0, 0), *((size // 2, size // 2) for size in spread.shape[:2]), (0, 0)]
    padded = np.pad(image, around)
    return np.stack(
        [
            np.stack([scipy.signal.correlate(x, spread[..., c], "valid")[..., 0] for c in range(c_out)], axis=-1)
            for x in padded
        ]
    )


def unit_arrays(shape):
    """Every array of this shape that is 1 at one place and 0 elsewhere."""
    return np.eye(np.prod(shape)).reshape(-1, *shape)


@pytest.fixture(scope="module")
def dilated_cases(tmp_path_factory):
    """A file of images, kernels and upstream gradients, and what a convolution and its two gradients are.

    A convolution is linear in the image and in the kernel: its derivative by one number is its answer to the unit
    array at that place.
    """
    generator = np.random.default_rng(0)
    cases, expected = {}, {}
    for name, (image_shape, kernel_shape, dilation) in DILATED.items():
        image, kernel = generator.normal(size=image_shape), generator.normal(size=kernel_shape)
        upstream = generator.normal(size=(*image_shape[:3], kernel_shape[3]))
        by_image = [np.sum(convolve(unit, kernel, dilation) * upstream) for unit in unit_arrays(image_shape)]
        by_kernel = [np.sum(convolve(image, unit, dilation) * upstream) for unit in unit_arrays(kernel_shape)]
        expected[name] = {
            "output": convolve(image, kernel, dilation),
            "image": np.reshape(by_image, image_shape),
            "kernel": np.reshape(by_kernel, kernel_shape),
        }
        operands = {"image": image, "kernel": kernel, "upstream": upstream}
        cases |= {f"{name}.{key}": value.astype("float32") for key, value in operands.items()}
        cases[f"{name}.dilation"] = np.array(dilation)
    path = tmp_path_factory.mktemp("dilated") / "cases.npz"
    np.savez(path, **cases)
    return path, expected


@pytest.mark.parametrize("onednn", ["0", "1"])
def test_dilated_convolutions_follow_the_definition_on_every_path(onednn, dilated_cases, tmp_path):
    cases, expected = dilated_cases
    variables = environment(TF_ENABLE_ONEDNN_OPTS=onednn, KERAS_BACKEND="tensorflow")
    command = [sys.executable, str(WORKER), str(cases), str(tmp_path / "results.npz")]
    subprocess.run(command, env=variables, check=True, capture_output=True)
    results = np.load(tmp_path / "results.npz")

    paths = {key.split(".")[0] for key in results}
    if onednn == "1" and platform.machine() == "x86_64":
        assert paths == {"native", "fallback"}
    for key, value in results.items():
        _, name, what = key.split(".")
        np.testing.assert_allclose(value, expected[name][what], rtol=RELATIVE, atol=ABSOLUTE, err_msg=key)
    assert len(results) == len(paths) * len(DILATED) * 3


@pytest.mark.parametrize("own", [True, False], ids=["fallback", "as this processor has it"])
@pytest.mark.parametrize("name", DILATED)
def test_gradients_of_gradients(name, own, monkeypatch):
    """As penalties on gradients have them; as those of Keras's convolution, which dilates by space to batch."""
    import tensorflow as tf

    image, kernel, dilation = DILATED[name]
    generator = np.random.default_rng(0)
    x, w = (tf.Variable(generator.normal(size=shape), dtype="float32") for shape in (image, kernel))
    if own:
        monkeypatch.setattr(convolution, "_differentiates_dilation", lambda dtype: False)

    def of_the_penalty(convolve):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = tf.reduce_sum(tf.tanh(convolve(x, w)))
            penalty = tf.add_n([tf.reduce_sum(tf.square(each)) for each in inner.gradient(loss, [x, w])])
        return outer.gradient(penalty, [x, w])

    received = of_the_penalty(lambda x, w: convolution.conv2d(x, w, padding="same", dilation_rate=dilation))
    expected = of_the_penalty(lambda x, w: keras.ops.conv(x, w, padding="same", dilation_rate=list(dilation)))
    for ours, theirs in zip(received, expected, strict=True):
        scale = float(tf.reduce_max(tf.abs(theirs)))
        np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=RELATIVE)
