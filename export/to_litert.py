"""Export to LiteRT: one .tflite file, one signature a task, the bank in it once."""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rc_keras.base.names import unknown_name
from rc_keras.export import file_digest
from rc_keras.export.graphs import concrete_functions
from rc_keras.export.job import ExportJob
from rc_keras.export.metadata import NAME, metadata, to_json
from rc_keras.export.report import ExportError, ExportReport
from rc_keras.export.target import check_target
from rc_keras.export.tflite_file import TFLiteFile
from rc_keras.export.tflite_normalization import with_l2_normalization
from rc_keras.export.tflite_packing import repack
from rc_keras.files.whole_files import whole_file
from rc_keras.model import MultiTaskModel

if TYPE_CHECKING:
    import tensorflow as tf

QUANTIZERS = ("float16", "dynamic_int8", "int8")


def litert(
    model: MultiTaskModel,
    path: str | os.PathLike,
    tasks: Sequence[str] | None = None,
    mode: str = "shared",
    quantize: str | None = None,
    representative_data: Iterable[Any] | dict[str, Iterable[Any]] | None = None,
    image_shape: Sequence[int | None] | None = None,
    segmentation: str = "logits",
    resolution: str = "image",
    images: np.ndarray | Sequence[np.ndarray] | None = None,
    labels: Mapping[str, Sequence[Any]] | None = None,
    overwrite: bool = False,
    verbose: bool = True,
) -> ExportReport:
    """Writes a `.tflite` file with one signature for each task; all signatures share the stored bank.

    A signature is named for its task. It takes `image`, float32 `(1, height, width, channels)` in 0..255, and returns,
    under the name of the task, `Task.activate` of the prediction: probabilities for edge and saliency, logits for
    segmentation and classification, unit vectors, metres. Norms and modulators are folded (see `fold`), bank kernels
    are stored once and bit for bit, and only LiteRT's own operators are used. The file is read back, run in the LiteRT
    interpreter and compared with the model before it appears under its name; beside it comes `<file>.report.json`.
    What the file holds is written in it too, see `rc_keras.export.metadata` and `runtime.load`.

    Weights, and activations, can be stored with fewer bits; input and output stay float32:

    | `quantize` | weights | activations | file |
    | --- | --- | --- | --- |
    | `None` | float32, bit for bit | float32 | 1 |
    | `"float16"` | float16 | float32 | 1/2 |
    | `"dynamic_int8"` | int8, a scale for each output channel | float32, int8 inside convolutions | 1/4 |
    | `"int8"` | int8, a scale for each output channel | int8, ranges from `representative_data` | 1/4 |

    Bank kernels are rounded alike for all tasks, and stay stored once.

    Example:

    >>> report = rc_keras.export.litert(model, "model.tflite")
    >>> with rc_keras.export.runtime.load("model.tflite") as network:
    ...     edges = network.run(image, "edge")

    Args:
        model: the `MultiTaskModel`.
        path: the file, ending in `.tflite`.
        quantize: `None`, `"float16"`, `"dynamic_int8"` or `"int8"`.
        representative_data: for `"int8"`, images like those that the network will see, or `{task: images}`, see
            `check_representative_data`.
        tasks, mode, image_shape, segmentation, resolution, images, labels: see `ExportJob`.
        overwrite: whether a file of that name is replaced; otherwise that is an error.
        verbose: whether to print a line for each stage, and the report.

    Returns:
        The `ExportReport`.

    Raises:
        ImportError: without ai-edge-litert; names what to install.
        RuntimeError: if Keras does not run on TensorFlow, which the converter needs.
        ValueError: if an argument is not as described.
        OSError: if the file may not be written there, or the disk is full.
        ExportError: if the converter does not know an operation, an output differs from the model's by more than the
            `TOLERANCES` of the precision allow, or a bank kernel does not stand in the file exactly once for all
            signatures.

    Whatever the error, nothing is left under the name, and what stood there before stays.
    """
    path = check(path, overwrite)
    interpreter_class = _import_interpreter()
    if quantize is not None and quantize not in QUANTIZERS:
        raise unknown_name("quantize", quantize, QUANTIZERS)
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
    job.fold()
    if quantize == "int8":
        job.folded = {name: with_l2_normalization(folded) for name, folded in job.folded.items()}
    with job.stage("Converting to LiteRT"):
        entries = {NAME: to_json(metadata(job)), file_digest.NAME: file_digest.PLACEHOLDER.encode()}
        content = file_digest.seal(repack(_convert(job), entries))
    # Both are written before either has its name, which the file gets first, and then the report of it.
    with whole_file(f"{path}.report.json") as report_file, whole_file(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(content)
        interpreter = interpreter_class(model_path=temporary, num_threads=os.cpu_count())
        with job.stage("Reading the file back"):
            written = TFLiteFile(temporary)
        report = job.report(
            path,
            "litert",
            "the LiteRT interpreter",
            lambda name, image: interpreter.get_signature_runner(name)(image=image)[name],
            operators=written.operators,
            stored_once=sum(written.count_kernel(kernel) == 1 for kernel in job.kernels().values()),
            file_bytes=written.bytes,
            update_bytes={name: written.bytes for name in job.tasks},
            packages=["ai-edge-litert"],
            notes=["A .tflite file is one whole: any update ships all of it."],
        )
        report.save(report_file)
    if verbose:
        print(report)
    return report


def check(path: str | os.PathLike, overwrite: bool = False, tasks: list[str] | None = None) -> str:
    """Checks the target of `litert` before there is a model, see `check_target`; returns the absolute path."""
    return check_target(path, overwrite, ".tflite")


def _import_interpreter() -> type:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError("Exporting to LiteRT needs ai-edge-litert: pip install rc_keras[litert]") from error
    return Interpreter


def _convert(job: ExportJob) -> bytes:
    """The content of a .tflite file with a signature for each folded task."""
    import tensorflow as tf

    module, functions = concrete_functions(job)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        _quantize(converter, job)
        try:
            return converter.convert()
        except (MemoryError, OSError):
            raise
        except Exception as error:  # the converter's own, whose class is not public
            raise ExportError(f"LiteRT's converter must know every operation of the model. It says: {error}") from error


def _quantize(converter: "tf.lite.TFLiteConverter", job: ExportJob) -> None:
    """Tells the converter the precision. It rounds a kernel by its values alone, so the bank stays shared."""
    import tensorflow as tf

    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if job.precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if job.precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if job.precision == "int8":
        # What has no integer form stays in float32.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.representative_dataset = lambda: (
            (name, {"image": image}) for name in job.tasks for image in job.calibration_images(name)
        )
