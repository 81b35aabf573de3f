"""Export to ONNX: a small graph for each task, and the bank in one file beside them."""

import collections
import contextlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from rc_keras.export.folding.folded_network import ALL, FoldedNetwork
from rc_keras.export.folding.graphs import answers, image_spec
from rc_keras.export.formats.file_digest import NAME as DIGEST
from rc_keras.export.formats.file_digest import PLACEHOLDER, seal, sha256
from rc_keras.export.formats.format import Format, Written
from rc_keras.export.formats.metadata import NAME, to_json
from rc_keras.export.formats.onnx.folder import (
    BANK,
    check,
    check_bank,
    check_folder,
    graph_file,
    keeps_joint,
    publish,
    read_joint,
    weights_file,
)
from rc_keras.export.formats.onnx.graph import onnx_graph
from rc_keras.export.formats.onnx.int8 import quantize as quantize_to_int8
from rc_keras.export.formats.onnx.pooled_padding import keep_padding
from rc_keras.export.formats.onnx.precision import convert_kernel, halve_weights
from rc_keras.export.formats.onnx.refusals import reported
from rc_keras.export.formats.onnx.runtime import ONNXNetwork
from rc_keras.export.formats.onnx.self_description import describe_graph
from rc_keras.export.formats.onnx.weights import digest, lay_out, own_arrays, refer, refer_by_content, references

if TYPE_CHECKING:
    from onnx import ModelProto


