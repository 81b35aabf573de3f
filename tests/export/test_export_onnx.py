"""A folder of ONNX files computes what the model computes, with the bank in it once; onnxruntime says so directly."""

import os
import shutil
import sys

import keras
import numpy as np
import pytest
from support.slow import slow
from support.tiny import TASKS, MicroDecoder, micro_backbone, tiny_backbone, tiny_decoder
from support.trained import pretend_training

import rc_keras
from rc_keras.export import ExportError, onnx
from rc_keras.export.formats.onnx import exporter
from rc_keras.export.stages import compare, fold_tasks
from rc_keras.files.whole_folder import folder_lock

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
pytest.importorskip("tf2onnx")
onnxruntime = pytest.importorskip("onnxruntime")
onnx_package = pytest.importorskip("onnx")

TOLERANCE = 1e-4  # largest difference from the model, of the range of its output
HALF_TOLERANCE = 1e-2
EIGHT_BIT_TOLERANCE = 0.1
EIGHT_BIT_CORRELATION = 0.99
SCENE = rc_keras.Task("scene", 4, "classification")


def model_of(tasks=TASKS, backbone=None, **arguments):
    backbone = micro_backbone() if backbone is None else backbone
    arguments = {"decoder": MicroDecoder(), "image_shape": (32, 32, 3), **arguments}
    return pretend_training(rc_keras.build(list(tasks), backbone=backbone, seed=0, **arguments))


@pytest.fixture(scope="module")
def model():
    return model_of((*TASKS, SCENE))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """`(folder, report)` of three tasks; never written to by tests."""
    folder = tmp_path_factory.mktemp("export") / "model"
    return folder, onnx(model, folder, tasks=["semseg", "depth", "scene"], verbose=False)


@pytest.fixture
def folder(exported, tmp_path):
    """A copy of the exported folder."""
    return shutil.copytree(exported[0], tmp_path / "model")


def images(height=32, width=32, n=2):
    return np.random.default_rng(5).integers(0, 256, (n, height, width, 3)).astype("float32")


def session_of(folder, task):
    return onnxruntime.InferenceSession(str(folder / f"{task}.onnx"), providers=["CPUExecutionProvider"])


def run(folder, task, batch):
    return session_of(folder, task).run([task], {"image": batch})[0]


def predict(model, task, batch):
    return keras.ops.convert_to_numpy(model.task(task).activate(model(batch, tasks=[task])[task]))


@pytest.fixture(autouse=True)
def same_weights():
    keras.utils.set_random_seed(0)


def assert_computes_the_same(folder, model, task, batch, tolerance=TOLERANCE):
    """By way of onnxruntime and `model(...)` alone, not of the exporter's own comparison."""
    expected, received = predict(model, task, batch), run(folder, task, batch)
    assert np.ptp(expected) > 1e-2
    assert received.shape == expected.shape
    np.testing.assert_allclose(received, expected, rtol=0, atol=tolerance * np.ptp(expected))


def contents(folder):
    """`{name: bytes}` of the graphs and weights in a folder."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.suffix != ".json"}


def stored(folder, task):
    """`{name: external place}` of a graph's arrays."""
    graph = onnx_package.load(folder / f"{task}.onnx", load_external_data=False).graph
    return {t.name: {e.key: e.value for e in t.external_data} for t in graph.initializer if t.external_data}


# What the files compute and hold


@pytest.mark.parametrize("task", ["semseg", "depth", "scene"])
def test_each_graph_computes_its_task(exported, model, task):
    for image in images()[:, None]:
        assert_computes_the_same(exported[0], model, task, image)
    (inputs,), (output,) = session_of(exported[0], task).get_inputs(), session_of(exported[0], task).get_outputs()
    assert (inputs.name, inputs.shape, inputs.type) == ("image", [1, 32, 32, 3], "tensor(float)")
    assert output.name == task


