"""Files with fewer bits: near the model, the bank rounded alike for all tasks and stored once, nothing half-done."""

import errno

import keras
import numpy as np
import pytest
from support.tiny import TASKS, micro_backbone, tiny_backbone, tiny_decoder
from support.trained import pretend_training

import rc_keras
import rc_keras.export
from rc_keras.export import comparison
from rc_keras.export.formats.tflite import exporter
from rc_keras.export.formats.tflite.file import TFLiteFile
from rc_keras.export.stages import fold_tasks

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow"),
    pytest.mark.slow,
]
pytest.importorskip("ai_edge_litert")

ALL_KINDS = (*TASKS, rc_keras.Task("scene", 4, "classification"))
PRECISIONS = ("float16", "dynamic_int8", "int8")
FLOAT16_TOLERANCE = 1e-2  # largest difference from the model, of the range of its output
CORRELATION = 0.99  # of eight bits


def smooth_images(height=32, width=32, n=4, seed=5):
    """Noise of low frequency: neighbouring pixels are alike, as in photographs."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (n, 5, 5, 3)).astype("float32")
    return np.rint(keras.ops.convert_to_numpy(keras.ops.image.resize(coarse, (height, width)))).astype("uint8")


def export(model, path, quantize, **options):
    if quantize == "int8":
        options = {"representative_data": smooth_images(), **options}
    return rc_keras.export.litert(model, path, quantize=quantize, verbose=False, **options)


@pytest.fixture(scope="module")
def model():
    return pretend_training(
        rc_keras.build(list(ALL_KINDS), tiny_backbone(), tiny_decoder(), image_shape=(32, 32, 3), seed=0), seed=3
    )


@pytest.fixture(scope="module")
def small():
    """A model that is quick to convert."""
    return pretend_training(
        rc_keras.build(list(TASKS[:2]), micro_backbone(), tiny_decoder(), image_shape=(32, 32, 3), seed=0)
    )


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """`{precision: (path, report)}` of files with all kinds of tasks."""
    folder = tmp_path_factory.mktemp("precision")
    paths = {precision: folder / f"{precision}.tflite" for precision in PRECISIONS}
    return {precision: (path, export(model, path, precision)) for precision, path in paths.items()}


def run(path, task, image):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(path)).get_signature_runner(task)(image=image[None].astype("float32"))[task]


def expect(model, task, image):
    raw = model(image[None].astype("float32"), tasks=[task])[task]
    return keras.ops.convert_to_numpy(model.task(task).activate(raw))


def read(path):
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("task", [task.name for task in ALL_KINDS])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_answers_stay_near_the_models(exported, model, precision, task):
    path, report = exported[precision]
    assert report.precision == precision and report.passed
    pairs = [(expect(model, task, image), run(path, task, image)) for image in smooth_images(n=3, seed=6)]
    expected, received = (np.stack(side) for side in zip(*pairs, strict=True))
    assert received.dtype == "float32"
    assert np.abs(received - expected).max() > 0.0
    if precision == "float16":
        np.testing.assert_allclose(received, expected, rtol=0, atol=FLOAT16_TOLERANCE * np.ptp(expected))
    assert np.corrcoef(received.ravel(), expected.ravel())[0, 1] > CORRELATION


def rounded(kernel, precision):
    """The bytes of a kernel in the file."""
    kernel = kernel.transpose(3, 0, 1, 2)
    if precision == "float16":
        return kernel.astype("float16").tobytes()
    if precision == "dynamic_int8" and kernel.size < 1024:  # too small to gain anything
        return kernel.tobytes()
    scale = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / np.float32(127)
    return np.rint(kernel / scale).astype("int8").tobytes()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_bank_kernels_stand_in_the_file_once(exported, model, precision):
    path, report = exported[precision]
    assert report.bank_kernels == report.bank_kernels_stored_once == 9
    content = path.read_bytes()
    for name, layer in model.bank.convolutions.items():
        assert content.count(rounded(keras.ops.convert_to_numpy(layer.kernel), precision)) == 1, name


@pytest.mark.parametrize("precision", ["dynamic_int8", "int8"])
def test_a_shared_kernel_has_the_same_scales_in_every_signature(exported, precision):
    file = read(exported[precision][0])
    scales = {}
    for subgraph in file.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.shape is not None and len(tensor.shape) == 4 and file.buffers[tensor.buffer].data is not None:
                scale = None if tensor.quantization is None else tensor.quantization.scale
                scales.setdefault(tensor.buffer, []).append(None if scale is None else scale.tobytes())
    shared = [values for values in scales.values() if len(values) == len(ALL_KINDS)]
    assert len(shared) == 9
    assert all(len(set(values)) == 1 for values in shared)


def test_integer_convolutions_share_no_bias(exported):
    """XNNPACK knows packed weights, scales included, by the addresses of kernel and bias."""
    file = read(exported["int8"][0])
    biases = [
        subgraph.tensors[operator.inputs[2]].buffer
        for subgraph in file.subgraphs
        for operator in subgraph.operators
        if len(operator.inputs) > 2 and subgraph.tensors[operator.inputs[2]].type == 2  # int32
    ]
    assert len(biases) > 9 * len(ALL_KINDS)
    assert len(set(biases)) == len(biases)


def test_counting_kernels_tells_copies_apart(exported, model, tmp_path):
    """A kernel that one signature reads from a copy, or with a scale of its own, is not shared."""
    import flatbuffers

    kernel = keras.ops.convert_to_numpy(model.bank.convolutions["conv1"].kernel)
    for change in ("copy", "scale", "value"):
        file = read(exported["int8"][0])
        tensors = file.subgraphs[0].tensors
        (tensor,) = (t for t in tensors if tuple(t.shape) == kernel.transpose(3, 0, 1, 2).shape and t.type == 9)
        if change == "copy":
            file.buffers.append(file.buffers[tensor.buffer])
            tensor.buffer = len(file.buffers) - 1
        elif change == "scale":
            tensor.quantization.scale = np.nextafter(tensor.quantization.scale, np.float32(1))
        else:
            file.buffers[tensor.buffer].data = file.buffers[tensor.buffer].data.copy()
            file.buffers[tensor.buffer].data[7] ^= 2
        builder = flatbuffers.Builder(0)
        builder.Finish(file.Pack(builder), file_identifier=b"TFL3")
        path = tmp_path / f"{change}.tflite"
        path.write_bytes(builder.Output())
        assert TFLiteFile(path).count_kernel(kernel) == {"copy": 2, "scale": 2, "value": 0}[change]
    assert TFLiteFile(exported["int8"][0]).count_kernel(kernel) == 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_only_lite_operators(exported, precision):
    names = set(exported[precision][1].operators)
    assert not any("FLEX" in name.upper() or "NORM" in name.replace("L2_NORM", "") for name in names)
    assert names <= {
        *("ADD", "CONCATENATION", "CONV_2D", "FULLY_CONNECTED", "LOGISTIC", "MAX_POOL_2D", "MEAN", "MUL", "PAD"),
        *(
            "RESHAPE",
            "RESIZE_BILINEAR",
            "QUANTIZE",
            "DEQUANTIZE",
            "TRANSPOSE" if precision == "int8" else "BATCH_MATMUL",
        ),
        *(("L2_NORMALIZATION",) if precision == "int8" else ("RSQRT", "SQUARE", "SUM", "MINIMUM")),
    }


@pytest.mark.parametrize("precision", PRECISIONS)
def test_operators_outside_the_delegate_are_those_that_the_runtime_says(exported, precision):
    path, report = exported[precision]
    found = {name: task.operators_outside_delegate for name, task in report.tasks.items()}
    assert found == {
        name: {"L2_NORMALIZATION": 1} if (name, precision) == ("normals", "int8") else {} for name in found
    }
    assert is_fully_accelerated(path) == (not any(found.values()))
    assert f"outside of the delegate: {'none' if precision != 'int8' else 'normals L2_NORMALIZATION 1'}\n" in str(
        report
    )


def test_integers_stay_in_the_delegate(small, tmp_path):
    report = export(small, tmp_path / "m.tflite", "int8")
    assert [task.operators_outside_delegate for task in report.tasks.values()] == [{}, {}]
    assert is_fully_accelerated(tmp_path / "m.tflite")


def is_fully_accelerated(path):
    from ai_edge_litert.compiled_model import CompiledModel

    return CompiledModel.from_file(str(path)).is_fully_accelerated()


@pytest.mark.slow
def test_fewer_bits_make_smaller_files(tmp_path):
    backbone = rc_keras.backbones.resnet((1, 1, 1, 1), (32, 64, 128, 256), (32, 32, 3), seed=0)
    decoder = rc_keras.decoders.DeepLabV3Plus(width=128, low_level_width=16)
    model = pretend_training(rc_keras.build(list(TASKS[:2]), backbone, decoder, image_shape=(32, 32, 3), seed=0))
    for precision, bound in {"float16": 1.02, "int8": 1.05}.items():  # of 4 MB and 2 MB, not of a real network's
        report = export(model, tmp_path / f"{precision}.tflite", precision, images=smooth_images(n=1))
        assert 0.99 < report.ratio < bound


def test_what_a_file_says_about_itself(exported, model):
    path, report = exported["int8"]
    assert path.read_bytes()[4:8] == b"TFL3"
    file = TFLiteFile(path)
    assert file.whole
    assert file.metadata["precision"] == "int8"
    assert file.metadata["bank_fingerprint"] == model.bank.fingerprint
    assert file.metadata["input"]["shape"] == [32, 32, 3]
    assert set(file.metadata["tasks"]) == set(model.tasks)
    for entry in (b'{"rc_keras": ', b'{"format": "rc_keras.description"'):  # to this package, and to others
        assert path.read_bytes().count(entry) == 1


# Representative data


def input_scales(path):
    """`{signature: scale of the quantized image}`."""
    file = read(path)
    scales = {}
    for signature in file.signatureDefs:
        subgraph = file.subgraphs[signature.subgraphIndex]
        operator = next(o for o in subgraph.operators if o.inputs[0] == signature.inputs[0].tensorIndex)
        scales[signature.signatureKey.decode()] = float(subgraph.tensors[operator.outputs[0]].quantization.scale[0])
    return scales


def test_each_task_has_its_own_representative_data(small, tmp_path):
    dark = np.clip(smooth_images(), 0, 51)
    data = {"semseg": dark, "edge": (image for image in smooth_images() * 0 + np.uint8(255))}
    export(small, tmp_path / "m.tflite", "int8", representative_data=data)
    scales = input_scales(tmp_path / "m.tflite")
    assert scales["semseg"] == pytest.approx(51 / 255, rel=1e-3)
    assert scales["edge"] == pytest.approx(1.0, rel=1e-3)


def test_a_dataset_is_representative_data(small, tmp_path):
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((smooth_images(n=6) // 5, np.zeros(6))).batch(4)
    export(small, tmp_path / "m.tflite", "int8", representative_data=dataset)
    for scale in input_scales(tmp_path / "m.tflite").values():
        assert scale == pytest.approx((smooth_images(n=6) // 5).max() / 255, rel=1e-3)


# What must work in any precision


@pytest.mark.parametrize("method", ["rc", "rc_nff", "rc_ri", "rc_identity", "single_task"])
def test_other_methods(method, tmp_path):
    backbone = micro_backbone()
    model = pretend_training(
        rc_keras.build([TASKS[0]], backbone, tiny_decoder(), image_shape=(32, 32, 3), seed=0, method=method)
    )
    report = export(model, tmp_path / "m.tflite", "int8")
    assert report.bank_kernels == (0 if method == "single_task" else 3)
    expected, received = (
        f(s, "semseg", smooth_images()[0]) for f, s in ((expect, model), (run, tmp_path / "m.tflite"))
    )
    assert np.corrcoef(received.ravel(), expected.ravel())[0, 1] > CORRELATION


def test_answers_of_different_sizes_as_class_ids(small, tmp_path):
    path = tmp_path / "m.tflite"
    report = export(small, path, "int8", segmentation="class_ids", resolution="network")
    ids = run(path, "semseg", smooth_images()[0])
    assert ids.dtype == np.uint8 and ids.shape == (1, 8, 8)
    assert run(path, "edge", smooth_images()[0]).shape == (1, 32, 32, 1)
    assert report.tasks["semseg"].agreement > 0.9


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_free_and_odd_sizes(precision, tmp_path):
    model = pretend_training(
        rc_keras.build(list(TASKS[2:]), tiny_backbone(), tiny_decoder(), image_shape=(None, None, 3), seed=0)
    )
    path = tmp_path / "m.tflite"
    data = {"representative_data": smooth_images(75, 101)} if precision == "int8" else {}
    report = export(model, path, precision, images=smooth_images(75, 101, n=1), **data)
    assert not any("BATCH" in name for name in report.operators)
    for size in ((101, 75), (48, 64)):
        (image,) = smooth_images(*size, n=1)
        for task in model.tasks:
            expected, received = expect(model, task, image), run(path, task, image)
            assert received.shape == expected.shape == (1, *size, model.task(task).channels)
            assert np.corrcoef(received.ravel(), expected.ravel())[0, 1] > CORRELATION


def test_hard_silu_runs_in_the_delegate(tmp_path):
    """In int8 XNNPACK knows its parts alone, in float32 the whole."""

    def with_hard_silu(layer):
        if isinstance(layer, keras.layers.ReLU):
            return keras.layers.Activation("hard_silu", name=layer.name)
        return type(layer).from_config(layer.get_config())

    encoder = keras.models.clone_model(micro_backbone(), clone_function=with_hard_silu)
    model = pretend_training(rc_keras.build(list(TASKS[:2]), encoder, tiny_decoder(), image_shape=(32, 32, 3), seed=0))
    for quantize in (None, "int8"):
        report = export(model, tmp_path / f"{quantize}.tflite", quantize)
        assert ("HARD_SWISH" in report.operators) == (quantize is None)
        assert not any(task.operators_outside_delegate for task in report.tasks.values())


# Errors and what they leave behind


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"quantize": "int4"}, "`quantize` must be one of"),
        ({"quantize": "flaot16"}, "Did you mean 'float16'"),
        ({"quantize": "float32"}, "`quantize` must be one of"),
        ({"quantize": "int8"}, "`representative_data` must be images"),
        ({"quantize": "float16", "representative_data": smooth_images()}, "must be None with float16"),
        ({"representative_data": smooth_images()}, "must be None with float32"),
        ({"quantize": "int8", "representative_data": smooth_images(33)}, "Images must be"),
        ({"quantize": "int8", "representative_data": []}, "at least one image"),
        ({"quantize": "int8", "representative_data": {"egde": []}}, "Did you mean 'edge'"),
        ({"quantize": "int8", "representative_data": {"edge": smooth_images()}}, r"none for \['semseg'\]"),
    ],
)
def test_bad_arguments_are_refused_before_the_work(small, tmp_path, monkeypatch, arguments, message):
    def fold(*arguments):
        raise AssertionError("the work was started")

    monkeypatch.setattr(fold_tasks, "fold", fold)
    with pytest.raises(ValueError, match=message):
        small.export(tmp_path / "m.tflite", **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["_convert", "repack", "TFLiteFile"])
def test_an_interruption_leaves_what_was_there(small, tmp_path, monkeypatch, stage):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporter, stage, interrupt)
    path = tmp_path / "m.tflite"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        export(small, path, "int8", tasks=["edge"], overwrite=True)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_nothing(small, tmp_path, monkeypatch):
    class FullDisk:
        def __init__(self, path, mode):
            self._file = open(path, mode)  # noqa: SIM115

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            self._file.close()

        def write(self, content):
            self._file.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporter, "open", FullDisk, raising=False)
    with pytest.raises(OSError, match="No space left"):
        export(small, tmp_path / "m.tflite", "float16", tasks=["edge"])
    assert list(tmp_path.iterdir()) == []


def test_what_is_too_far_off_is_discarded(small, tmp_path, monkeypatch):
    """Ranges taken from black images fit no others."""
    data = {"representative_data": np.zeros((2, 32, 32, 3), "uint8"), "images": smooth_images()}
    with pytest.raises(rc_keras.export.ExportError, match="✗"):
        export(small, tmp_path / "m.tflite", "int8", **data)
    assert list(tmp_path.iterdir()) == []


def test_a_constant_answer_is_never_right():
    from rc_keras.export.comparison import TOLERANCES, compare

    (image,) = smooth_images(n=1)
    varied = image[None].astype("float32")
    for tolerance in TOLERANCES.values():
        assert not compare(lambda x: x, np.zeros_like, [varied]).passes(tolerance)
        assert not compare(np.ones_like, lambda x: 2 * np.ones_like(x), [varied]).passes(tolerance)
        assert compare(np.ones_like, np.ones_like, [varied]).passes(tolerance)
    grey = varied[..., :1]
    swapped = compare(lambda x: x + [0.0, 5.0], lambda x: x + [5.0, 0.0], [grey], classes=True)
    assert swapped.correlation > 0.98 and not swapped.passes(TOLERANCES["int8"])


def test_every_precision_has_a_tolerance():
    assert set(comparison.TOLERANCES) == {"float32", *exporter.LiteRT.quantizers}


# Whole networks


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_resnet18_with_five_tasks(precision, tmp_path):
    tasks = ["edge", "semseg", "human_parts", "normals", "saliency"]
    model = pretend_training(rc_keras.build(tasks, image_shape=(128, 128, 3), seed=0))
    data = {"representative_data": smooth_images(128, 128)} if precision == "int8" else {}
    for chosen in (tasks, tasks[1:3]):
        report = export(model, tmp_path / "m.tflite", precision, tasks=chosen, overwrite=True, **data)
        assert 0.99 < report.ratio <= 1.02
        assert report.bank_kernels == report.bank_kernels_stored_once == 17


@pytest.mark.slow
@pytest.mark.parametrize("precision", [None, "float16", "int8"])
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50"])
def test_grafted_applications(name, precision, tmp_path):
    keras.utils.set_random_seed(0)  # of the application's weights; ours follow from `seed`
    application = getattr(keras.applications, name)
    backbone = application(include_top=False, weights=None, input_shape=(64, 64, 3))
    preprocess = keras.layers.Rescaling(1 / 127.5, -1.0)
    model = pretend_training(
        rc_keras.build(
            list(TASKS[:2]), backbone, tiny_decoder(), image_shape=(64, 64, 3), preprocess=preprocess, seed=0
        )
    )
    data = {"representative_data": smooth_images(64, 64)} if precision == "int8" else {}
    report = export(model, tmp_path / "m.tflite", precision, **data)
    assert report.bank_kernels == report.bank_kernels_stored_once > 0
    operators = " ".join(report.operators)  # a dilated convolution is one operator
    assert "SPACE" not in operators and "Flex" not in operators
