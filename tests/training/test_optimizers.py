"""SGD with coupled L2 takes PyTorch's steps."""

import keras
import numpy as np
import pytest
from support.tiny import tiny_data, tiny_model

import rc_keras

STEP_TOLERANCE = 1e-6  # float32, twenty steps, weights of about 1


def trajectory(optimizer, gradients, start):
    variable = keras.Variable(start)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    return keras.ops.convert_to_numpy(variable)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum, l2", [(0.9, 1e-2), (0.9, 0.0), (0.0, 1e-2)])
def test_steps_are_those_of_pytorch(momentum, l2, nesterov):
    torch = pytest.importorskip("torch")
    if nesterov and not momentum:
        pytest.skip("PyTorch refuses Nesterov without momentum")
    rng = np.random.default_rng(0)
    start = rng.normal(size=5).astype("float32")
    gradients = rng.normal(size=(20, 5)).astype("float32")
    schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 25, end_learning_rate=0.0, power=0.9)
    ours = trajectory(rc_keras.optimizers.SGD(schedule, momentum, l2, nesterov), gradients, start)

    weights = torch.tensor(start, requires_grad=True)
    reference = torch.optim.SGD([weights], 0.1, momentum=momentum, weight_decay=l2, nesterov=nesterov)
    for i, gradient in enumerate(gradients):
        reference.param_groups[0]["lr"] = 0.1 * (1 - i / 25) ** 0.9
        weights.grad = torch.tensor(gradient)
        reference.step()
    np.testing.assert_allclose(ours, weights.detach().numpy(), atol=STEP_TOLERANCE)


def test_config_round_trip():
    optimizer = rc_keras.optimizers.SGD(0.01, 0.8, 1e-3, nesterov=True, global_clipnorm=2.0)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert copy.get_config() == optimizer.get_config()
    assert copy.l2 == 1e-3 and copy.momentum == 0.8 and copy.nesterov and copy.global_clipnorm == 2.0


@pytest.mark.parametrize("arguments, message", [({"l2": -1}, "`l2` must be"), ({"weight_decay": 0.1}, "`l2` takes")])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        rc_keras.optimizers.SGD(**arguments)


def test_a_model_trains_with_it():
    images, labels = tiny_data()
    model = tiny_model()
    model.compile(optimizer=rc_keras.optimizers.SGD(0.01))
    losses = model.fit(images, labels, epochs=4, batch_size=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
