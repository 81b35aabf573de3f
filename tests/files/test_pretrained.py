"""Reading weight files of any origin, and loading them by name: all or nothing."""

import collections
import copy
import os
import pickle
import sys
import urllib.error
import zipfile

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy
from support.photos import load_photos

from rc_keras.backbones import resnet, resnet18
from rc_keras.files.tensor_files import read_tensors
from rc_keras.pretrained import load_weights

TINY = {"depths": (1, 1, 1, 1), "widths": (8, 8, 8, 8)}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch writes the files that are read here")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def _values(model):
    return [keras.ops.convert_to_numpy(w) for w in model.weights]


def _assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def _randomize(model, rng):
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))


def _keras_style(model):
    return {
        f"{layer.name}/{weight.name}": keras.ops.convert_to_numpy(weight)
        for layer in model.layers
        for weight in layer.weights
    }


def _torch_style(model):
    """The model's weights as torchvision would name and lay them out."""
    variables = {
        "kernel": "weight",
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    }
    tensors = {}
    for name, value in _keras_style(model).items():
        layer, _, variable = name.partition("/")
        for block in range(3):
            layer = layer.replace(f"_{block}_", f".{block}.")
        layer = layer.replace("downsample_", "downsample.")
        if value.ndim > 1:
            value = np.moveaxis(value, (-1, -2), (0, 1)).copy()
        tensors[f"{layer}.{variables.get(variable, variable)}"] = value
        if variable == "gamma":
            tensors[f"{layer}.num_batches_tracked"] = np.array(7)
    return tensors


def _write(path, tensors):
    if path.suffix == ".npz":
        np.savez(path, **tensors)
    else:
        safetensors.numpy.save_file(tensors, path)


# ---------------------------------------------------------------------------------------------
# torch files


