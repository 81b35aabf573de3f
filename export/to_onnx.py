"""Export to ONNX: a small graph for each task, and the bank in one file beside them."""

import collections
import os
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from rc_keras.base.keras_types import Tensor
from rc_keras.base.names import unknown_name
from rc_keras.export.file_digest import NAME as DIGEST
from rc_keras.export.file_digest import PLACEHOLDER, seal, sha256
from rc_keras.export.graphs import concrete_functions
from rc_keras.export.job import ExportJob, check_batch_size
from rc_keras.export.metadata import NAME, metadata, to_json
from rc_keras.export.onnx_folder import (
    BANK,
    check,
    check_bank,
    check_folder,
    graph_file,
    publish,
    weights_file,
)
from rc_keras.export.onnx_graph import onnx_graph
from rc_keras.export.onnx_int8 import quantize as quantize_to_int8
from rc_keras.export.onnx_precision import convert_kernel, halve_weights
from rc_keras.export.onnx_weights import lay_out, own_arrays, refer, references
from rc_keras.export.report import REPORT, ExportReport
from rc_keras.export.runtime.onnx import ONNXNetwork
from rc_keras.files.whole_folder import folder_lock, new_folder
from rc_keras.model import MultiTaskModel

if TYPE_CHECKING:
    from onnx import ModelProto

QUANTIZERS = ("float16", "int8")


def onnx(
    model: MultiTaskModel,
    directory: str | os.PathLike,
    tasks: Sequence[str] | None = None,
    mode: str = "shared",
    quantize: str | None = None,
    representative_data: Iterable[Any] | dict[str, Iterable[Any]] | None = None,
    image_shape: Sequence[int | None] | None = None,
    batch_size: int | None = 1,
    segmentation: str = "logits",
    resolution: str = "image",
    images: np.ndarray | Sequence[np.ndarray] | None = None,
    labels: Mapping[str, Sequence[Any]] | None = None,
    overwrite: bool = False,
    verbose: bool = True,
) -> ExportReport:
    """Writes a folder with an ONNX graph for each task; all graphs share the file with the bank.

    | file | content |
    | --- | --- |
    | `bank.bin` | the kernels that the tasks share, each once |
    | `<task>.onnx`, `<task>.bin` | the graph of a task, and its own weights |
    | `report.json` | the report of the last export |
    | `manifest.json` | the files, with lengths and digests: `runtime.load` names one that is missing |

    A graph takes `image`, float32 `(batch_size, height, width, channels)` in 0..255, and returns, under the name of the
    task, `Task.activate` of the prediction: probabilities for edge and saliency, logits for segmentation and
    classification, unit vectors, metres. Norms and modulators are folded (see `fold`). Graphs are of opset 17. They are
    run in onnxruntime and compared with the model before they appear under their names.

    Tasks can be exported, and shipped, one by one: with the same bank and settings, `bank.bin` is the same to the bit,
    and stays as it is where it is already. A task's two files, copied into a folder with its `bank.bin`, are a task of
    that folder, whatever its manifest says.

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

    Args:
        model: the `MultiTaskModel`.
        directory: the folder; its own folder must exist. Other tasks in it stay as they are.
        quantize: `None`, `"float16"` or `"int8"`.
        representative_data: for `"int8"`, images like those that the network will see, or `{task: images}`, see
            `check_representative_data`.
        batch_size: of the graphs' input; `None`: any.
        tasks, mode, image_shape, segmentation, resolution, images, labels: see `ExportJob`.
        overwrite: whether tasks that are in the folder already are replaced; otherwise that is an error.
        verbose: whether to print a line for each stage, and the report.

    Returns:
        The `ExportReport`.

    Raises:
        ImportError: without onnx, onnxruntime or tf2onnx; names what to install.
        RuntimeError: if Keras does not run on TensorFlow, which the converter needs.
        ValueError: if an argument is not as described, or other tasks in the folder have another bank or other
            settings.
        OSError: if the files may not be written there, or the disk is full.
        ExportError: if an output differs from the model's by more than the `TOLERANCES` of the precision allow, or a
            bank kernel does not stand in `bank.bin` exactly once for all tasks.

    Whatever the error, the folder stays as it was. The new folder takes the place of the old one in one step, see
    `rc_keras.files.whole_folder.switch`; other files in it are copied over.
    """
    folder = check(directory)
    checker = _import_packages()
    if quantize is not None and quantize not in QUANTIZERS:
        raise unknown_name("quantize", quantize, QUANTIZERS)
    check_batch_size(batch_size)
    job = ExportJob(
        model,
        tasks,
        mode=mode,
        precision=quantize or "float32",
        representative_data=representative_data,
        image_shape=image_shape,
        segmentation=segmentation,
        resolution=resolution,
        images=images,
        labels=labels,
        verbose=verbose,
    )
    with folder_lock(folder):
        check(folder, overwrite, list(job.tasks))
        report = _export(job, folder, batch_size, checker)
    if verbose:
        print(report)
    return report