class ONNX(Format):
    """Writes a folder with an ONNX graph for each task; all graphs share the file with the bank.

    | file | content |
    | --- | --- |
    | `bank.bin` | the kernels that the tasks share, each once |
    | `<task>.onnx`, `<task>.bin` | the graph of a task, and its own weights |
    | `all.onnx` | with `joint`, the graph of all tasks of one export, on the same weights |
    | `description.json` | what all graphs take and answer, see `rc_keras.export.formats.description` |
    | `report.json` | the report of the last export |
    | `manifest.json` | the files, with lengths and digests: `runtime.load` names one that is missing |

    A graph takes `image`, float32 `(batch_size, height, width, channels)` in 0..255, and returns, under the name of the
    task, `Task.activate` of the prediction: probabilities for edge and saliency, logits for segmentation and
    classification, unit vectors, metres. Norms and modulators are folded (see `fold`). Graphs are of opset 17. They are
    run in onnxruntime and compared with the model before they appear under their names.

    Tasks can be exported, and shipped, one by one: with the same bank and settings, `bank.bin` is the same to the bit,
    and stays as it is where it is already. A task's two files, copied into a folder with its `bank.bin`, are a task of
    that folder, whatever its manifest says.

    Other tasks and files in the folder stay as they are; `overwrite` is about the tasks that are exported again. The
    new folder takes the place of the old one in one step, see `rc_keras.files.whole_folder.switch`.

    `all.onnx` computes once what its tasks have in common. It goes when one of them is exported again without it; where
    a task's files were exchanged for others, `runtime.load` does not use it.

    Weights, and activations, can be stored with fewer bits; input and output stay float32:

    | `quantize` | weights | activations | files |
    | --- | --- | --- | --- |
    | `None` | float32, bit for bit | float32 | 1 |
    | `"float16"` | float16, made float32 when loaded | float32 | 1/2 |
    | `"int8"` | eight bits, a scale for each output channel | eight bits, ranges from `representative_data` | 1/4 |

    Example:

    >>> report = rc_keras.export.onnx(model, "model_onnx")
    >>> with rc_keras.export.runtime.load("model_onnx") as network:
    ...     edges = network.run(image, "edge")
    >>> model.add_task("depth")  # and train it
    >>> rc_keras.export.onnx(model, "model_onnx", tasks=["depth"])  # adds depth.onnx and depth.bin
    """

    name = "onnx"
    keyword = "onnx"
    title = "ONNX"
    summary = "a folder with a graph for each task, and the bank in one file beside them"
    looks = "a folder with .onnx files"
    part_suffix = ".onnx"
    part = "a graph for each task"
    quantizers = ("float16", "int8")
    packages = {name: name for name in ("onnx", "onnxruntime", "tf2onnx")}
    extra = "onnx"
    runs_in = "onnxruntime"
    writing = "Converting to ONNX"

    def check_target(self, path: str | os.PathLike, overwrite: bool = False, tasks: list[str] | None = None) -> str:
        """A folder that is there may hold other tasks: what may not be there are the tasks to write."""
        return check(path, overwrite, tasks)

    def check_fits(self, path: str, description: dict[str, Any]) -> None:
        check_folder(path, list(description["tasks"]), description)

    def convert(self, network: FoldedNetwork) -> Iterator[tuple[str, "ModelProto"]]:
        """Yields `(task, onnx.ModelProto)` in the precision of the network, with the weights inside; `"all"` last.

        Graphs are made one at a time: `write` lets go of one before it asks for the next.
        """
        for name, run in answers(network):
            tasks = list(network.models) if name == ALL else [name]
            layers = [layer for task in tasks for layer in network.models[task].layers]
            graph = onnx_graph(run, image_spec(network), name, layers, tasks)
            keep_padding(graph.graph)
            if network.precision == "float16":
                halve_weights(graph)
            elif network.precision == "int8":
                quantize_to_int8(graph, network.calibration_images(name))
            yield name, graph
            del graph

    def write(self, converted: Iterable[tuple[str, "ModelProto"]], network: FoldedNetwork, path: str) -> None:
        _write(network, converted, path)

    @contextlib.contextmanager
    def read(
        self, converted: Iterable[tuple[str, "ModelProto"]], network: FoldedNetwork, path: str, target: str
    ) -> Iterator[Written]:
        import onnx

        tasks = list(network.models)
        staying = check_folder(target, tasks, network.description)
        keeps_bank = check_bank(path, target, staying)
        graphs = {}
        for name in tasks + [ALL] * network.joint:
            file = os.path.join(path, graph_file(name))
            onnx.checker.check_model(file)
            graphs[name] = onnx.load(file, load_external_data=False)
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(path)}
        with ONNXNetwork(path, threads=os.cpu_count()) as opened:
            yield Written(
                run=lambda name, image: _run(opened, name, image, network.batch_size),
                operators={name: _operators(graph) for name, graph in graphs.items()},
                stored_once=_stored_once(network, graphs, path),
                file_bytes=sum(sizes.values()),
                update_bytes={name: sizes[graph_file(name)] + sizes[weights_file(name)] for name in tasks},
                notes=(*_notes(BANK in sizes, keeps_bank, staying), *_notes_of_all(path, target, tasks)),
                run_all=(lambda image: _run_all(opened, image, network.batch_size)) if network.joint else None,
                joint_bytes=sizes.get(graph_file(ALL), 0),
            )

    def publish(self, tasks: list[str], path: str, target: str) -> None:
        publish(path, target, tasks)

    def place(self, task: str) -> dict[str, str | None]:
        return {"signature": None, "file": graph_file(task)}

    def recognizes(self, path: pathlib.Path) -> bool:
        return path.is_dir() and any(path.glob("*.onnx"))

    def open(self, path: pathlib.Path, threads: int | None = None, **options: Any) -> ONNXNetwork:
        return ONNXNetwork(path, threads=threads, **options)