def test_torch_tensors_are_read_exactly(torch, tmp_path, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 8, 4, generator=generator)
    tensors = {
        "float32": base,
        "float64": base.double(),
        "float16": base.half(),
        "bfloat16": base.bfloat16(),
        "int64": torch.arange(-3, 5),
        "int32": torch.arange(4, dtype=torch.int32),
        "int16": torch.arange(4, dtype=torch.int16),
        "int8": torch.arange(-4, 4, dtype=torch.int8),
        "uint8": torch.arange(4, dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "transposed": base.permute(2, 0, 1),
        "offset": base[2:5, 1:7:2],
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(base[1]),
    }
    path = tmp_path / "tensors.pth"
    torch.save(tensors, path)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        found = read_tensors(path)
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        expected = (tensor.float() if name == "bfloat16" else tensor).detach().numpy()
        assert found[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrapped_state_dicts_are_unwrapped(torch, tmp_path, wrap, prefix):
    state = collections.OrderedDict((f"{prefix}{k}", torch.tensor([v])) for k, v in [("a.w", 1.0), ("b", 2.0)])
    torch.save(wrap(state), tmp_path / "wrapped.pt")
    found = read_tensors(tmp_path / "wrapped.pt")
    assert {name: value.tolist() for name, value in found.items()} == {"a.w": [1.0], "b": [2.0]}


def test_only_a_prefix_of_all_names_is_removed(torch, tmp_path):
    state = {"module.w": torch.tensor([1.0]), "modules": torch.tensor([2.0])}
    torch.save(state, tmp_path / "x.pth")
    assert list(read_tensors(tmp_path / "x.pth")) == ["module.w", "modules"]


def test_entries_that_lie_on_each_other_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("archive/data.pkl", _pickled_tensor())
        archive.writestr("archive/data/0", bytes(4000))
        again = copy.copy(archive.infolist()[-1])
        again.filename = "archive/data/1"
        archive.filelist.append(again)
    with pytest.raises(ValueError, match="the entries are larger than the file"):
        read_tensors(tmp_path / "x.pth")


def test_state_dict_of_a_module_is_read(torch, tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(module.state_dict(), tmp_path / "module.pth")
    found = read_tensors(tmp_path / "module.pth")
    assert list(found) == list(module.state_dict())
    np.testing.assert_array_equal(found["0.weight"], module[0].weight.detach().numpy())


class _Command:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def _zip_with_pickle(path, pickled, **entries):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, data in entries.items():
            archive.writestr(f"archive/data/{name}", data)


def test_a_pickle_is_never_executed(torch, tmp_path):
    proof = tmp_path / "executed"
    torch.save({"weight": torch.zeros(2), "x": _Command(proof)}, tmp_path / "hostile.pth")
    with pytest.raises(ValueError, match=r"forbidden global '(posix|nt)\.system'. Nothing was exec"):
        read_tensors(tmp_path / "hostile.pth")
    assert not proof.exists()
    # The file does run its command when it is trusted: the test above is not vacuous.
    with zipfile.ZipFile(tmp_path / "hostile.pth") as archive:
        hostile = [name for name in archive.namelist() if name.endswith("data.pkl")]
        assert b"system" in archive.read(hostile[0])


@pytest.mark.parametrize(
    "name",
    [
        "builtins.eval",
        "torch.load",
        "torch._utils._rebuild_tensor",
        "torch.serialization.load",
        "os.path",
    ],
)
def test_other_globals_are_refused_by_name(tmp_path, name):
    module, _, attribute = name.rpartition(".")
    _zip_with_pickle(tmp_path / "x.pth", f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(ValueError, match=f"forbidden global '{name}'"):
        read_tensors(tmp_path / "x.pth")


def test_a_nested_global_is_refused(tmp_path):
    # Protocol 4 looks up dotted names, which could lead from an allowed module to another.
    pickled = (
        pickle.PROTO
        + b"\x04"
        + b"".join(
            pickle.SHORT_BINUNICODE + bytes([len(s)]) + s for s in (b"collections", b"OrderedDict.__init__.__globals__")
        )
        + pickle.STACK_GLOBAL
        + pickle.STOP
    )
    _zip_with_pickle(tmp_path / "x.pth", pickled)
    with pytest.raises(ValueError, match="forbidden global 'collections.OrderedDict.__init__"):
        read_tensors(tmp_path / "x.pth")


def _pickled_tensor(numel="4", offset="0", shape="(I4\nt", strides="(I1\nt", storage="FloatStorage"):
    return (
        "(dS'w'\nctorch._utils\n_rebuild_tensor_v2\n"
        f"((S'storage'\nctorch\n{storage}\nS'0'\nS'cpu'\nI{numel}\ntQI{offset}\n{shape}{strides}"
        "I00\nNtRs."
    ).encode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numel": "5"}, "storage '0' has 16 bytes, but should have 5 x 4"),
        ({"numel": "-4"}, "not a natural number"),
        ({"offset": "1"}, "'w' of shape .* reaches beyond its storage of 4 elements"),
        ({"offset": "-1"}, "not a natural number"),
        ({"shape": "(I5\nt"}, "reaches beyond its storage"),
        ({"shape": "(I-1\nt"}, "not a natural number"),
        ({"shape": "(F2.0\nt"}, "not a natural number"),
        ({"strides": "(I2\nt"}, "reaches beyond its storage"),
        ({"strides": "(I-1\nt"}, "not a natural number"),
        ({"strides": "(I1\nI1\nt"}, "not one stride for each dimension"),
        ({"shape": "(I1000000000000\nt", "strides": "(I0\nt"}, "reaches beyond its storage"),
        ({"storage": "ComplexFloatStorage"}, "torch.ComplexFloatStorage is not supported"),
    ],
)
def test_tensors_must_lie_in_their_storage(tmp_path, changes, message):
    data = np.arange(4, dtype="<f4").tobytes()
    _zip_with_pickle(tmp_path / "good.pth", _pickled_tensor(), **{"0": data})
    assert read_tensors(tmp_path / "good.pth")["w"].tolist() == [0, 1, 2, 3]
    _zip_with_pickle(tmp_path / "bad.pth", _pickled_tensor(**changes), **{"0": data})
    with pytest.raises(ValueError, match=message):
        read_tensors(tmp_path / "bad.pth")


def test_huge_numbers_in_a_pickle_take_no_memory(tmp_path):
    _zip_with_pickle(tmp_path / "text.pth", b"Np1000\n.")
    with pytest.raises(ValueError, match="numbers one of its objects 1000"):
        read_tensors(tmp_path / "text.pth")
    # The unpickler would make a memo table of 32 GB.
    _zip_with_pickle(tmp_path / "memo.pth", b"Nr\xff\xff\xff\xff.")
    with pytest.raises(ValueError, match="numbers one of its objects 4294967295"):
        read_tensors(tmp_path / "memo.pth")
    _zip_with_pickle(tmp_path / "bytes.pth", b"\x80\x05\x96" + b"\xff" * 7 + b"\x00.")
    with pytest.raises(ValueError, match="damaged"):
        read_tensors(tmp_path / "bytes.pth")


def test_compressed_torch_archives_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", _pickled_tensor())
        archive.writestr("archive/data/0", bytes(10**6))
    with pytest.raises(ValueError, match="compressed"):
        read_tensors(tmp_path / "bomb.pth")


def test_contents_other_than_tensors_are_refused(torch, tmp_path):
    for content, message in [
        ({"w": torch.zeros(1), "epoch": 3}, r"not tensors: \['epoch'\]"),
        ([torch.zeros(1)], "no dictionary"),
        ({}, "no dictionary"),
        ({0: torch.zeros(1)}, "not all entries have a name"),
        (torch.nn.Linear(1, 1), "forbidden global 'torch.nn.modules.linear.Linear'"),
    ]:
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(ValueError, match=message):
            read_tensors(tmp_path / "x.pth")


def test_legacy_torch_files_are_refused_with_the_remedy(torch, tmp_path):
    path = tmp_path / "legacy.pth"
    torch.save({"w": torch.zeros(1)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"torch before 1\.6.*torch\.save\(torch\.load\(path"):
        read_tensors(path)


def test_a_zip_without_a_state_dict_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_tensors(tmp_path / "x.pth")


# ---------------------------------------------------------------------------------------------
# All formats


def _small_file(folder, suffix, torch):
    path = folder / f"small{suffix}"
    if suffix == ".pth":
        torch.save({f"t{i}": torch.arange(6.0).reshape(2, 3) + i for i in range(3)}, path)
    elif suffix == ".weights.h5":
        image = keras.Input((4, 4, 2))
        keras.Model(image, keras.layers.Conv2D(2, 1, name="conv")(image)).save_weights(path)
    else:
        _write(path, {f"t{i}": np.arange(6.0).reshape(2, 3) + i for i in range(3)})
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz", ".weights.h5"])
def test_truncated_files_are_refused(torch, tmp_path, suffix):
    data = _small_file(tmp_path, suffix, torch).read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in [0, 1, 7, *range(8, len(data) - 1, max(1, len(data) // 20))]:
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="damaged|not in torch's zip format"):
            read_tensors(path)


@pytest.mark.parametrize("suffix", [".pth", ".npz"])
def test_flipped_bits_never_change_values(torch, tmp_path, suffix):
    original = _small_file(tmp_path, suffix, torch)
    expected = read_tensors(original)
    data = original.read_bytes()
    path = tmp_path / f"flipped{suffix}"
    refused = 0
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :])
        try:
            found = read_tensors(path)
        except ValueError:
            refused += 1
            continue
        # Dates and padding may change, and a damaged directory may end early (then weights are
        # missing); names, shapes and values may not change.
        assert found.keys() <= expected.keys()
        _assert_same(found.values(), [expected[name] for name in found])
    assert refused > len(data) // 10


@pytest.mark.parametrize("suffix", [".safetensors", ".weights.h5"])
def test_flipped_bits_raise_nothing_unexpected(torch, tmp_path, suffix):
    data = _small_file(tmp_path, suffix, torch).read_bytes()
    path = tmp_path / f"flipped{suffix}"
    for position in range(0, len(data), max(1, len(data) // 400)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :])
        try:
            read_tensors(path)
        except ValueError as error:
            assert str(path) in str(error)


def test_unknown_suffixes_and_absent_files(tmp_path):
    with pytest.raises(ValueError, match=r"\.pth.*\.safetensors.*\.npz.*\.weights\.h5.*\.onnx"):
        read_tensors(tmp_path / "model.onnx")
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        read_tensors(tmp_path / "absent.pth")


def test_npz_objects_are_not_unpickled(tmp_path):
    proof = tmp_path / "executed"
    np.savez(tmp_path / "x.npz", w=np.array([_Command(proof)], dtype=object))
    with pytest.raises(ValueError, match="plain arrays"):
        read_tensors(tmp_path / "x.npz")
    assert not proof.exists()


def test_npz_bombs_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", w=np.zeros(2**26 + 2**24, "float32"))
    with pytest.raises(ValueError, match="would unpack to"):
        read_tensors(tmp_path / "x.npz")


def test_small_arrays_may_be_compressed_well(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", w=np.zeros(2**18, "float32"))
    assert (tmp_path / "x.npz").stat().st_size < 2**18 / 16
    np.testing.assert_array_equal(read_tensors(tmp_path / "x.npz")["w"], np.zeros(2**18))


def test_npz_strings_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", w=np.array(["a"]), v=np.zeros(1))
    with pytest.raises(ValueError, match=r"not arrays of numbers: \['w'\]"):
        read_tensors(tmp_path / "x.npz")


def test_safetensors_bfloat16_is_widened(torch, tmp_path):
    import safetensors.torch

    tensor = torch.randn(5).bfloat16()
    safetensors.torch.save_file({"w": tensor}, tmp_path / "x.safetensors")
    found = read_tensors(tmp_path / "x.safetensors")["w"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, tensor.float().numpy())


def _h5_with(path, add):
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/conv2d/vars")
        group.attrs["name"] = "conv"
        group["0"] = np.zeros(3, "float32")
        add(file, group)


def test_h5_files_cannot_reach_other_files(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(range(16)))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.ones(3)

    def virtual(file, group):
        layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=(3,))
        group.create_virtual_dataset("1", layout)

    cases = {
        "is a link": lambda file, group: group.__setitem__("1", h5py.ExternalLink(str(tmp_path / "other.h5"), "x")),
        "'1' in group .* is a link": lambda file, group: group.__setitem__("1", h5py.SoftLink("/layers")),
        "in another file": lambda file, group: group.create_dataset("1", (16,), "u1", external=[(str(secret), 0, 16)]),
        "keeps its data in another": virtual,
        "linked twice": lambda file, group: group.__setitem__("1", file["layers"]),
        "more than are stored": lambda file, group: group.create_dataset("1", (10**9,), "f4", chunks=(10**6,)),
        "has dtype": lambda file, group: group.create_dataset("1", data="text"),
        "does not name its layer": lambda file, group: group.attrs.__delitem__("name"),
    }
    for message, add in cases.items():
        _h5_with(tmp_path / "x.weights.h5", add)
        with pytest.raises(ValueError, match=message):
            read_tensors(tmp_path / "x.weights.h5")
    _h5_with(tmp_path / "x.weights.h5", lambda file, group: None)
    assert list(read_tensors(tmp_path / "x.weights.h5")) == ["conv/0"]


# ---------------------------------------------------------------------------------------------
# Loading


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("style", [_keras_style, _torch_style])
@pytest.mark.parametrize("classes", [None, 5])
def test_weights_are_copied_exactly(tmp_path, rng, suffix, style, classes):
    source, target = (resnet(**TINY, classes=classes) for _ in range(2))
    _randomize(source, rng)
    path = tmp_path / f"weights{suffix}"
    tensors = style(source)
    # In another order than the backbone's.
    _write(path, dict(sorted(tensors.items(), reverse=True)))
    load_weights(target, path)
    _assert_same(_values(target), _values(source))


def test_torch_weights_keep_their_meaning(torch, tmp_path, rng):
    target = resnet(**TINY, classes=5)
    source = resnet(**TINY, classes=5)
    _randomize(source, rng)
    tensors = {name: torch.from_numpy(value) for name, value in _torch_style(source).items()}
    torch.save(tensors, tmp_path / "x.pth")
    load_weights(target, tmp_path / "x.pth")
    statistics = target.get_layer("layer2_0_downsample_1")
    for variable, name in [("moving_variance", "running_var"), ("moving_mean", "running_mean")]:
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(getattr(statistics, variable)),
            tensors[f"layer2.0.downsample.1.{name}"].numpy(),
        )
    kernel = keras.ops.convert_to_numpy(target.get_layer("conv1").kernel)
    assert kernel[1, 5, 2, 6] == tensors["conv1.weight"][6, 2, 1, 5]
    _assert_same(_values(target), _values(source))


def test_half_precision_is_widened(tmp_path, rng):
    source, target = resnet(**TINY), resnet(**TINY)
    _randomize(source, rng)
    halves = {name: value.astype("float16") for name, value in _keras_style(source).items()}
    _write(tmp_path / "x.npz", halves)
    load_weights(target, tmp_path / "x.npz")
    assert {w.dtype for w in target.weights} == {"float32"}
    _assert_same(_values(target), [value.astype("float32") for value in halves.values()])


@pytest.mark.parametrize("style", [_keras_style, _torch_style])
def test_a_classifier_is_dropped_where_there_is_none(tmp_path, rng, style):
    source, target = resnet(**TINY, classes=5), resnet(**TINY)
    _randomize(source, rng)
    _write(tmp_path / "x.npz", style(source))
    load_weights(target, tmp_path / "x.npz")
    _assert_same(_values(target), _values(source)[:-2])


def test_what_is_left_of_a_classifier_that_is_there_is_refused(tmp_path):
    target = resnet(**TINY, classes=5)
    _write(tmp_path / "x.npz", {**_torch_style(target), "fc.scale": np.ones(5)})
    with pytest.raises(ValueError, match=r"Superfluous \(1\): fc\.scale"):
        load_weights(target, tmp_path / "x.npz")


@pytest.mark.parametrize("style", [_keras_style, _torch_style])
def test_all_that_does_not_fit_is_listed_and_nothing_loaded(tmp_path, rng, style):
    model = resnet(**TINY, classes=5)
    before = _values(model)
    other = resnet(**TINY, classes=6)
    _randomize(other, rng)
    tensors = style(other)
    norm = {_keras_style: "bn1/gamma", _torch_style: "bn1.weight"}[style]
    kernel = {_keras_style: "fc/kernel", _torch_style: "fc.weight"}[style]
    del tensors[norm]
    tensors["layer9.surplus"] = np.zeros(1)
    tensors["another/surplus"] = np.zeros(1)
    _write(tmp_path / "x.npz", tensors)
    with pytest.raises(ValueError) as caught:
        load_weights(model, tmp_path / "x.npz")
    message = str(caught.value)
    assert "nothing was loaded" in message
    assert "Missing (1): bn1/gamma." in message
    assert "Superfluous (2): layer9.surplus, another/surplus." in message
    assert f"{kernel} is (8, 6) and should be (8, 5)" in message
    assert "is (6,) and should be (5,)" in message
    _assert_same(_values(model), before)


def test_integer_kernels_are_refused(tmp_path):
    model = resnet(**TINY)
    tensors = _keras_style(model)
    tensors["conv1/kernel"] = tensors["conv1/kernel"].astype("int8")
    _write(tmp_path / "x.npz", tensors)
    with pytest.raises(ValueError, match="conv1/kernel is int8 and should be float32"):
        load_weights(model, tmp_path / "x.npz")


def test_two_tensors_of_one_weight_are_refused(tmp_path):
    model = resnet(**TINY)
    tensors = _keras_style(model)
    _write(tmp_path / "x.npz", {**tensors, "bn1.weight": tensors["bn1/gamma"]})
    with pytest.raises(ValueError, match=r"two tensors for 'bn1/gamma': 'bn1/gamma' and 'bn1.weight'"):
        load_weights(model, tmp_path / "x.npz")


def test_keras_weights_file_goes_by_layer_names(tmp_path, rng):
    source = resnet(**TINY, classes=5)
    _randomize(source, rng)
    source.compile("adam", "mse")
    source.optimizer.build(source.trainable_variables)
    source.save_weights(tmp_path / "x.weights.h5")
    target, encoder = resnet(**TINY, classes=5), resnet(**TINY)
    load_weights(target, tmp_path / "x.weights.h5")
    _assert_same(_values(target), _values(source))
    load_weights(encoder, tmp_path / "x.weights.h5")
    _assert_same(_values(encoder), _values(source)[:-2])

    deeper = resnet(depths=(1, 2, 1, 1), widths=TINY["widths"])
    before = _values(deeper)
    with pytest.raises(ValueError, match=r"Missing \(10\): layer2_1_bn1/0, .*layer2_1_conv1/0"):
        load_weights(deeper, tmp_path / "x.weights.h5")
    _assert_same(_values(deeper), before)


def _two_convolutions(first, second):
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 3, name=first)(image)
    return keras.Model(image, keras.layers.Conv2D(3, 3, name=second)(x))


def test_keras_weights_file_in_another_order_of_layers(tmp_path, rng):
    source, target = _two_convolutions("a", "b"), _two_convolutions("b", "a")
    _randomize(source, rng)
    source.save_weights(tmp_path / "x.weights.h5")
    load_weights(target, tmp_path / "x.weights.h5")
    for name in ("a", "b"):
        _assert_same(_values(target.get_layer(name)), _values(source.get_layer(name)))


def _composite():
    """A functional model that holds a model, and layers that hold layers."""
    inner_image = keras.Input((6, 6, 4))
    inner_features = keras.layers.Conv2D(4, 1, name="inner_conv")(inner_image)
    inner = keras.Model(inner_image, inner_features, name="inner")
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.Reshape((36, 4))(inner(x))
    x = keras.layers.MultiHeadAttention(2, 2, name="attention")(x, x)
    dense = keras.layers.Dense(1, name="dense")
    return keras.Model(image, keras.layers.TimeDistributed(dense, name="each")(x))


def test_any_functional_model_is_loaded(tmp_path, rng):
    source, target, again = _composite(), _composite(), _composite()
    _randomize(source, rng)
    source.save_weights(tmp_path / "x.weights.h5")
    load_weights(target, tmp_path / "x.weights.h5")
    _assert_same(_values(target), _values(source))

    tensors = {}
    for layer in (source.get_layer("conv"), source.get_layer("inner").get_layer("inner_conv")):
        prefix = "inner/" if layer.name == "inner_conv" else ""
        tensors[f"{prefix}{layer.name}/kernel"] = keras.ops.convert_to_numpy(layer.kernel)
        tensors[f"{prefix}{layer.name}/bias"] = keras.ops.convert_to_numpy(layer.bias)
    _write(tmp_path / "x.npz", tensors)
    with pytest.raises(ValueError, match=r"Missing \(10\): attention/query/kernel, .*each/dense/bias"):
        load_weights(again, tmp_path / "x.npz")
    for part in ("query", "key", "value", "attention_output"):
        for variable in ("kernel", "bias"):
            name = f"attention/{part}/{variable}"
            weight = next(w for w in source.weights if w.path == name)
            tensors[name] = keras.ops.convert_to_numpy(weight)
    for variable, weight in zip(("kernel", "bias"), source.get_layer("each").weights, strict=True):
        tensors[f"each/dense/{variable}"] = keras.ops.convert_to_numpy(weight)
    _write(tmp_path / "x.npz", tensors)
    load_weights(again, tmp_path / "x.npz")
    _assert_same(_values(again), _values(source))


def test_keras_applications_are_loaded(tmp_path, rng):
    source, target = (
        keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None) for _ in range(2)
    )
    _randomize(source, rng)
    _write(tmp_path / "x.safetensors", _keras_style(source))
    load_weights(target, tmp_path / "x.safetensors")
    _assert_same(_values(target), _values(source))


def test_only_built_models_are_loaded():
    with pytest.raises(ValueError, match=r"`backbone` must be a functional keras\.Model"):
        load_weights("resnet18", "imagenet")


# ---------------------------------------------------------------------------------------------
# ImageNet weights


def test_a_failing_download_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def fail(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", fail)
    with pytest.raises(OSError, match=r"resnet18-f37072fd\.pth.*no network.*pass its path"):
        load_weights(resnet(**TINY, name="resnet18"), "imagenet")


def test_a_forged_download_is_deleted(monkeypatch, tmp_path):
    forged = tmp_path / "resnet18-f37072fd.pth"
    forged.write_bytes(b"PK not the published weights")
    monkeypatch.setattr("keras.utils.get_file", lambda **kwargs: str(forged))
    with pytest.raises(OSError, match=r"sha256 should begin with f37072fd and is .* was deleted"):
        load_weights(resnet(**TINY, name="resnet18"), "imagenet")
    assert not forged.exists()


def test_backbones_without_imagenet_weights_are_named():
    with pytest.raises(
        ValueError, match=r"\['convnext_tiny', .*'resnet18', 'resnet34', 'resnet50'\].*Received: .*'tiny'"
    ):
        load_weights(resnet(**TINY, name="tiny"), "imagenet")


def _top_1(test_data, count):
    images, classes = load_photos(test_data, count)
    # The published network has output stride 32.
    model = resnet18(image_shape=(224, 224, 3), output_stride=32, classes=1000)
    load_weights(model, test_data / "resnet18_imagenet.pth")
    return np.mean(model.predict(images, batch_size=50, verbose=0).argmax(-1) == classes)


def test_real_weights_classify_photographs(test_data):
    assert _top_1(test_data, 200) >= 0.70


@pytest.mark.slow
def test_real_weights_classify_all_photographs(test_data):
    accuracy = _top_1(test_data, 600)
    print(f"top-1 on 600 photographs: {accuracy:.4f}")
    assert accuracy >= 0.70
