"""The same bits in every run."""

import keras


def make_deterministic(on_gpus: bool = False) -> None:
    """Makes TensorFlow compute the same bits every time, for the rest of the process; before it computes anything.

    Some of its kernels add up in the order in which threads get there, which is nothing to a training but everything to
    a comparison. So operations run one after the other, each still on all cores. Random operations need a seed from
    then on, as all of a run have.

    Args:
        on_gpus: whether on GPUs too, whose deterministic kernels are much slower to train with.

    Raises:
        RuntimeError: if TensorFlow has computed something already.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if on_gpus or not tf.config.list_physical_devices("GPU"):
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()