def _export(job: ExportJob, folder: str, batch_size: int | None, checker: ModuleType) -> ExportReport:
    """Writes and verifies the files, and puts them into the folder."""
    description = metadata(job)
    staying = check_folder(folder, list(job.tasks), description)
    job.fold()
    with job.stage("Converting to ONNX"):
        graphs = _convert(job, batch_size)
    with new_folder(folder) as files:
        _write(job, graphs, files, description)
        shares = os.path.exists(os.path.join(files, BANK))
        keeps_bank = check_bank(folder, sha256(os.path.join(files, BANK)) if shares else None, staying)
        for name in job.tasks:
            checker.check_model(os.path.join(files, graph_file(name)))
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(files)}
        with ONNXNetwork(files, threads=os.cpu_count()) as network:
            report = job.report(
                folder,
                "onnx",
                "onnxruntime",
                lambda name, image: _run(network, name, image, batch_size),
                operators={name: _operators(graph) for name, graph in graphs.items()},
                stored_once=_stored_once(job, graphs, files),
                file_bytes=sum(sizes.values()),
                update_bytes={name: sizes[graph_file(name)] + sizes[weights_file(name)] for name in job.tasks},
                packages=["onnx", "onnxruntime", "tf2onnx"],
                notes=_notes(shares, keeps_bank, staying),
            )
        report.save(os.path.join(files, REPORT))
        publish(files, folder, list(job.tasks), keeps_bank, staying)
    return report


def _import_packages() -> ModuleType:
    try:
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401
        from onnx import checker
    except ImportError as error:
        raise ImportError(
            "Exporting to ONNX needs onnx, onnxruntime and tf2onnx: pip install rc_keras[onnx]"
        ) from error
    return checker


def _convert(job: ExportJob, batch_size: int | None) -> dict[str, "ModelProto"]:
    """`{task: onnx.ModelProto}` in the precision of the job, with the weights inside."""
    _, functions = concrete_functions(job, batch_size)
    graphs = {}
    for name, function in functions.items():
        graphs[name] = onnx_graph(function, name, job.folded[name].layers)
        if job.precision == "float16":
            halve_weights(graphs[name])
        elif job.precision == "int8":
            quantize_to_int8(graphs[name], job.calibration_images(name))
    return graphs


def _write(job: ExportJob, graphs: Mapping[str, "ModelProto"], files: str, description: Mapping[str, Any]) -> None:
    """Writes the weights, then the graphs that refer to them."""
    bank, places = lay_out(_bank_arrays({name: layer.kernel for name, layer in job.bank.items()}, job.precision))
    if bank:
        _write_file(files, BANK, bank)
    for name, graph in graphs.items():
        own, own_places = lay_out(own_arrays(graph, places))
        _write_file(files, weights_file(name), own)
        refer(graph, BANK, bank, places)
        refer(graph, weights_file(name), own, own_places)
        names = [weights_file(name)] + [BANK] * bool(references(graph, BANK))
        data = {
            **description,
            "tasks": {name: description["tasks"][name]},
            "files": {file: sha256(os.path.join(files, file)) for file in names},
        }
        graph.metadata_props.add(key=NAME, value=to_json(data).decode())
        graph.metadata_props.add(key=DIGEST, value=PLACEHOLDER)
        _write_file(files, graph_file(name), seal(graph.SerializeToString(deterministic=True)))


def _write_file(folder: str, name: str, content: bytes) -> None:
    with open(os.path.join(folder, name), "wb") as file:
        file.write(content)


def _bank_arrays(kernels: Mapping[str, Tensor], precision: str) -> dict[str, np.ndarray]:
    """`{name: array}` of what tasks share, kernels and their scales, from `{name of a layer: kernel}`."""
    arrays = {}
    for name, kernel in kernels.items():
        arrays[f"{name}/kernel"], scale = convert_kernel(keras.ops.convert_to_numpy(kernel), precision)
        if scale is not None:
            arrays[f"{name}/kernel_scale"] = scale
    return arrays


def _stored_once(job: ExportJob, graphs: Mapping[str, "ModelProto"], files: str) -> int:
    """How many kernels of the model's bank stand in `bank.bin` once, where all tasks look for them."""
    if not job.bank:
        return 0
    with open(os.path.join(files, BANK), "rb") as file:
        bank = file.read()
    places = [references(graph, BANK) for graph in graphs.values()]
    count = 0
    for name, kernel in job.kernels().items():
        arrays = _bank_arrays({name: kernel}, job.precision)
        read = {key: {entries.get(key, (0, 0)) for entries in places} for key in arrays}
        right = all(
            bank[offset : offset + length] == array.tobytes()
            for key, array in arrays.items()
            for offset, length in read[key]
        )
        count += right and all(map(len, read.values())) and bank.count(arrays[f"{name}/kernel"].tobytes()) == 1
    return count


def _operators(graph: "ModelProto") -> dict[str, int]:
    return dict(sorted(collections.Counter(node.op_type for node in graph.graph.node).items()))


def _run(network: ONNXNetwork, name: str, image: np.ndarray, batch_size: int | None) -> np.ndarray:
    """The last answer of a batch of the image: of two, where any number is allowed."""
    return network.run(np.repeat(image, batch_size or 2, axis=0), name)[-1:]


def _notes(shares: bool, keeps_bank: bool, staying: Sequence[str]) -> list[str]:
    notes = []
    if staying:
        notes.append(f"Other tasks in the folder stay as they are: {', '.join(staying)}.")
    if keeps_bank:
        notes.append(f"The {BANK} in the folder is the same to the bit, and stays.")
    elif shares:
        notes.append(f"Ship {BANK} once; a task later is its own two files.")
    return notes
