"""The package on JAX and torch, with TensorFlow absent."""

import pytest
from support.folders import TESTS
from support.other_backends import run
from support.slow import slow

WITHOUT_TENSORFLOW = """
import sys

from importlib.machinery import PathFinder

class WithoutTensorFlow(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] == "tensorflow" else super().find_spec(name, path, target)

sys.meta_path[:] = [WithoutTensorFlow if finder is PathFinder else finder for finder in sys.meta_path]
"""
PROGRAM = """
import numpy as np
import keras
import rc_keras
assert keras.backend.backend() == sys.argv[1]
from support.tiny import TASKS, arrays, assert_same_bits, state, tiny_data, tiny_model

images, labels = tiny_data(8)
fresh = tiny_model(TASKS[:2])
fresh.compile(optimizer="adam")
fresh.trainable_tasks = ["edge"]
logs = fresh.train_on_batch(images, labels, return_dict=True)
assert set(logs) == {"loss", "edge_loss", "edge_max_f"}
history = fresh.fit(images, labels, batch_size=4, verbose=0, validation_data=(images, labels)).history
assert "semseg_loss" not in history and "val_semseg_loss" not in history
assert "semseg_loss" in fresh.evaluate(images, labels, verbose=0, return_dict=True)
model = tiny_model(TASKS[:2], response_images=images)
model.compile(optimizer=keras.optimizers.Adam(1e-3))
model.fit(images, labels, batch_size=4, verbose=0)
before, predictions = state(model.branch("semseg")), arrays(model.predict(images, verbose=0))
def slots():
    optimizer = model.optimizer.of("edge", model.branch("edge").trainable_variables)
    return arrays({str(index): variable for index, variable in enumerate(optimizer.variables)})

slots_before = slots()
model.add_task(TASKS[3])
validation = {"validation_data": (images, labels), "validation_tasks": ["semseg"]}
history = model.fit(images, labels, batch_size=4, epochs=3, verbose=0, **validation).history
assert history["depth_loss"][-1] < history["depth_loss"][0]
assert "val_semseg_mean_iou" in history and history["val_loss"] == history["val_depth_loss"]
assert "tensorflow" not in sys.modules and rc_keras.check_data((images, labels), model).images == 8
assert_same_bits(state(model.branch("semseg")), before)
after = arrays(model.predict(images, verbose=0))
assert after.pop("depth").shape == (8, 32, 32, 1)
assert_same_bits(after, predictions)
assert_same_bits(slots(), slots_before)
model.save(sys.argv[2] + "/model.keras")
loaded = keras.saving.load_model(sys.argv[2] + "/model.keras")
assert_same_bits(arrays(loaded.predict(images, verbose=0)), arrays(model.predict(images, verbose=0)))
model.save_task("depth", sys.argv[2] + "/depth.rctask")
model.remove_task("depth")
model.load_task(sys.argv[2] + "/depth.rctask")
convolution = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.DepthwiseConv2D(3, name="dw")])
kernel, bias = np.arange(18.0).reshape(2, 1, 3, 3), np.arange(2.0)
np.savez(sys.argv[2] + "/torch.npz", **{"dw.weight": kernel.astype(">f4"), "dw.bias": bias.astype("longdouble")})
rc_keras.pretrained.load_weights(convolution, sys.argv[2] + "/torch.npz")
np.testing.assert_array_equal(arrays({0: convolution.weights[0]})[0][..., 0], kernel[:, 0].transpose(1, 2, 0))
assert "tensorflow" not in sys.modules
print("all well")
"""
SHARED_ENCODER = """
import keras
import rc_keras
from support.tiny import TASKS, arrays, assert_same_bits, differs, state, tiny_data, tiny_model

images, labels = tiny_data(8)
for method in ("multi_task", "series_adapter"):
    model = tiny_model(TASKS[:2], method=method)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    indicators = iter((0.2, 0.6))
    priorities = rc_keras.DynamicTaskPrioritization({"semseg": lambda logs: next(indicators)})
    history = model.fit(images, labels, batch_size=4, epochs=2, verbose=0, callbacks=[priorities]).history
    for epoch, weight in enumerate((1.0, history["semseg_priority"][0])):
        total = weight * history["semseg_loss"][epoch] + 50 * history["edge_loss"][epoch]
        assert abs(history["loss"][epoch] / total - 1) < 1e-4, (method, epoch)
    before = state(model.branch("semseg"))
    model.add_task(TASKS[3])
    model.fit(images, labels, batch_size=4, verbose=0)
    moved = differs(before, state(model.branch("semseg")))
    assert ("stem_conv/kernel" in moved) == (method != "series_adapter"), (method, moved)
    model.save(sys.argv[2] + "/model.keras")
    loaded = keras.saving.load_model(sys.argv[2] + "/model.keras")
    for each in (model, loaded):
        each.fit(images, labels, batch_size=4, shuffle=False, verbose=0)
    assert_same_bits(arrays(loaded.predict(images, verbose=0)), arrays(model.predict(images, verbose=0)))
assert "tensorflow" not in sys.modules
print("all well")
"""
ROOMS = """
if __name__ == "__main__":  # which rendering processes import
    from rc_keras.zoo.rooms.run import Rooms, make_rooms

    assert "depth_rmse" in make_rooms(Rooms.quick(), sys.argv[2] + "/rooms")
    assert "tensorflow" not in sys.modules and "tensorflow_datasets" not in sys.modules
    print("all well")
"""


@pytest.mark.parametrize("backend", [slow("jax"), "torch"], indirect=True)
def test_life_of_a_model_without_tensorflow(backend, tmp_path):
    result = run(["-c", WITHOUT_TENSORFLOW + PROGRAM, backend, str(tmp_path)], backend)
    assert result.stdout.strip().endswith("all well"), result.stderr[-4000:]


@pytest.mark.slow
def test_methods_without_tensorflow(backend, tmp_path):
    result = run(["-c", WITHOUT_TENSORFLOW + SHARED_ENCODER, backend, str(tmp_path)], backend)
    assert result.stdout.strip().endswith("all well"), result.stderr[-4000:]


@pytest.mark.slow
def test_the_preset_rooms_is_made_without_tensorflow(backend, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_TENSORFLOW + ROOMS, encoding="utf-8")
    result = run([str(program), backend, str(tmp_path)], backend)
    assert result.stdout.strip().endswith("all well"), result.stderr[-4000:]


@pytest.mark.parametrize("backend", [slow("jax"), "torch"], indirect=True)
def test_layers(backend):
    result = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS / "layers" / "test_layers.py")], backend)
    assert result.returncode == 0, result.stdout[-4000:]


@pytest.mark.slow
def test_optimizers(backend):
    files = [
        str(TESTS / "training" / f"test_{name}.py")
        for name in ("learning_rate", "averaged_weights", "optimizer_states")
    ]
    result = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", *files], backend)
    assert result.returncode == 0, result.stdout[-4000:]
