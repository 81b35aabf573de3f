"""First stage: whether what is asked for can be done, before any work."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from rc_keras.base.names import unknown_name
from rc_keras.export.folding.endpoint import RESOLUTIONS, SEGMENTATIONS
from rc_keras.export.formats.format import Format
from rc_keras.export.formats.metadata import metadata
from rc_keras.export.images.generated import generate_images
from rc_keras.export.images.representative_data import check_representative_data
from rc_keras.export.options import MODES, ExportOptions
from rc_keras.network.multi_task_network import MultiTaskNetwork
from rc_keras.tasks.task import Task
from rc_keras.training import first_batch


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be exported, checked.

    Attributes:
        model: the `MultiTaskModel`.
        tasks: `{name: Task}` of the tasks to export.
        options: as given.
        image_shape: `(height, width, channels)` of the input, `None` where free.
        images: `{task: float32 arrays (1, height, width, channels)}`, to compare the file with the model on.
        labels: `{task: labels of its images}`, empty where there are none.
        calibration: see `check_representative_data`.
        compares_calibration: whether the images to compare on are some of those to calibrate on.
        description: what the file says about itself, see `metadata`.
    """

    model: MultiTaskNetwork
    tasks: dict[str, Task]
    options: ExportOptions
    image_shape: tuple[int | None, ...]
    images: dict[str, list[np.ndarray]]
    labels: Mapping[str, Sequence[Any]]
    calibration: dict[str, list[np.ndarray]]
    compares_calibration: bool
    description: dict[str, Any]


def check_request(format: Format, model: MultiTaskNetwork, options: ExportOptions) -> Request:
    """Checks the options of an export.

    Raises:
        RuntimeError: if Keras does not run on TensorFlow, which the converters need.
        ValueError: if an option is not as `ExportOptions` says, or the format does not know the precision.
    """
    if options.quantize is not None and options.quantize not in format.quantizers:
        raise unknown_name("quantize", options.quantize, format.quantizers)
    if options.batch_size is not None:
        _check_count("batch_size", options.batch_size, ", or None")
    _check_count("model_version", options.model_version)
    if options.license is not None and not (isinstance(options.license, str) and options.license.strip()):
        raise ValueError(f"`license` must be a text, or None. Received: license={options.license!r}")
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Exporting needs Keras on TensorFlow: save the model, and load it where KERAS_BACKEND is 'tensorflow'. "
            f"Received: backend {keras.backend.backend()!r}"
        )
    if not isinstance(model, MultiTaskNetwork):
        raise ValueError(f"`model` must be a MultiTaskModel. Received: {type(model).__name__}")
    for name, known in (("mode", MODES), ("segmentation", SEGMENTATIONS), ("resolution", RESOLUTIONS)):
        if getattr(options, name) not in known:
            raise unknown_name(name, getattr(options, name), known)
    tasks = {name: model.task(name) for name in _check_tasks(model, options.tasks)}
    if options.mode == "merged" and len(tasks) > 1:
        raise ValueError(
            f"`tasks` must be one task with mode='merged', which leaves nothing to share. Received: tasks={list(tasks)}"
        )
    if options.segmentation == "class_ids":
        for task in tasks.values():
            if task.definition.is_class_map and task.channels > 256:
                raise ValueError(f"Class ids must fit in 8 bits. Received: {task.channels} classes of {task.name!r}")
    image_shape = _check_shape(options.image_shape, model.image_shape)
    images = generate_images(image_shape) if options.images is None else _check_images(options.images, image_shape)
    labels = _check_labels(model, options, list(tasks), images)
    calibration = check_representative_data(options.representative_data, options.precision, list(tasks), image_shape)
    # Ranges fit the images they were taken from: generated ones say little about a network with such ranges.
    calibrated = {} if options.images is not None or labels else calibration
    compared = {
        name: [image.astype("float32") for image in calibrated[name][:2]] if name in calibrated else images
        for name in tasks
    }
    return Request(
        model=model,
        tasks=tasks,
        options=options,
        image_shape=image_shape,
        images=compared,
        labels=labels,
        calibration=calibration,
        compares_calibration=bool(calibrated),
        description=metadata(tasks, model.bank.fingerprint, options, image_shape),
    )


def _check_count(name: str, count: int, otherwise: str = "") -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"`{name}` must be a positive integer{otherwise}. Received: {name}={count!r}")


def _check_tasks(model: MultiTaskNetwork, tasks: Sequence[str] | None) -> list[str]:
    if not model.tasks:
        raise ValueError("`model` must have at least one task. Received: none")
    if tasks is None:
        return model.tasks
    if isinstance(tasks, str) or not tasks or len(set(tasks)) < len(tasks):
        raise ValueError(f"`tasks` must be a list of different task names, or None. Received: tasks={tasks!r}")
    return [model.task(name).name for name in tasks]


def _check_shape(image_shape: Sequence[int | None] | None, of_model: tuple[int | None, ...]) -> tuple[int | None, ...]:
    if image_shape is None:
        return of_model
    image_shape = tuple(image_shape)
    fits = len(image_shape) == 3 and all(n is None or (isinstance(n, int) and n > 0) for n in image_shape[:2])
    if not fits or image_shape[2] != of_model[2]:
        raise ValueError(
            f"`image_shape` must be (height, width, {of_model[2]}), None where free. Received: "
            f"image_shape={image_shape}"
        )
    return image_shape


def _check_images(images: Iterable[np.ndarray], image_shape: Sequence[int | None]) -> list[np.ndarray]:
    images = [np.asarray(image)[None] for image in images]
    if not images:
        raise ValueError("`images` must hold at least one image. Received: none")
    for image in images:
        first_batch.check_images(image, image_shape)
    return [image.astype("float32") for image in images]


def _check_labels(
    model: MultiTaskNetwork, options: ExportOptions, tasks: list[str], images: list[np.ndarray]
) -> Mapping[str, Sequence[Any]]:
    labels = options.labels
    if labels is None:
        return {}
    if options.images is None:
        raise ValueError("`labels` must come with the `images` they are of. Received: labels alone")
    if options.resolution != "image":
        raise ValueError("`labels` must be None with resolution='network'. Received: labels")
    for name, values in labels.items():
        model.task(name)
        if name not in tasks:
            raise ValueError(f"`labels` must be of exported tasks, {tasks}. Received: labels of {name!r}")
        if len(values) != len(images):
            raise ValueError(
                f"`labels` must be one for each image, {len(images)}. Received: {len(values)} for task {name!r}"
            )
        for image, label in zip(images, values, strict=True):
            model.task(name).check_labels(np.asarray(label)[None], image.shape)
    return labels
