"""TensorFlow graphs of an export's tasks, on the weights they share."""


def concrete_functions(job, batch_size=1):
    """Traces every folded task.

    Args:
        job: the `ExportJob`, folded.
        batch_size: of the graphs, `None` where free.

    Returns:
        `(module, functions)`: a `tf.Module` that holds the weights, each once, and `{task: ConcreteFunction}`, each
        from `image`, float32 `(batch_size, height, width, channels)`, to `{task: answer}`.
    """
    import tensorflow as tf

    # Variables and functions alone are saved: Keras models, tracked, would be written a second time.
    module = tf.Module()
    layers = {id(layer): layer for folded in job.folded.values() for layer in folded.layers}
    module.weights = [w.value for layer in layers.values() for w in getattr(layer, "weights", [])]
    image = tf.TensorSpec((batch_size, *job.image_shape), "float32", name="image")
    functions = {}
    for name, folded in job.folded.items():

        def run(image, name=name, folded=folded):
            return {name: folded(image, training=False)}

        functions[name] = tf.function(run).get_concrete_function(image)
    return module, functions
