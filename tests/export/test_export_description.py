"""Files say what they take and answer: `description.json`, the same inside, and what standard tools read."""

import functools
import json
import shutil
import zipfile
from pathlib import Path

import flatbuffers
import keras
import numpy as np
import pytest
from flatbuffers import number_types
from flatbuffers.table import Table
from support.tiny import TASKS, tiny_model
from support.trained import pretend_training

import rc_keras
from rc_keras.export.formats import description
from rc_keras.export.runtime import load

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exporters need Keras on TensorFlow")
pytest.importorskip("ai_edge_litert")
onnx = pytest.importorskip("onnx")

OLD = Path(__file__).parents[1] / "files_of_0_1"
TOLERANCE = 1e-4  # largest difference from the model, of the range of its output
NAMES = ["wall", "floor", "a chair", "cat", "Lücke"]
# Not in the order of the alphabet, in which TensorFlow puts signatures; 0 is not trained.
MODEL_TASKS = (
    TASKS[2],
    rc_keras.Task("semseg", 5, "segmentation", ignore=0, class_names=NAMES),
    TASKS[1],
    rc_keras.Task("scene", 6, "classification"),
)
ORDER = [task.name for task in MODEL_TASKS]


@pytest.fixture(scope="module")
def model():
    return pretend_training(tiny_model(MODEL_TASKS))


@pytest.fixture(scope="module")
def lite(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("lite") / "m.tflite"
    model.export(path, joint=True, license="CC-BY-4.0", model_version=7, verbose=False)
    return path


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """Tasks that were exported one after the other; never written to by tests."""
    path = tmp_path_factory.mktemp("onnx") / "m"
    model.export(path, format="onnx", tasks=["semseg", "edge"], joint=True, license="CC-BY-4.0", verbose=False)
    before = (path / "bank.bin").read_bytes()
    model.export(path, format="onnx", tasks=["normals"], model_version=2, license="MIT", verbose=False)
    assert (path / "bank.bin").read_bytes() == before
    return path


def read(path):
    return json.loads(path.read_text())


def names_in(data):
    return [task["name"] for task in data["tasks"]]


def test_what_the_description_says(lite, model):
    data = read(lite.with_name("m.tflite.description.json"))
    assert (data["format"], data["format_version"]) == ("rc_keras.description", 1)
    assert data["package_version"] == rc_keras.__version__ and data["bank_fingerprint"] == model.bank.fingerprint
    assert (data["license"], data["model_version"], data["joint"]) == ("CC-BY-4.0", 7, "all")
    assert data["input"].items() >= {"name": "image", "shape": [1, 32, 32, 3], "range": [0, 255]}.items()
    assert names_in(data) == ORDER == [task["signature"] for task in data["tasks"]]
    normals, semseg, edge, scene = data["tasks"]
    assert "(0, 0, -1)" in normals["axes"] and normals["output"]["range"] == [-1, 1]
    assert [entry["name"] for entry in semseg["classes"]] == NAMES and semseg["output"]["values"] == "logits"
    assert semseg["classes"][1]["colour"] == [128, 0, 0]  # PASCAL VOC's
    assert semseg["ignored"]["label"] == 0 and semseg["ignored"]["predicted"] is False
    assert edge["output"]["values"] == "probability" and edge["ramp"]["colours"][3] == [3, 3, 3]
    assert scene["dense"] is False and scene["output"]["shape"] == [1, 6] and scene["classes"][5]["name"] == "5"


def test_the_same_stands_inside_every_format(lite, folder, model, tmp_path):
    with load(lite) as network:
        assert network.description == read(lite.with_name("m.tflite.description.json"))
    with load(folder) as network:
        assert network.description == read(folder / "description.json")
    path = tmp_path / "m"
    model.export(path, format="tf_saved_model", segmentation="class_ids", verbose=False)
    data = read(path / "description.json")
    with load(path) as network:
        assert network.description == data
        answers = network.run(np.zeros((2, 32, 32, 3), "uint8"))
    for task in data["tasks"]:
        answer, output = answers[task["name"]], task["output"]
        assert [None, *answer.shape[1:]] == output["shape"] and answer.dtype == output["dtype"]
    assert data["tasks"][1]["output"] | {"values": "class ids", "range": [0, 4]} == data["tasks"][1]["output"]
    (path / "description.json").write_text("{}")
    with pytest.raises(ValueError, match=r"description\.json must be the file that the manifest"):
        load(path)


def test_tasks_of_a_folder_join_their_descriptions(folder, model, tmp_path):
    data = read(folder / "description.json")
    assert names_in(data) == ["semseg", "edge", "normals"] and data["joint"] == "all" and data["model_version"] == 2
    assert data["license"] == "CC-BY-4.0 AND MIT"
    assert [task["file"] for task in data["tasks"]] == ["semseg.onnx", "edge.onnx", "normals.onnx"]
    assert "description.json" in read(folder / "manifest.json")["files"]
    again = shutil.copytree(folder, tmp_path / "m")
    model.export(again, format="onnx", tasks=["semseg"], overwrite=True, verbose=False)
    assert names_in(read(again / "description.json")) == ["semseg", "edge", "normals"]
    data = read(again / "description.json")
    assert data["joint"] is None, "all.onnx goes with a task of it"
    assert data["license"] is None, "semseg says nothing about it now"


def test_files_of_earlier_versions_have_none():
    for name in ("model.tflite", "onnx", "saved_model"):
        with load(OLD / name) as network:
            assert network.description is None and network.metadata["tasks"]


# LiteRT


def test_a_client_without_signatures_runs_the_first_task(lite, model):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(lite))
    interpreter.allocate_tensors()
    (image,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (image["name"], answer["name"]) == ("image", "normals")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype("float32")
    interpreter.set_tensor(image["index"], pixels)
    interpreter.invoke()
    expected = keras.ops.convert_to_numpy(model(pixels)["normals"])
    received = interpreter.get_tensor(answer["index"])
    np.testing.assert_allclose(received, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))
    for name, task in zip(ORDER, read(lite.with_name("m.tflite.description.json"))["tasks"], strict=True):
        (output,) = interpreter.get_signature_runner(name).get_output_details().values()
        assert output["name"] == name and list(output["shape"]) == task["output"]["shape"]


