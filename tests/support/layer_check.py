"""The one check every layer of the package passes."""

import json

import keras
import numpy as np


def of_shapes(function, shapes):
    """What a function makes of each shape; an argument that is a list of maps has a list of shapes."""
    return [of_shapes(function, each) if isinstance(each, list) else function(each) for each in shapes]


def check_layer(layer_class, arguments, input_shapes, trainable, frozen, tmp_path):
    """Checks the contract of a layer.

    Args:
        layer_class, arguments: how to make the layer.
        input_shapes: shapes of its call arguments, with the batch axis; see `of_shapes`.
        trainable: names of its trainable weights.
        frozen: names of its other weights.
        tmp_path: folder for the saved model.
    """
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    inputs = of_shapes(lambda shape: generator.normal(size=shape).astype("float32"), input_shapes)

    # Configuration
    layer = layer_class(**arguments)
    config = layer.get_config()
    assert layer_class.from_config(json.loads(json.dumps(config))).get_config() == config
    for name in arguments:
        assert name in config, f"{name} is not in the configuration"

    # Symbolic and eager call
    eager = layer(*inputs)
    symbolic = layer_class.from_config(config)(*of_shapes(keras.KerasTensor, input_shapes))
    assert tuple(symbolic.shape) == tuple(eager.shape)
    assert tuple(layer.compute_output_shape(*input_shapes)) == tuple(eager.shape)

    # Roles of the weights
    assert sorted(w.name for w in layer.trainable_weights) == sorted(trainable)
    assert sorted(w.name for w in layer.non_trainable_weights) == sorted(frozen)

    # One step of training
    def model_of(**extra):
        tensors = of_shapes(lambda shape: keras.Input(shape[1:], batch_size=shape[0]), input_shapes)
        own = {**config, **extra}
        if isinstance(own.get("layer"), dict):  # a wrapper's
            own["layer"] = {**own["layer"], "config": {**own["layer"]["config"], **extra}}
        outputs = layer_class.from_config(own)(*tensors)
        outputs = keras.layers.Conv2D(1, 1, dtype="float32")(outputs)
        return keras.Model(tensors, outputs)

    model = model_of()
    for variable in model.variables:
        if variable.name == "kernel":
            variable.assign(generator.normal(size=variable.shape))
    before = [np.array(keras.ops.convert_to_numpy(w)) for w in model.layers[-2].weights]
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    target = generator.normal(size=(*eager.shape[:-1], 1)).astype("float32")
    model.fit(inputs, target, batch_size=len(target), verbose=0)
    for weight, old in zip(model.layers[-2].weights, before, strict=True):
        moved = not np.array_equal(old, keras.ops.convert_to_numpy(weight))
        assert moved == (weight.name in trainable or weight.name.startswith("moving_")), weight.name

    # Mixed precision
    mixed = model_of(dtype="mixed_bfloat16").layers[-2]
    assert keras.backend.standardize_dtype(mixed(*inputs).dtype) == "bfloat16"
    assert all(w.dtype == "float32" for w in mixed.weights)

    # Saving
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(model.predict(inputs, verbose=0), loaded.predict(inputs, verbose=0))