def _write(network: FoldedNetwork, graphs: Iterable[tuple[str, "ModelProto"]], files: str) -> None:
    """Writes the weights, then the graphs that refer to them."""
    description = network.description
    kernels = {name: keras.ops.convert_to_numpy(network.bank[name].kernel) for name in network.kernels}
    bank, places = lay_out(_bank_arrays(kernels, network.precision))
    if bank:
        _write_file(files, BANK, bank)
    stored: dict[bytes, tuple[str, tuple[int, int]]] = {}  # where the tasks' own stand, by digest
    for name, graph in graphs:  # that of all tasks is the last
        refer(graph, BANK, bank, places)
        if name == ALL:
            refer_by_content(graph, stored)
        else:
            file = weights_file(name)
            own, own_places = lay_out(own_arrays(graph, places))
            _write_file(files, file, own)
            refer(graph, file, own, own_places)
            for place in own_places.values() if network.joint else ():
                stored.setdefault(digest(own[place[0] : sum(place)]), (file, place))
            del own
        tasks = list(network.models) if name == ALL else [name]
        names = [weights_file(task) for task in tasks] + [BANK] * bool(references(graph, BANK))
        if name == ALL:
            names += [graph_file(task) for task in tasks]  # where small weights are: all of them must be these tasks'
        data = {
            **description,
            "tasks": {task: description["tasks"][task] for task in tasks},
            "files": {file: sha256(os.path.join(files, file)) for file in names},
        }
        describe_graph(graph, network.self_description, tasks)
        graph.metadata_props.add(key=NAME, value=to_json(data).decode())
        graph.metadata_props.add(key=DIGEST, value=PLACEHOLDER)
        _write_file(files, graph_file(name), seal(graph.SerializeToString(deterministic=True)))
        del graph


def _write_file(folder: str, name: str, content: bytes | bytearray) -> None:
    with open(os.path.join(folder, name), "wb") as file:
        file.write(content)


def _bank_arrays(kernels: Mapping[str, np.ndarray], precision: str) -> dict[str, np.ndarray]:
    """`{name: array}` of what tasks share, kernels and their scales, from `{name of a layer: kernel}`."""
    arrays = {}
    for name, kernel in kernels.items():
        arrays[f"{name}/kernel"], scale = convert_kernel(kernel, precision)
        if scale is not None:
            arrays[f"{name}/kernel_scale"] = scale
    return arrays


def _stored_once(network: FoldedNetwork, graphs: Mapping[str, "ModelProto"], files: str) -> int:
    """How many kernels of the model's bank stand in `bank.bin` once, where all tasks look for them."""
    if not network.kernels:
        return 0
    with open(os.path.join(files, BANK), "rb") as file:
        bank = file.read()
    places = {task: references(graph, BANK) for task, graph in graphs.items()}
    count = 0
    for name, kernel in network.kernels.items():
        arrays = _bank_arrays({name: kernel}, network.precision)
        read = {key: {places[task].get(key, (0, 0)) for task in network.users(name)} for key in arrays}
        right = all(
            bank[offset : offset + length] == array.tobytes()
            for key, array in arrays.items()
            for offset, length in read[key]
        )
        count += right and all(map(len, read.values())) and bank.count(arrays[f"{name}/kernel"].tobytes()) == 1
    return count


def _operators(graph: "ModelProto") -> dict[str, int]:
    return dict(sorted(collections.Counter(node.op_type for node in graph.graph.node).items()))


def _run(opened: ONNXNetwork, name: str, image: np.ndarray, batch_size: int | None) -> np.ndarray:
    """The last answer of a batch of the image: of two, where any number is allowed."""
    with reported():
        return opened.run(np.repeat(image, batch_size or 2, axis=0), name)[-1:]


def _run_all(opened: ONNXNetwork, image: np.ndarray, batch_size: int | None) -> dict[str, np.ndarray]:
    """As `_run`, of all tasks."""
    with reported():
        answers = opened.run(np.repeat(image, batch_size or 2, axis=0))
    return {name: answer[-1:] for name, answer in answers.items()}


def _notes_of_all(path: str, target: str, tasks: Sequence[str]) -> tuple[str, ...]:
    if not os.path.isdir(target) or keeps_joint(path, target, tasks) or not read_joint(target):
        return ()
    if graph_file(ALL) in os.listdir(path):
        return ()
    return (f"{graph_file(ALL)} in the folder goes: tasks of it were exported again, without `joint`.",)


def _notes(shares: bool, keeps_bank: bool, staying: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if staying:
        notes.append(f"Other tasks in the folder stay as they are: {', '.join(staying)}.")
    if keeps_bank:
        notes.append(f"The {BANK} in the folder is the same to the bit, and stays.")
    elif shares:
        notes.append(f"Ship {BANK} once; a task later is its own two files.")
    return tuple(notes)
