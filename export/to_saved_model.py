"""Export to SavedModel: a signature for each task and one for all, the bank in it once."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rc_keras.base.keras_types import Tensor
from rc_keras.export.graphs import concrete_functions
from rc_keras.export.job import ExportJob, check_batch_size
from rc_keras.export.metadata import metadata, to_json
from rc_keras.export.report import REPORT, ExportError, ExportReport
from rc_keras.export.target import check_target
from rc_keras.files import manifest
from rc_keras.files.whole_files import write_whole
from rc_keras.files.whole_folder import folder_lock, new_folder, switch
from rc_keras.model import MultiTaskModel

if TYPE_CHECKING:
    import tensorflow as tf

METADATA = os.path.join("assets.extra", "rc_keras.json")
ALL = "all"


def saved_model(
    model: MultiTaskModel,
    directory: str | os.PathLike,
    tasks: Sequence[str] | None = None,
    mode: str = "shared",
    image_shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    segmentation: str = "logits",
    resolution: str = "image",
    images: np.ndarray | Sequence[np.ndarray] | None = None,
    labels: Mapping[str, Sequence[Any]] | None = None,
    overwrite: bool = False,
    verbose: bool = True,
) -> ExportReport:
    """Writes a SavedModel with one signature for each task, and `all` for all of them; all share the stored bank.

    A signature takes `image`, float32 `(batch_size, height, width, channels)` in 0..255, and returns `Task.activate` of
    the prediction under the name of the task. Plain TensorFlow runs it, without Keras or this package. The folder is
    read back and compared with the model before it appears under its name, in one step also where another one is
    replaced (see `rc_keras.files.whole_folder.switch`); `report.json`, `manifest.json`, the files with their digests,
    and `assets.extra/rc_keras.json`, what it says about itself, stand inside.

    Example:

    >>> rc_keras.export.saved_model(model, "model")
    >>> tf.saved_model.load("model").signatures["edge"](image=image)["edge"]

    Args:
        model: the `MultiTaskModel`.
        directory: the folder to make.
        tasks, mode, image_shape, segmentation, resolution, images, labels, verbose: see `ExportJob`.
        batch_size: of the input; `None`: free.
        overwrite: whether an export of that name is replaced; otherwise that is an error.

    Returns:
        The `ExportReport`.

    Raises:
        RuntimeError, ValueError: see `ExportJob`.
        OSError: if the folder may not be written there, or the disk is full.
        ExportError: if an output differs from the model's by more than 1e-4 of its range, or a bank kernel is not
            stored exactly once.

    Whatever the error, nothing is left under the name, and what stood there before stays.
    """
    directory = check(directory, overwrite)
    check_batch_size(batch_size)
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
    with folder_lock(directory):
        check(directory, overwrite)  # another writer may have made it since
        job.fold()
        report = _export(job, directory, batch_size)
    if verbose:
        print(report)
    return report


def check(directory: str | os.PathLike, overwrite: bool = False, tasks: list[str] | None = None) -> str:
    """Checks the target of `saved_model` before there is a model, see `check_target`; returns the absolute path."""
    path = check_target(directory, overwrite)
    if os.path.isdir(path) and os.listdir(path) and not os.path.exists(os.path.join(path, METADATA)):
        raise FileExistsError(
            "`directory` must be free, or hold an export of this package that is replaced. Received: "
            f"directory={path!r}, with other files"
        )
    return path


def _export(job: ExportJob, directory: str, batch_size: int | None) -> ExportReport:
    """Writes and verifies the folder, and puts it under its name."""
    with new_folder(directory) as temporary:
        with job.stage("Writing the SavedModel"):
            operators = _write(job, temporary, batch_size)
        with job.stage("Reading it back"):
            import tensorflow as tf

            loaded = tf.saved_model.load(temporary)
            stored = _stored_arrays(temporary)
            kernels = job.kernels().values()
        size = _folder_size(temporary)
        report = job.report(
            directory,
            "saved_model",
            "TensorFlow",
            lambda name, image: _run(loaded.signatures[name], name, image, batch_size),
            operators=operators,
            stored_once=sum(sum(_same(kernel, array) for array in stored) == 1 for kernel in kernels),
            file_bytes=size,
            update_bytes=dict.fromkeys(job.tasks, size),
            packages=[],
            notes=["A SavedModel is one whole: any update ships all of it."],
        )
        _check_all(loaded.signatures, job, batch_size)
        files = manifest.of_folder(temporary)
        report.save(os.path.join(temporary, REPORT))
        write_whole(os.path.join(temporary, manifest.NAME), manifest.to_json(files))
        switch(temporary, directory)
    return report


def _write(job: ExportJob, folder: str, batch_size: int | None) -> dict[str, dict[str, int]]:
    """Saves the signatures; returns `{task: {operator: count}}`."""
    import tensorflow as tf

    module, functions = concrete_functions(job, batch_size)
    operators = {name: _count_operators(function.graph) for name, function in functions.items()}
    image = tf.TensorSpec((batch_size, *job.image_shape), "float32", name="image")

    def run_all(image: Tensor) -> dict[str, Tensor]:
        return {name: function(image=image)[name] for name, function in functions.items()}

    signatures = {**functions, ALL: tf.function(run_all).get_concrete_function(image)}
    try:
        tf.saved_model.save(module, folder, signatures=signatures)
    except tf.errors.OpError as error:  # TensorFlow's way to say that a disk is full or a folder gone
        raise OSError(f"The SavedModel must be writable. Received: {error.message}") from error
    path = os.path.join(folder, METADATA)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(to_json(metadata(job)))
    return operators


def _run(
    signature: Callable[..., dict[str, Tensor]], name: str, image: np.ndarray, batch_size: int | None
) -> np.ndarray:
    """The last answer of a batch of the image: of two, where any number is allowed."""
    import tensorflow as tf

    return signature(image=tf.constant(np.repeat(image, batch_size or 2, axis=0)))[name].numpy()[-1:]


def _check_all(
    signatures: Mapping[str, Callable[..., dict[str, Tensor]]], job: ExportJob, batch_size: int | None
) -> None:
    """Compares the signature of all tasks with theirs."""
    for name, images in job.compared_images.items():
        one, together = (_run(signatures[key], name, images[0], batch_size) for key in (name, ALL))
        if one.shape != together.shape or not np.allclose(one, together, rtol=1e-4, atol=1e-4 * np.ptp(one)):
            raise ExportError(f"The signature {ALL!r} must answer what that of {name!r} does; the file was discarded.")


def _count_operators(graph: "tf.Graph") -> dict[str, int]:
    counts: dict[str, int] = {}
    for operation in graph.get_operations():
        if operation.type not in ("Const", "Identity", "NoOp", "Placeholder", "ReadVariableOp"):
            counts[operation.type] = counts.get(operation.type, 0) + 1
    return dict(sorted(counts.items()))


def _stored_arrays(folder: str) -> list[np.ndarray]:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(os.path.join(folder, "variables", "variables"))
    names = [name for name, shape in reader.get_variable_to_shape_map().items() if len(shape) == 4]
    return [reader.get_tensor(name) for name in names]


def _same(kernel: np.ndarray, array: np.ndarray) -> bool:
    return kernel.shape == array.shape and np.array_equal(kernel, array)


def _folder_size(folder: str) -> int:
    return sum(os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(folder) for name in names)
