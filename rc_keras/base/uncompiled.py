"""Models that are not compiled, for `keras.models.clone_model` compiles its copy as the model is."""

import keras


def uncompiled(network: keras.Model) -> keras.Model:
    """A functional model on the same layers that is not compiled; itself if it is not.

    A copy of a compiled model needs losses and metrics that come back from their configuration, which those of the
    user's own need not.
    """
    return keras.Model(network.input, network.output, name=network.name) if network.compiled else network