def test_the_files_and_what_the_report_says_of_them(exported, model):
    folder, report = exported
    files = contents(folder)
    assert set(files) == {"bank.bin", *(f"{t}.{s}" for t in ("semseg", "depth", "scene") for s in ("onnx", "bin"))}
    assert (folder / "report.json").exists()
    assert report.passed and report.path == str(folder) and report.format == "onnx"
    assert report.file_bytes == sum(map(len, files.values()))
    assert report.update_bytes["depth"] == len(files["depth.onnx"]) + len(files["depth.bin"])
    assert report.bank_kernels == report.bank_kernels_stored_once == 3
    assert report.tasks["semseg"].operators["Conv"] == 3 * 2 + 1 + 2
    assert {"onnx", "onnxruntime", "tf2onnx"} <= set(report.versions)
    for task in report.tasks:
        onnx_package.checker.check_model(str(folder / f"{task}.onnx"), full_check=True)
        graph = onnx_package.load(folder / f"{task}.onnx", load_external_data=False)
        assert graph.opset_import[0].version == 17


def test_bank_kernels_stand_in_one_file_once_bit_for_bit(exported, model):
    files = contents(exported[0])
    for name, layer in model.bank.convolutions.items():
        kernel = keras.ops.convert_to_numpy(layer.kernel).transpose(3, 2, 0, 1).tobytes()
        assert [file for file, content in files.items() if kernel in content] == ["bank.bin"]
        assert files["bank.bin"].count(kernel) == 1
        places = {str(stored(exported[0], task)[f"{name}/kernel"]) for task in ("semseg", "depth", "scene")}
        assert len(places) == 1
    for task in ("semseg", "depth"):
        for place in stored(exported[0], task).values():
            assert place["location"] in ("bank.bin", f"{task}.bin")
            assert int(place["offset"]) % 4096 == 0


def test_own_weights_are_stored_outside_the_graph(tmp_path):
    model = model_of(TASKS[3:], decoder=tiny_decoder())
    onnx(model, tmp_path / "m", images=images(n=1), verbose=False)
    places = [place for place in stored(tmp_path / "m", "depth").values() if place["location"] == "depth.bin"]
    assert len(places) == 7 and all(int(place["offset"]) % 4096 == 0 for place in places)
    assert_computes_the_same(tmp_path / "m", model, "depth", images(n=1))


def test_a_task_added_later_is_its_own_two_files(exported, model, tmp_path):
    path = tmp_path / "model"
    onnx(model, path, tasks=["scene", "depth"], verbose=False)
    before, bank = contents(path), os.stat(path / "bank.bin")
    report = onnx(model, path, tasks=["semseg"], verbose=False)
    after = contents(path)
    assert set(after) - set(before) == {"semseg.onnx", "semseg.bin"}
    assert after == {**after, **before}
    assert os.stat(path / "bank.bin").st_mtime_ns == bank.st_mtime_ns
    assert any("bank.bin" in note and "stays" in note for note in report.notes)
    # In any order, alone or together, and whatever was converted before: the same bytes.
    assert after == contents(exported[0])
    with rc_keras.export.runtime.load(path) as network:
        assert network.tasks == ["depth", "scene", "semseg"]


def test_the_converter_is_given_no_kernels(model, tmp_path, monkeypatch):
    """It copies its constants dozens of times."""
    from tf2onnx import convert

    largest = []

    def from_function(*args, **kwargs):
        graph, storage = original(*args, **kwargs)
        largest.append(max(len(tensor.raw_data) for tensor in graph.graph.initializer))
        return graph, storage

    original = convert.from_function
    monkeypatch.setattr(convert, "from_function", from_function)
    onnx(model, tmp_path / "m", tasks=["depth"], images=images(n=1), verbose=False)
    kernels = [4 * np.prod(layer.kernel.shape) for layer in model.bank.convolutions.values()]
    assert len(largest) == 1 and largest[0] < min(kernels)


@pytest.mark.parametrize("method", ["rc_identity", "single_task"])
def test_other_methods(method, tmp_path):
    model = model_of(TASKS[1:2], method=method)
    report = onnx(model, tmp_path / "m", verbose=False)
    assert report.bank_kernels == {"rc_identity": 3, "single_task": 0}[method]
    assert (tmp_path / "m" / "bank.bin").exists() == (method == "rc_identity")
    assert_computes_the_same(tmp_path / "m", model, "edge", images(n=1))


def test_merged_is_one_plain_network(model, tmp_path):
    report = onnx(model, tmp_path / "m", tasks=["depth"], mode="merged", verbose=False)
    assert report.operators["Conv"] == 3 + 1 + 2
    assert not (tmp_path / "m" / "bank.bin").exists()
    assert_computes_the_same(tmp_path / "m", model, "depth", images(n=1))


