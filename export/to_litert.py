"""Export to LiteRT: one .tflite file, one signature a task, the bank in it once."""

import contextlib
import importlib.metadata
import os
import tempfile
import time

import keras
import numpy as np

from rc_keras import first_batch
from rc_keras.export.fold import fold, in_float32
from rc_keras.export.report import ExportError, ExportReport, TaskReport
from rc_keras.export.tflite_file import TFLiteFile
from rc_keras.export.verify import compare, generate_images
from rc_keras.model import MultiTaskModel
from rc_keras.whole_files import whole_file


def litert(model, path, tasks=None, images=None, overwrite=False, verbose=True):
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
        tasks: names of the tasks to export; `None`: all.
        images: what the file is verified on, RGB in 0..255: an array `(n, height, width, channels)`, or a list of
            arrays `(height, width, channels)`. `None`: generated ones.
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
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Exporting needs Keras on TensorFlow: save the model, and load it where KERAS_BACKEND is 'tensorflow'. "
            f"Received: backend {keras.backend.backend()!r}"
        )
    if not isinstance(model, MultiTaskModel):
        raise ValueError(f"`model` must be a MultiTaskModel. Received: {type(model).__name__}")
    names = _check_tasks(model, tasks)
    images = generate_images(model.image_shape) if images is None else _check_images(images, model.image_shape)
    path = _check_path(path, overwrite)

    start = time.perf_counter()
    stage = _stages(verbose)
    with stage(f"Folding {', '.join(names)}"):
        bank = {}  # the convolutions that the folded branches share
        folded = {name: fold(model.branch(name), bank) for name in names}
    with stage("Converting to LiteRT"):
        content = _convert(model, folded)
    with whole_file(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(content)
        interpreter = interpreter_class(model_path=temporary, num_threads=os.cpu_count())
        differences = {}
        for name in names:
            with stage(f"Comparing {name} in the LiteRT interpreter"):
                differences[name] = compare(
                    _activated(model.task(name), in_float32(model.branch(name))),
                    _signature(interpreter, name),
                    images,
                )
        with stage("Reading the file back"):
            written = TFLiteFile(temporary)
            kernels = [keras.ops.convert_to_numpy(model.bank.convolutions[name].kernel) for name in bank]
            report = ExportReport(
                path=path,
                format="litert",
                tasks={
                    name: TaskReport(
                        difference=differences[name].absolute,
                        relative_difference=differences[name].relative,
                        passed=differences[name].passed,
                        shape=differences[name].shape,
                        bytes=_size(layer for layer in folded[name].layers if layer.name not in bank),
                        operators=written.operators[name],
                    )
                    for name in names
                },
                bank_bytes=_size(bank.values()),
                bank_kernels=len(kernels),
                bank_kernels_stored_once=sum(written.count_kernel(kernel) == 1 for kernel in kernels),
                bank_fingerprint=model.bank.fingerprint,
                file_bytes=written.bytes,
                seconds=time.perf_counter() - start,
                versions=_versions(),
            )
        if not report.passed:
            raise ExportError(_failure(report))
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


def _check_tasks(model, tasks):
    if tasks is None:
        return model.tasks
    if isinstance(tasks, str) or not tasks or len(set(tasks)) < len(tasks):
        raise ValueError(f"`tasks` must be a list of different task names, or None. Received: tasks={tasks!r}")
    return [model.task(name).name for name in tasks]


def _check_images(images, image_shape):
    images = [np.asarray(image)[None] for image in images]
    if not images:
        raise ValueError("`images` must hold at least one image. Received: none")
    for image in images:
        first_batch.check_images(image, image_shape)
    return [image.astype("float32") for image in images]


def _check_path(path, overwrite):
    path = os.path.abspath(os.fspath(path))
    if not path.endswith(".tflite"):
        raise ValueError(f"`path` must end in '.tflite'. Received: path={path!r}")
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"The folder of `path` must exist. Received: path={path!r}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"`path` must be a file. Received: path={path!r}, a folder")
    if os.path.exists(path) and not overwrite:
        raise FileExistsError(f"`path` must be free unless `overwrite=True`. Received: path={path!r}, which exists")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"The folder of `path` must be writable. Received: path={path!r}")
    return path


def _stages(verbose):
    """A function that makes a context for a named stage, which prints how long the stage took."""

    @contextlib.contextmanager
    def stage(name):
        start = time.perf_counter()
        yield
        if verbose:
            print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)

    return stage


def _convert(model, folded):
    """The content of a .tflite file with a signature for each folded branch."""
    import tensorflow as tf

    # Variables and functions alone are saved: Keras models, tracked, would be written a second time.
    module = tf.Module()
    layers = {id(layer): layer for branch in folded.values() for layer in branch.layers}
    module.weights = [variable.value for layer in layers.values() for variable in layer.weights]
    image = tf.TensorSpec((1, *model.image_shape), "float32", name="image")
    signatures = {}
    for name, branch in folded.items():

        def run(image, name=name, branch=branch):
            return {name: model.task(name).activate(branch(image, training=False))}

        signatures[name] = tf.function(run).get_concrete_function(image)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(folded))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return converter.convert()


def _activated(task, branch):
    return lambda image: keras.ops.convert_to_numpy(task.activate(branch(image, training=False)))


def _signature(interpreter, name):
    runner = interpreter.get_signature_runner(name)
    return lambda image: runner(image=image)[name]


def _failure(report):
    message = "The exported file must compute what the model computes, with the bank stored once; it was discarded."
    if report.bank_kernels_stored_once < report.bank_kernels:
        message += (
            " The converter multiplies a constant into the kernel behind it: let `keras.layers.Rescaling` scale the "
            "input of a shared convolution."
        )
    return f"{message}\n{report}"


def _size(layers):
    """Bytes of the weights of some layers."""
    return sum(4 * int(np.prod(variable.shape)) for layer in layers for variable in layer.weights)


def _versions():
    packages = ("rc_keras", "keras", "tensorflow", "ai-edge-litert")
    versions = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
