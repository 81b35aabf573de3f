"""Export to LiteRT: one .tflite file, one signature a task, the bank in it once."""

import contextlib
import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rc_keras.export.folding.folded_network import ALL, FoldedNetwork
from rc_keras.export.folding.graphs import concrete_functions
from rc_keras.export.folding.padding_taps import without_padding_taps
from rc_keras.export.formats import description, file_digest
from rc_keras.export.formats.format import Format, Written
from rc_keras.export.formats.metadata import NAME, to_json
from rc_keras.export.formats.tflite import standard_metadata
from rc_keras.export.formats.tflite.delegate import operators_outside
from rc_keras.export.formats.tflite.file import TFLiteFile, signature_bytes
from rc_keras.export.formats.tflite.integer_forms import with_integer_forms
from rc_keras.export.formats.tflite.packing import repack
from rc_keras.export.formats.tflite.runtime import LiteRTNetwork
from rc_keras.export.report import ExportError

if TYPE_CHECKING:
    import tensorflow as tf


class LiteRT(Format):
    """Writes a `.tflite` file with one signature for each task; all signatures share the stored bank.

    A signature is named for its task. It takes `image`, float32 `(1, height, width, channels)` in 0..255, and returns,
    under the name of the task, `Task.activate` of the prediction: probabilities for edge and saliency, logits for
    segmentation and classification, unit vectors, metres. Norms and modulators are folded (see `fold`), bank kernels
    are stored once and bit for bit, and only LiteRT's own operators are used. The file is read back, run in the LiteRT
    interpreter and compared with the model before it appears under its name; beside it come `<file>.report.json` and
    `<file>.description.json`, which says what the file takes and answers, see `rc_keras.export.formats.description`.
    The same stands in the file, also as TFLite's standard metadata, with the names of classes in a zip behind it all.
    Signatures and subgraphs come in the order of the tasks: a client without signatures runs the first task.

    Weights, and activations, can be stored with fewer bits; input and output stay float32:

    | `quantize` | weights | activations | file |
    | --- | --- | --- | --- |
    | `None` | float32, bit for bit | float32 | 1 |
    | `"float16"` | float16 | float32 | 1/2 |
    | `"dynamic_int8"` | int8, a scale for each output channel | float32, int8 inside convolutions | 1/4 |
    | `"int8"` | int8, a scale for each output channel | int8, ranges from `representative_data` | 1/4 |

    Bank kernels are rounded alike for all tasks, and stay stored once. The report counts, for each task, the operators
    that do not run in XNNPACK, LiteRT's delegate for CPUs: in `"int8"` the one that makes vectors unit vectors.

    With `joint` there is a signature `all` besides, from `image` to the answers of all tasks, on the same weights.
    LiteRT keeps activations, and its `Interpreter` packed weights, for each signature that is run: run `all` or the
    others.

    Example:

    >>> report = rc_keras.export.litert(model, "model.tflite")
    >>> with rc_keras.export.runtime.load("model.tflite") as network:
    ...     edges = network.run(image, "edge")
    """

    name = "litert"
    keyword = "litert"
    title = "LiteRT"
    summary = "one `.tflite` file with a signature for each task"
    looks = "a .tflite file"
    suffix = ".tflite"
    quantizers = ("float16", "dynamic_int8", "int8")
    unknown_options = ("batch_size",)
    packages = {"ai-edge-litert": "ai_edge_litert.interpreter"}
    extra = "litert"
    runs_in = "the LiteRT interpreter"
    writing = "Converting to LiteRT"
    reading = "Reading the file back"

    def prepare(self, network: FoldedNetwork) -> FoldedNetwork:
        """Without what dilated kernels multiply with padding, which LiteRT does not leave out by itself.

        Integers stay whole: they gain little, and sums of rounded parts are further off.
        """
        return network if "int8" in network.precision else without_padding_taps(network)

    def convert(self, network: FoldedNetwork) -> bytes:
        """The content of the file."""
        if network.precision == "int8":
            models = {name: with_integer_forms(model) for name, model in network.models.items()}
            network = dataclasses.replace(network, models=models)
        about = network.self_description
        entries = {
            NAME: to_json(network.description),
            description.NAME: to_json(about),
            standard_metadata.NAME: standard_metadata.standard_metadata(about),
            file_digest.NAME: file_digest.PLACEHOLDER.encode(),
        }
        signatures = {name: [name] for name in network.models} | ({ALL: list(network.models)} if network.joint else {})
        content = repack(_convert(network), entries, signatures)
        return file_digest.seal(standard_metadata.with_label_files(content, about))

    def write(self, converted: bytes, network: FoldedNetwork, path: str) -> None:
        with open(path, "wb") as file:
            file.write(converted)

    @contextlib.contextmanager
    def read(self, converted: bytes, network: FoldedNetwork, path: str, target: str) -> Iterator[Written]:
        from ai_edge_litert.interpreter import Interpreter

        outside = {} if None in network.image_shape else operators_outside(path, network.models)
        interpreter = Interpreter(model_path=path, num_threads=os.cpu_count())
        file = TFLiteFile(path)
        yield Written(
            run=lambda name, image: interpreter.get_signature_runner(name)(image=image)[name],
            operators=file.operators,
            stored_once=sum(file.count_kernel(k, network.users(name)) == 1 for name, k in network.kernels.items()),
            file_bytes=file.bytes,
            update_bytes=dict.fromkeys(network.models, file.bytes),
            notes=("A .tflite file is one whole: any update ships all of it.",),
            run_all=(lambda image: interpreter.get_signature_runner(ALL)(image=image)) if network.joint else None,
            joint_bytes=signature_bytes(path, ALL) if network.joint else 0,
            operators_outside_delegate=outside,
        )

    def recognizes(self, path: pathlib.Path) -> bool:
        return path.is_file() and path.suffix == self.suffix

    def open(self, path: pathlib.Path, threads: int | None = None, **options: Any) -> LiteRTNetwork:
        return LiteRTNetwork(path, threads=threads, **options)


def _convert(network: FoldedNetwork) -> bytes:
    """The content of a .tflite file with a signature for each folded task."""
    import tensorflow as tf

    module, functions = concrete_functions(network)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        _quantize(converter, network)
        try:
            return converter.convert()
        except (MemoryError, OSError):
            raise
        except Exception as error:  # the converter's own, whose class is not public
            raise ExportError(f"LiteRT's converter must know every operation of the model. It says: {error}") from error


def _quantize(converter: "tf.lite.TFLiteConverter", network: FoldedNetwork) -> None:
    """Tells the converter the precision. It rounds a kernel by its values alone, so the bank stays shared."""
    import tensorflow as tf

    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if network.precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if network.precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if network.precision == "int8":
        # What has no integer form stays in float32.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.representative_dataset = lambda: (
            (name, {"image": image}) for name in network.calibration for image in network.calibration_images(name)
        )