def test_free_batch_and_size(tmp_path):
    model = model_of(TASKS[:1], tiny_backbone(), decoder=tiny_decoder(), image_shape=(None, None, 3))
    onnx(model, tmp_path / "m", batch_size=None, images=images(40, 56, 1), verbose=False)
    for height, width, n in ((101, 75, 1), (32, 64, 3)):
        assert_computes_the_same(tmp_path / "m", model, "semseg", images(height, width, n))
        with rc_keras.export.runtime.load(tmp_path / "m") as network:
            batch = images(height, width, n)
            np.testing.assert_allclose(network.run(batch, "semseg"), run(tmp_path / "m", "semseg", batch), atol=1e-4)


def test_fixed_batch_of_several(model, tmp_path):
    onnx(model, tmp_path / "m", tasks=["depth"], batch_size=3, verbose=False)
    assert session_of(tmp_path / "m", "depth").get_inputs()[0].shape == [3, 32, 32, 3]
    assert_computes_the_same(tmp_path / "m", model, "depth", images(n=3))
    with rc_keras.export.runtime.load(tmp_path / "m") as network, pytest.raises(ValueError, match="batches of 3"):
        network.run(images(n=2), "depth")


def test_class_ids(model, tmp_path):
    onnx(model, tmp_path / "m", tasks=["semseg"], segmentation="class_ids", verbose=False)
    ids = run(tmp_path / "m", "semseg", images(n=1))
    assert ids.dtype == np.uint8
    np.testing.assert_array_equal(ids, predict(model, "semseg", images(n=1)).argmax(-1))


def test_float16(model, tmp_path):
    report = onnx(model, tmp_path / "m", tasks=["normals", "scene"], quantize="float16", verbose=False)
    assert report.bank_kernels_stored_once == 3
    for task in ("normals", "scene"):
        assert_computes_the_same(tmp_path / "m", model, task, images(n=1), HALF_TOLERANCE)
    bank = (tmp_path / "m" / "bank.bin").read_bytes()
    kernel = keras.ops.convert_to_numpy(model.bank.convolutions["high_conv"].kernel).transpose(3, 2, 0, 1)
    assert bank.count(kernel.astype("float16").tobytes()) == 1
    graph = onnx_package.load(tmp_path / "m" / "normals.onnx", load_external_data=False).graph
    wide = {t.name for t in graph.initializer if t.data_type == onnx_package.TensorProto.FLOAT and len(t.dims) > 1}
    products = [node for node in graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    assert products and not wide.intersection(node.input[1] for node in products)  # parts of kernels neither


def test_eight_bits(model, tmp_path):
    tasks = ["depth", "scene"]
    data = {"depth": images(n=8), "scene": [(image, 0) for image in images(n=4)]}
    report = onnx(model, tmp_path / "m", tasks=tasks, quantize="int8", representative_data=data, verbose=False)
    assert report.bank_kernels_stored_once == 3
    # The kernel and its scale lie in one place for both tasks.
    names = {
        name for name in stored(tmp_path / "m", "depth") if "bank" in stored(tmp_path / "m", "depth")[name]["location"]
    }
    assert len(names) == 2 * 3
    assert all(stored(tmp_path / "m", "depth")[n] == stored(tmp_path / "m", "scene")[n] for n in names)
    for task in tasks:
        expected = np.concatenate([predict(model, task, image) for image in images(n=4)[:, None]])
        received = np.concatenate([run(tmp_path / "m", task, image) for image in images(n=4)[:, None]])
        assert np.corrcoef(expected.ravel(), received.ravel())[0, 1] > EIGHT_BIT_CORRELATION


def test_eight_bit_convolutions_run_as_such(model, tmp_path):
    """All but the head, which gives float32; and the sums behind them."""
    onnx(model, tmp_path / "m", tasks=["depth"], quantize="int8", representative_data=images(), verbose=False)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(tmp_path / "m" / "depth.onnx"), options, providers=["CPUExecutionProvider"])
    graph = onnx_package.load(tmp_path / "optimized.onnx", load_external_data=False).graph
    operators = [node.op_type for node in graph.node]
    assert operators.count("QLinearConv") == 3 * 2 + 1 + 1
    assert operators.count("Conv") == 1
    assert operators.count("QLinearAdd") == 1