def test_subgraphs_and_outputs_come_in_the_order_of_the_model(lite):
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(lite.read_bytes())
    assert [subgraph.name.decode() for subgraph in model.subgraphs] == [*ORDER, "all"]
    assert [signature.subgraphIndex for signature in model.signatureDefs] == list(range(5))
    together = model.subgraphs[-1]
    assert [together.tensors[i].name.decode() for i in together.outputs] == ORDER


def test_operators_that_run_subgraphs_follow_them():
    from ai_edge_litert import schema_py_generated as schema

    from rc_keras.export.formats.tflite.signatures import arrange

    tensor = schema.TensorMapT(name=b"image", tensorIndex=0)
    loop = schema.OperatorT(builtinOptions=schema.WhileOptionsT(condSubgraphIndex=2, bodySubgraphIndex=0))
    graphs = [schema.SubGraphT(tensors=[schema.TensorT()], operators=[]) for _ in range(4)]
    graphs[1].operators.append(loop)
    model = schema.ModelT(subgraphs=list(graphs))
    model.signatureDefs = [
        schema.SignatureDefT(signatureKey=key, subgraphIndex=i, inputs=[tensor], outputs=[])
        for key, i in ((b"a", 1), (b"b", 3))
    ]
    arrange(model, {"b": [], "a": []})
    assert model.subgraphs == [graphs[3], graphs[1], graphs[0], graphs[2]]
    assert (loop.builtinOptions.condSubgraphIndex, loop.builtinOptions.bodySubgraphIndex) == (3, 2)


def table_of(table, slot):
    """The table in a field, by its place in the published schema."""
    return Table(table.Bytes, table.Indirect(table.Offset(4 + 2 * slot) + table.Pos))


def text_of(table, slot):
    return table.String(table.Offset(4 + 2 * slot) + table.Pos).decode()


def tables_of(table, slot):
    offset = table.Offset(4 + 2 * slot)
    start = table.Vector(offset)
    return [Table(table.Bytes, table.Indirect(start + 4 * i)) for i in range(table.VectorLen(offset))]


def standard_metadata_of(path):
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    (content,) = (model.buffers[m.buffer].data.tobytes() for m in model.metadata if m.name == b"TFLITE_METADATA")
    assert content[4:8] == b"M001"
    return Table(bytearray(content), flatbuffers.encode.Get(flatbuffers.packer.uoffset, content, 0))


