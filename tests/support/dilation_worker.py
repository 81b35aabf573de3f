"""Run as a process of its own: dilated convolutions and their gradients, by every path that TensorFlow has here.

    python dilation_worker.py CASES.npz RESULTS.npz

Whether oneDNN computes is read from the environment when TensorFlow starts, hence the process. CASES holds `image`,
`kernel`, `upstream` and `dilation` of each case behind its name and a dot; RESULTS answers `output`, `image` and
`kernel` (the gradients of `sum(output * upstream)`) behind the path (`native` where this TensorFlow differentiates its
dilated kernel, `fallback` always), a dot, the case, and a dot.
"""

import sys

import numpy as np
import tensorflow as tf

from rc_keras.base import convolution


def convolve_and_differentiate(image, kernel, upstream, dilation) -> dict[str, np.ndarray]:
    image, kernel = tf.constant(image), tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch((image, kernel))
        output = convolution.conv2d(image, kernel, padding="same", dilation_rate=tuple(map(int, dilation)))
        loss = tf.reduce_sum(output * upstream)
    by_image, by_kernel = tape.gradient(loss, (image, kernel))
    return {"output": output.numpy(), "image": by_image.numpy(), "kernel": by_kernel.numpy()}


if __name__ == "__main__":
    cases = np.load(sys.argv[1])
    names = sorted({key.split(".")[0] for key in cases})
    paths = ["native"] if convolution._differentiates_dilation("float32") else []
    results = {}
    for path in [*paths, "fallback"]:
        if path == "fallback":
            convolution._differentiates_dilation = lambda dtype: False
        for name in names:
            operands = (cases[f"{name}.{key}"] for key in ("image", "kernel", "upstream", "dilation"))
            found = convolve_and_differentiate(*operands)
            results |= {f"{path}.{name}.{key}": value for key, value in found.items()}
    np.savez(sys.argv[2], **results)