def padded_maximum():
    """Negative maps, zeros around them, and the maximum of both."""
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 127.5, -1.0)(image)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    norm = layers.BatchNormalization(name="shift")
    low = layers.Conv2D(8, 3, padding="same")(layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(norm(x))))
    return keras.Model(image, {"low_level": low, "high_level": layers.Conv2D(12, 3, 2, padding="same")(low)})


@pytest.mark.parametrize(
    "options",
    [
        {"joint": True},
        {"quantize": "int8", "joint": True},
        slow({"quantize": "float16", "joint": True}),
        slow({"mode": "merged", "tasks": ["depth"]}),
        slow({"image_shape": (None, None, 3), "batch_size": None}),
    ],
    ids=str,
)
def test_zeros_around_a_negative_map_are_not_lost_in_its_maximum(options, tmp_path):
    model = model_of((TASKS[1], TASKS[3]), padded_maximum())  # short vectors turn far in eight bits
    for name in model.tasks:
        model.branch(name).get_layer(f"{name}__shift").beta.assign(np.full(8, -3.0, "float32"))
    data = {"representative_data": images(n=8)} if options.get("quantize") == "int8" else {}
    report = onnx(model, tmp_path / "m", verbose=False, **data, **options)
    batch = images(n=1)
    tolerance = {None: TOLERANCE, "float16": HALF_TOLERANCE, "int8": EIGHT_BIT_TOLERANCE}[options.get("quantize")]
    for task in report.tasks:
        assert_computes_the_same(tmp_path / "m", model, task, batch, tolerance)
    if options.get("joint"):
        session = session_of(tmp_path / "m", "all")
        for output, answer in zip(session.get_outputs(), session.run(None, {"image": batch}), strict=True):
            expected = predict(model, output.name, batch)
            np.testing.assert_allclose(answer, expected, rtol=0, atol=tolerance * np.ptp(expected))


def maps_of_another_ratio(size, high=4, interpolation=None):
    """A high-level map that is no whole number of times smaller, and with resizing of its own, to more and back."""
    layers = keras.layers
    image = keras.Input((size, size, 3))
    low = layers.Conv2D(8, 3, strides=4, padding="same")(layers.Rescaling(1 / 127.5, -1.0)(image))
    if interpolation is not None:
        height, width = low.shape[1:3]
        for shape in ((height + 5, width + 3), (height, width)):
            low = keras.ops.image.resize(low, shape, interpolation=interpolation)
        low = layers.Conv2D(8, 3, padding="same")(low)
    return keras.Model(image, {"low_level": low, "high_level": layers.Conv2D(12, 3, high, padding="same")(low)})


