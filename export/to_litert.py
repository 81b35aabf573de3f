"""Export to LiteRT: one .tflite file, one signature a task, the bank in it once."""

import os
import tempfile

from rc_keras.export.graphs import concrete_functions
from rc_keras.export.job import ExportJob, check_target
from rc_keras.export.tflite_file import TFLiteFile
from rc_keras.whole_files import whole_file


def litert(
    model,
    path,
    tasks=None,
    mode="shared",
    image_shape=None,
    segmentation="logits",
    resolution="image",
    images=None,
    labels=None,
    overwrite=False,
    verbose=True,
):
    """Writes a `.tflite` file with one signature for each task; all signatures share the stored bank.

    A signature is named for its task. It takes `image`, float32 `(1, height, width, channels)` in 0..255, and returns,
    under the name of the task, `Task.activate` of the prediction: probabilities for edge and saliency, logits for
    segmentation and classification, unit vectors, metres. Norms and modulators are folded (see `fold`), bank kernels
    are stored once and bit for bit, and only LiteRT's own operators are used. The file is read back, run in the LiteRT
    interpreter and compared with the model before it appears under its name; beside it comes `<file>.report.json`.

    Example:

    >>> report = rc_keras.export.litert(model, "model.tflite")
    >>> interpreter = ai_edge_litert.interpreter.Interpreter("model.tflite")
    >>> interpreter.get_signature_runner("edge")(image=image)["edge"]

    Args:
        model: the `MultiTaskModel`.
        path: the file, ending in `.tflite`.
        tasks, mode, image_shape, segmentation, resolution, images, labels: see `ExportJob`.
        overwrite: whether a file of that name is replaced; otherwise that is an error.
        verbose: whether to print a line for each stage, and the report.

    Returns:
        The `ExportReport`.

    Raises:
        ImportError: without ai-edge-litert; names what to install.
        RuntimeError: if Keras does not run on TensorFlow, which the converter needs.
        ValueError: if an argument is not as described.
        OSError: if the file may not be written there.
        ExportError: if an output differs from the model's by more than 1e-4 of its range, or a bank kernel does not
            stand in the file exactly once.

    Whatever the error, nothing is left under the name, and what stood there before stays.
    """
    interpreter_class = _import_interpreter()
    job = ExportJob(
        model,
        tasks,
        mode=mode,
        image_shape=image_shape,
        segmentation=segmentation,
        resolution=resolution,
        images=images,
        labels=labels,
        verbose=verbose,
    )
    path = check_target(path, overwrite, ".tflite")
    job.fold()
    with job.stage("Converting to LiteRT"):
        content = _convert(job)
    with whole_file(path) as temporary:
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
    report.save()
    if verbose:
        print(report)
    return report


def _import_interpreter():
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError("Exporting to LiteRT needs ai-edge-litert: pip install rc_keras[litert]") from error
    return Interpreter


def _convert(job):
    """The content of a .tflite file with a signature for each folded task."""
    import tensorflow as tf

    module, functions = concrete_functions(job)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return converter.convert()
