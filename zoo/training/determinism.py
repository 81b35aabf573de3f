"""The same bits in every run."""

import keras


def make_deterministic():
    """Makes TensorFlow compute the same bits every time, for the rest of the process.

    Some of its kernels add up in the order in which threads get there, which is nothing to a training but everything to
    a comparison. Not on a GPU, where the kernels that do not are much slower. Random operations need a seed from then
    on, as all of a run have.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()