@pytest.mark.parametrize(
    ("size", "network", "options"),
    [
        (72, {}, {"joint": True}),  # 18 to 5: 3.6, which is a little less in float32
        (104, {}, {"batch_size": None}),
        (90, {"interpolation": "nearest"}, {}),
        slow(75, {"high": 6, "interpolation": "bilinear"}, {}),
        slow(88, {}, {}),
        slow(101, {"high": 3}, {"quantize": "float16"}),
        slow(72, {}, {"quantize": "int8", "tasks": ["depth"]}),
    ],
    ids=str,
)
def test_maps_are_resized_to_sizes_that_are_no_multiple(size, network, options, tmp_path):
    decoder = rc_keras.decoders.LRASPP(width=16)
    model = model_of(TASKS[2:], maps_of_another_ratio(size, **network), decoder=decoder, image_shape=(size, size, 3))
    quantize = options.get("quantize")
    data = {"representative_data": images(size, size, n=8)} if quantize == "int8" else {}
    report = onnx(model, tmp_path / "m", verbose=False, **data, **options)
    tolerance = {None: TOLERANCE, "float16": HALF_TOLERANCE, "int8": EIGHT_BIT_TOLERANCE}[quantize]
    for task in report.tasks:
        assert_computes_the_same(tmp_path / "m", model, task, images(size, size, n=1), tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("size", [72, 101])
def test_deeplab_at_sizes_that_are_no_multiple(size, tmp_path):
    backbone = maps_of_another_ratio(size, 3)
    model = model_of(TASKS[3:], backbone, decoder=tiny_decoder(), image_shape=(size, size, 3))
    onnx(model, tmp_path / "m", verbose=False)
    assert_computes_the_same(tmp_path / "m", model, "depth", images(size, size, n=1))


@pytest.mark.parametrize("options", [{}, {"quantize": "int8"}], ids=str)
def test_what_onnxruntime_refuses_is_told_as_such(options, model, tmp_path, monkeypatch):
    """A graph that is valid, but for the shapes in it."""

    def bad_graph(*args):
        graph = good_graph(*args)
        last = graph.graph.node[-1]
        graph.graph.initializer.append(onnx_package.numpy_helper.from_array(np.zeros((1, 7), "float32"), "seven"))
        last.input[0], name = "sum", last.input[0]
        add = onnx_package.helper.make_node("Add", [name, "seven"], ["sum"], name="Add_bad")
        graph.graph.node.insert(len(graph.graph.node) - 1, add)
        return graph

    good_graph = exporter.onnx_graph
    monkeypatch.setattr(exporter, "onnx_graph", bad_graph)
    data = {"representative_data": images(n=1)} if options else {}
    with pytest.raises(ExportError, match="onnxruntime must take .* It says: .*Add_bad"):
        onnx(model, tmp_path / "m", tasks=["scene"], verbose=False, **data, **options)
    assert list(tmp_path.iterdir()) == []


# Other banks, damage and interruptions


def test_another_bank_or_precision_is_refused(folder, model):
    before = contents(folder)
    other = model_of((*TASKS, SCENE), backbone=micro_backbone(seed=1))
    with pytest.raises(ValueError, match="same bank_fingerprint"):
        onnx(other, folder, tasks=["edge"], verbose=False)
    with pytest.raises(ValueError, match="same precision"):
        onnx(model, folder, tasks=["edge"], quantize="float16", verbose=False)
    with pytest.raises(ValueError, match="same mode"):
        onnx(model, folder, tasks=["edge"], mode="merged", verbose=False)
    assert contents(folder) == before


def test_a_damaged_bank_is_not_added_to(folder, model):
    content = bytearray((folder / "bank.bin").read_bytes())
    content[100] ^= 1
    (folder / "bank.bin").write_bytes(content)
    before = contents(folder)
    with pytest.raises(ValueError, match="bit for bit"):
        onnx(model, folder, tasks=["edge"], verbose=False)
    assert contents(folder) == before


def test_tasks_are_replaced_only_when_asked(folder, model):
    before = contents(folder)
    with pytest.raises(FileExistsError, match=r"depth\.onnx, depth\.bin unless `overwrite=True`"):
        onnx(model, folder, tasks=["depth"], verbose=False)
    assert contents(folder) == before
    onnx(model, folder, tasks=["depth"], overwrite=True, verbose=False)
    assert contents(folder) == before
    # Nothing stays that needs the old bank.
    onnx(model, folder, tasks=["semseg", "depth", "scene"], quantize="float16", overwrite=True, verbose=False)
    with rc_keras.export.runtime.load(folder) as network:
        assert network.metadata["precision"] == "float16"


def flip_a_bit(path):
    """Of a number inside the graph."""
    graph = onnx_package.load(path, load_external_data=False)
    inside = [t for t in graph.graph.initializer if t.raw_data and t.data_type == onnx_package.TensorProto.FLOAT]
    content = bytearray(path.read_bytes())
    content[content.index(inside[-1].raw_data) + 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: os.truncate(folder / "bank.bin", 5000),
        lambda folder: (folder / "bank.bin").unlink(),
        lambda folder: shutil.copyfile(folder / "depth.bin", folder / "bank.bin"),
        lambda folder: (folder / "semseg.bin").write_bytes(b"\0"),
        lambda folder: os.truncate(folder / "semseg.onnx", 900),
        lambda folder: shutil.copyfile(folder / "depth.onnx", folder / "semseg.onnx"),
        lambda folder: (folder / "semseg.onnx").write_bytes(b""),
        lambda folder: flip_a_bit(folder / "semseg.onnx"),
    ],
)
def test_damaged_and_exchanged_files_are_refused_on_load(folder, damage):
    damage(folder)
    with pytest.raises(ValueError, match="must be|needs"):
        rc_keras.export.runtime.load(folder)