def test_standard_metadata_as_the_schema_says(lite):
    """Places of the fields are those of `metadata_schema.fbs`."""
    root = standard_metadata_of(lite)
    assert (text_of(root, 2), text_of(root, 5), text_of(root, 7)) == ("7", "CC-BY-4.0", "1.0.0")
    subgraphs = tables_of(root, 3)
    assert [text_of(subgraph, 0) for subgraph in subgraphs] == [*ORDER, "all"]
    (image,), (semseg,) = tables_of(subgraphs[1], 2), tables_of(subgraphs[1], 3)
    assert text_of(image, 0) == "image" and "crop the centre" in text_of(image, 1)
    content = table_of(image, 3)
    assert content.Get(number_types.Uint8Flags, content.Offset(4) + content.Pos) == 2  # ImageProperties
    properties = table_of(content, 1)
    assert properties.Get(number_types.Int8Flags, properties.Offset(4) + properties.Pos) == 1  # RGB
    (labels,) = tables_of(semseg, 6)
    assert text_of(labels, 0) == "semseg_labels.txt"
    assert labels.Get(number_types.Int8Flags, labels.Offset(8) + labels.Pos) == 2  # TENSOR_AXIS_LABELS
    assert [text_of(output, 0) for output in tables_of(subgraphs[4], 3)] == ORDER


def test_standard_metadata_in_its_own_reader(lite):
    metadata = pytest.importorskip("tflite_support.metadata")
    reader = metadata.MetadataDisplayer.with_model_file(str(lite))
    data = json.loads(reader.get_metadata_json())
    assert [subgraph["name"] for subgraph in data["subgraph_metadata"]] == [*ORDER, "all"]
    assert reader.get_packed_associated_file_list() == ["semseg_labels.txt", "scene_labels.txt"]


def test_labels_lie_in_a_zip_that_belongs_to_the_file(lite, tmp_path):
    with zipfile.ZipFile(lite) as archive:
        assert archive.read("semseg_labels.txt").decode().splitlines() == NAMES
    content = lite.read_bytes()
    changed = tmp_path / "m.tflite"
    changed.write_bytes(content.replace(b"a chair\n", b"a table\n"))
    assert changed.read_bytes() != content
    with pytest.raises(ValueError, match="damaged, or was changed"):
        load(changed)


# ONNX


def test_graphs_say_what_they_are(folder):
    graph = onnx.load(folder / "semseg.onnx", load_external_data=False)
    assert (graph.producer_name, graph.producer_version) == ("rc_keras", rc_keras.__version__)
    assert graph.model_version == 1 and [entry.domain for entry in graph.opset_import] == [""]
    together = onnx.load(folder / "all.onnx", load_external_data=False).graph
    assert [output.name for output in together.output] == ["semseg", "edge"]
    assert "classes: wall, floor" in graph.doc_string and "not normalized" in graph.graph.input[0].doc_string
    assert "logits" in graph.graph.output[0].doc_string
    inside = {entry.key: entry.value for entry in graph.metadata_props}[description.NAME]
    assert names_in(json.loads(inside)) == ["semseg"]


def test_free_sizes_have_names_and_graphs_are_the_same_again(model, tmp_path, monkeypatch):
    """Whatever order the converter's sets happen to have, and however far it has counted."""
    from tf2onnx import utils
    from tf2onnx.graph import Graph

    extract, files = Graph.extract_sub_graph_nodes, []
    for name, count, backwards in (("a", 1, False), ("b", 95, True)):
        order = functools.partial(sorted, key=lambda node: node.name, reverse=backwards)
        monkeypatch.setattr(Graph, "extract_sub_graph_nodes", lambda *a, order=order, **o: order(extract(*a, **o)))
        monkeypatch.setattr(utils, "INTERNAL_NAME", count)
        options = {"tasks": ["edge"], "image_shape": (None, None, 3), "batch_size": None}
        model.export(tmp_path / name, format="onnx", verbose=False, **options)
        files.append((tmp_path / name / "edge.onnx").read_bytes())
    assert files[0] == files[1]
    graph = onnx.load_model_from_string(files[0]).graph
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output)]
    assert shapes == [["batch", "height", "width", 3], ["batch", "edge_height", "edge_width", 1]]
    assert "any height and width" in read(tmp_path / "a" / "description.json")["input"]["fitting"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_version": 0}, "`model_version` must be a positive integer"),
        ({"license": " "}, "`license` must be a text"),
    ],
)
def test_wrong_options(model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        model.export(tmp_path / "m.tflite", **options)