STAGES = [
    (fold_tasks, "fold"),
    (exporter, "onnx_graph"),
    (exporter, "_write_file"),
    (compare, "compare"),
    (exporter, "publish"),
]


@pytest.mark.parametrize("module, stage", STAGES)
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interruption_leaves_nothing(model, tmp_path, monkeypatch, module, stage, error):
    calls = []

    def interrupt(*args, **kwargs):
        calls.append(args)
        if len(calls) > (stage == "_write_file"):  # with one file written
            raise error
        return original(*args, **kwargs)

    original = getattr(module, stage)
    monkeypatch.setattr(module, stage, interrupt)
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        onnx(model, tmp_path / "m", tasks=["scene"], images=images(n=1), verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_other_files_of_the_folder_stay(folder, model):
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("mine")
    (folder / "link").symlink_to("notes/mine.txt")
    onnx(model, folder, tasks=["edge"], images=images(n=1), verbose=False)
    assert (folder / "notes" / "mine.txt").read_text() == "mine"
    assert (folder / "link").is_symlink() and (folder / "link").read_text() == "mine"
    assert os.listdir(folder.parent) == ["model"]


def test_a_missing_task_is_named(folder, model):
    (folder / "semseg.onnx").unlink()
    (folder / "semseg.bin").unlink()
    with pytest.raises(ValueError, match=r"must hold the files that its manifest\.json lists.*without semseg\.onnx"):
        rc_keras.export.runtime.load(folder)
    onnx(model, folder, tasks=["edge"], images=images(n=1), verbose=False)  # takes what is there
    assert rc_keras.export.runtime.load(folder).tasks == ["depth", "edge", "scene"]


def test_folders_of_versions_before_manifests(folder):
    (folder / "manifest.json").unlink()
    (folder / "semseg.onnx").unlink()
    assert rc_keras.export.runtime.load(folder).tasks == ["depth", "scene"]


def test_two_shipped_files_update_a_task_where_it_runs(folder, model, tmp_path):
    """Whatever the manifest that came with the others says of it."""
    other = model_of((*TASKS, SCENE), bank=model.bank, backbone=micro_backbone(seed=99))
    other.branch("scene").get_layer("scene__decoder_head").bias.assign(np.arange(4, dtype="float32"))
    onnx(other, tmp_path / "new", tasks=["scene", "edge"], images=images(n=1), verbose=False)
    for name in ("scene.onnx", "scene.bin", "edge.onnx", "edge.bin"):
        shutil.copy(tmp_path / "new" / name, folder / name)
    with rc_keras.export.runtime.load(folder) as network:
        assert network.tasks == ["depth", "edge", "scene", "semseg"]
    assert_computes_the_same(folder, other, "scene", images(n=1))


def test_a_second_exporter_is_told_to_wait(folder, model):
    before = contents(folder)
    with folder_lock(str(folder)), pytest.raises(BlockingIOError, match="one writer at a time"):
        onnx(model, folder, tasks=["edge"], verbose=False)
    assert contents(folder) == before


def test_a_wrong_file_is_discarded(folder, model, monkeypatch):
    def bad_fold(branch, bank, merged):
        folded = good_fold(branch, bank, merged)
        kernel = bank["stem_conv"].kernel
        kernel.assign(np.nextafter(keras.ops.convert_to_numpy(kernel), np.float32(9.0)))
        return folded

    good_fold, before = fold_tasks.fold, contents(folder)
    monkeypatch.setattr(fold_tasks, "fold", bad_fold)
    with pytest.raises(ExportError, match="2 of 3 kernels"):
        onnx(model, folder.parent / "new", tasks=["edge"], verbose=False)
    with pytest.raises(ValueError, match="bit for bit"):
        onnx(model, folder, tasks=["edge"], verbose=False)
    assert contents(folder) == before and os.listdir(folder.parent) == ["model"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"quantize": "int4"}, ValueError, "`quantize` must be one of"),
        ({"quantize": "int8"}, ValueError, "representative_data"),
        ({"representative_data": np.zeros((1, 32, 32, 3))}, ValueError, "representative_data"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be a positive integer"),
        ({"tasks": ["egde"]}, ValueError, "Did you mean 'edge'"),
        ({"directory": "missing/m"}, FileNotFoundError, "must exist"),
        ({"directory": "file"}, NotADirectoryError, "must be a folder"),
        ({"directory": "m.onnx"}, ValueError, "must be the name of a folder.*Did you mean 'm'"),
    ],
)
def test_bad_arguments_are_refused_before_the_work(model, tmp_path, monkeypatch, arguments, error, message):
    def never(*args, **kwargs):
        raise AssertionError("the work was started")

    (tmp_path / "file").write_bytes(b"before")
    monkeypatch.setattr(fold_tasks, "fold", never)
    arguments = {"directory": "m", "verbose": False, **arguments}
    with pytest.raises(error, match=message):
        onnx(model, tmp_path / arguments.pop("directory"), **arguments)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "tf2onnx"])
def test_a_missing_package_names_what_to_install(model, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install rc_keras\[onnx\]"):
        onnx(model, tmp_path / "m", verbose=False)


# The runtime


def test_the_runtime_takes_images_as_they_come(exported, model):
    with rc_keras.export.runtime.load(exported[0], threads=1) as network:
        assert network.tasks == ["depth", "scene", "semseg"]
        assert network.metadata["tasks"]["semseg"]["kind"] == "segmentation"
        assert network.metadata["bank_fingerprint"] == model.bank.fingerprint
        batch = images(n=2)
        expected = np.concatenate([run(exported[0], "depth", image) for image in batch[:, None]])
        np.testing.assert_allclose(network.run(batch, "depth"), expected, atol=1e-5)
        one = network.run(batch[1].astype("uint8"), "depth")
        assert one.shape == (32, 32, 1)
        np.testing.assert_allclose(one, expected[1], atol=1e-5)
        for wrong in (batch[:, :31], batch[0, 0], np.full((32, 32, 3), "a")):
            with pytest.raises(ValueError, match="Images must be"):
                network.run(wrong, "depth")
        with pytest.raises(ValueError, match="`image` must hold at least one image"):
            network.run(batch[:0], "depth")
        with pytest.raises(ValueError, match="Did you mean 'depth'"):
            network.run(batch, "detph")
    with pytest.raises(RuntimeError, match="closed"):
        network.run(batch, "depth")


def test_runtime_options(exported):
    fast = rc_keras.export.runtime.load(exported[0], runtime="onnx", prefer="speed", provider=["CPUExecutionProvider"])
    np.testing.assert_allclose(
        fast.run(images(n=1), "depth"), run(exported[0], "depth", images(n=1)), rtol=0, atol=1e-4
    )
    for wrong in ({"prefer": "space"}, {"provider": "CPU"}, {"threads": 0}):
        with pytest.raises(ValueError, match="must be"):
            rc_keras.export.runtime.load(exported[0], **wrong)
    with pytest.raises(ValueError, match=r"folder with \.onnx files"):
        rc_keras.export.runtime.load(exported[0].parent, runtime="onnx")


# Larger networks


@pytest.mark.slow
def test_resnet18_with_five_tasks(tmp_path):
    tasks = ["edge", "semseg", "human_parts", "normals", "saliency"]
    model = pretend_training(rc_keras.build(tasks, image_shape=(256, 256, 3), seed=0))
    pictures = images(256, 256, 1)
    for quantize, largest in ((None, 1.005), ("float16", 1.02), ("int8", 1.02)):
        report = onnx(
            model,
            tmp_path / str(quantize),
            quantize=quantize,
            representative_data=pictures if quantize == "int8" else None,
            images=pictures,
        )
        assert 0.99 < report.ratio < largest
        assert report.bank_kernels == report.bank_kernels_stored_once == 17


@pytest.mark.slow
def test_mobilenet(tmp_path):
    backbone = keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, include_top=False, weights=None)
    model = model_of(TASKS[:2], backbone=backbone, image_shape=(64, 64, 3), decoder=tiny_decoder())
    report = onnx(model, tmp_path / "m", verbose=False)
    assert report.bank_kernels > 0
    assert_computes_the_same(tmp_path / "m", model, "semseg", images(64, 64, 1))
