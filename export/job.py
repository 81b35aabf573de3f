"""What every exporter does alike: check what it is given, fold, compare in the runtime, report."""

import contextlib
import importlib.metadata
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from rc_keras.base.names import unknown_name
from rc_keras.export.direct_conv2d import DirectConv2D
from rc_keras.export.endpoint import RESOLUTIONS, SEGMENTATIONS, endpoint
from rc_keras.export.fold import fold, in_float32, resized
from rc_keras.export.report import ExportError, ExportReport, TaskReport
from rc_keras.export.representative_data import check_representative_data
from rc_keras.export.verify import TOLERANCES, compare, generate_images
from rc_keras.model import MultiTaskModel
from rc_keras.tasks.task import Task
from rc_keras.training import first_batch

MODES = ("shared", "merged")
_WORTH_TRACING = 8  # images, above which a traced model is faster, its tracing included
# Bytes of a weight in a file: kernels, and the biases that come with them.
_BYTES = {"float32": (4, 4), "float16": (2, 2), "dynamic_int8": (1, 4), "int8": (1, 4)}


class ExportJob:
    """The checked arguments of an export, and its folded tasks.

    Args:
        model: the `MultiTaskModel`.
        tasks: names of the tasks to export; `None`: all.
        mode: `"shared"`: bank and modulators apart, the bank once for all tasks; `"merged"`: one plain convolution for
            both, for a single task.
        precision: a key of `verify.TOLERANCES`.
        representative_data: see `check_representative_data`.
        image_shape: `(height, width, channels)` of the exported input, `None` where free; `None`: the model's.
        segmentation, resolution: see `endpoint`.
        images: what the file is verified on, RGB in 0..255: an array `(n, height, width, channels)`, or a list of
            arrays `(height, width, channels)`. `None`: two of the representative data, or generated ones.
        labels: `{task: labels of the images}`, to compare the tasks' metrics too, or `None`.
        verbose: whether to print a line for each stage, and the report.

    Raises:
        RuntimeError: if Keras does not run on TensorFlow, which the converters need.
        ValueError: if an argument is not as described.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        tasks: Sequence[str] | None = None,
        mode: str = "shared",
        precision: str = "float32",
        representative_data: Iterable[Any] | dict[str, Iterable[Any]] | None = None,
        image_shape: Sequence[int | None] | None = None,
        segmentation: str = "logits",
        resolution: str = "image",
        images: np.ndarray | Sequence[np.ndarray] | None = None,
        labels: Mapping[str, Sequence[Any]] | None = None,
        verbose: bool = True,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                "Exporting needs Keras on TensorFlow: save the model, and load it where KERAS_BACKEND is 'tensorflow'. "
                f"Received: backend {keras.backend.backend()!r}"
            )
        if not isinstance(model, MultiTaskModel):
            raise ValueError(f"`model` must be a MultiTaskModel. Received: {type(model).__name__}")
        for kind, value, known in (
            ("mode", mode, MODES),
            ("precision", precision, TOLERANCES),
            ("segmentation", segmentation, SEGMENTATIONS),
            ("resolution", resolution, RESOLUTIONS),
        ):
            if value not in known:
                raise unknown_name(kind, value, known)
        self.begin = time.perf_counter()
        self.model, self.mode, self.precision, self.verbose = model, mode, precision, verbose
        self.tasks = {name: model.task(name) for name in _check_tasks(model, tasks)}
        if mode == "merged" and len(self.tasks) > 1:
            raise ValueError(
                "`tasks` must be one task with mode='merged', which leaves nothing to share. Received: "
                f"tasks={list(self.tasks)}"
            )
        if segmentation == "class_ids":
            for task in self.tasks.values():
                if task.definition.is_class_map and task.channels > 256:
                    raise ValueError(
                        f"Class ids must fit in 8 bits. Received: {task.channels} classes of {task.name!r}"
                    )
        self.image_shape = _check_shape(image_shape, model.image_shape)
        self.images = generate_images(self.image_shape) if images is None else _check_images(images, self.image_shape)
        self.labels = _check_labels(labels, images, self, resolution)
        self.representative_images = check_representative_data(
            representative_data, precision, list(self.tasks), self.image_shape
        )
        # Ranges fit the images they were taken from: generated ones say little about a network with such ranges.
        calibrated = {} if images is not None or self.labels else self.representative_images
        self.compared_images = {
            name: [image.astype("float32") for image in calibrated[name][:2]] if name in calibrated else self.images
            for name in self.tasks
        }
        self.compares_calibration = bool(calibrated)
        self.segmentation, self.resolution = segmentation, resolution
        self.bank: dict[str, DirectConv2D] = {}  # the convolutions that the folded tasks share
        self.folded: dict[str, keras.Model] = {}  # {task: functional model from image to answer}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Prints the name of a stage as it begins, and then how long it took."""
        if self.verbose:
            print(f"{name} …", end=" ", flush=True)
        start = time.perf_counter()
        yield
        if self.verbose:
            print(f"{time.perf_counter() - start:.1f} s", flush=True)

    def calibration_images(self, name: str) -> Iterator[np.ndarray]:
        """The representative images of a task one by one, float32; prints how far they are."""
        images = self.representative_images[name]
        for index, image in enumerate(images):
            if self.verbose and index % max(len(images) // 4, 1) == 0:
                print(f"{name} {index}/{len(images)}", end=" ", flush=True)
            yield image.astype("float32")

    def fold(self) -> None:
        """Fills `bank` and `folded`."""
        with self.stage(f"Folding {', '.join(self.tasks)}"):
            for name, task in self.tasks.items():
                branch = resized(self.model.branch(name), self.image_shape)
                folded = fold(branch, self.bank, merged=self.mode == "merged")
                self.folded[name] = endpoint(folded, task, self.segmentation, self.resolution)

    def kernels(self) -> dict[str, np.ndarray]:
        """The shared kernels as they stand in the model, `{name: array}`."""
        convolutions = self.model.bank.convolutions
        return {name: keras.ops.convert_to_numpy(convolutions[name].kernel) for name in self.bank}

    def report(
        self,
        path: str,
        format: str,
        runtime: str,
        run: Callable[[str, np.ndarray], np.ndarray],
        operators: Mapping[str, dict[str, int]],
        stored_once: int,
        file_bytes: int,
        update_bytes: dict[str, int],
        packages: Iterable[str],
        notes: Iterable[str] = (),
    ) -> ExportReport:
        """Compares every task in the runtime with the model.

        Args:
            path: of the file or folder under its final name.
            format: as in `ExportReport`.
            runtime: its name, for people.
            run: function from a task's name and an image `(1, height, width, channels)` to the file's answer.
            operators: `{task: {operator: count}}`.
            stored_once: how many shared kernels stand in the file exactly once, bit for bit.
            file_bytes, update_bytes, notes: as in `ExportReport`.
            packages: names of the packages whose versions matter.

        Returns:
            The `ExportReport`.

        Raises:
            ExportError: if it has not passed.
        """
        tasks = {}
        for name, task in self.tasks.items():
            with self.stage(f"Comparing {name} in {runtime}"):
                tasks[name] = self._compare(task, run, operators.get(name, {}))
        report = ExportReport(
            path=path,
            format=format,
            precision=self.precision,
            mode=self.mode,
            tasks=tasks,
            bank_bytes=self._ideal_bytes(self.bank.values()),
            bank_kernels=len(self.bank),
            bank_kernels_stored_once=stored_once,
            bank_fingerprint=self.model.bank.fingerprint,
            file_bytes=file_bytes,
            update_bytes=update_bytes,
            seconds=time.perf_counter() - self.begin,
            versions=_versions(("rc_keras", "keras", "tensorflow", *packages)),
            notes=(*notes, *self._notes()),
        )
        if not report.passed:
            raise ExportError(_failure(report))
        return report

    def _notes(self) -> list[str]:
        if self.compares_calibration:
            return ["Compared on images it was calibrated on; `images` takes others."]
        return []

    def _compare(
        self, task: Task, run: Callable[[str, np.ndarray], np.ndarray], operators: dict[str, int]
    ) -> TaskReport:
        model = endpoint(
            in_float32(resized(self.model.branch(task.name), self.image_shape)),
            task,
            self.segmentation,
            self.resolution,
        )
        images = self.compared_images[task.name]
        if len(images) > _WORTH_TRACING:
            import tensorflow as tf

            model = tf.function(model)
        answers: dict[str, list[np.ndarray]] = {"model": [], "file": []}  # kept only for the metric

        def keep(whose: str, answer: np.ndarray) -> np.ndarray:
            if task.name in self.labels:
                answers[whose].append(answer)
            return answer

        def expected(image: np.ndarray) -> np.ndarray:
            return keep("model", keras.ops.convert_to_numpy(model(image, training=False)))

        def received(image: np.ndarray) -> np.ndarray:
            return keep("file", run(task.name, image))

        class_ids = task.definition.is_class_map and self.segmentation == "class_ids"
        comparison = compare(expected, received, images, classes=task.definition.of_classes)
        measured = len(answers["file"]) == len(images)  # not where there are no labels, or the shapes differ
        own = [layer for layer in self.folded[task.name].layers if layer.name not in self.bank]
        return TaskReport(
            shape=comparison.shape,
            difference=comparison.maximum,
            mean_difference=comparison.mean,
            relative_difference=comparison.relative,
            correlation=comparison.correlation,
            agreement=comparison.agreement,
            passed=comparison.passes(TOLERANCES[self.precision], class_ids),
            bytes=self._ideal_bytes(own),
            operators=operators,
            metric=self._metric(task, answers, class_ids) if measured else None,
        )

    def _metric(self, task: Task, answers: Mapping[str, Sequence[np.ndarray]], class_ids: bool) -> dict[str, Any]:
        """The task's metric of the model and of the file."""
        metric = task.make_metrics()[0]
        result: dict[str, Any] = {"name": metric.name}
        for whose, outputs in answers.items():
            metric.reset_state()
            for label, output in zip(self.labels[task.name], outputs, strict=True):
                if class_ids:
                    output = np.eye(task.channels, dtype="float32")[output]
                else:
                    output = task.definition.deactivate(output)
                metric.update_state(np.asarray(label)[None], output)
            result[whose] = float(metric.result())
        return result

    def _ideal_bytes(self, layers: Iterable[keras.Operation]) -> int:
        """Bytes of the weights of some layers at the precision of the file."""
        kernel, other = _BYTES[self.precision]
        weights = [w for layer in layers for w in getattr(layer, "weights", [])]
        return sum((kernel if len(w.shape) > 1 else other) * int(np.prod(w.shape)) for w in weights)


def check_batch_size(batch_size: int | None) -> None:
    """Raises `ValueError` unless it is a positive integer, or `None`: any."""
    if batch_size is not None and (isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1):
        raise ValueError(f"`batch_size` must be a positive integer, or None. Received: batch_size={batch_size!r}")


def _check_tasks(model: MultiTaskModel, tasks: Sequence[str] | None) -> list[str]:
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
    labels: Mapping[str, Sequence[Any]] | None,
    images: np.ndarray | Sequence[np.ndarray] | None,
    job: ExportJob,
    resolution: str,
) -> Mapping[str, Sequence[Any]]:
    if labels is None:
        return {}
    if images is None:
        raise ValueError("`labels` must come with the `images` they are of. Received: labels alone")
    if resolution != "image":
        raise ValueError("`labels` must be None with resolution='network'. Received: labels")
    for name, values in labels.items():
        job.model.task(name)
        if name not in job.tasks:
            raise ValueError(f"`labels` must be of exported tasks, {list(job.tasks)}. Received: labels of {name!r}")
        if len(values) != len(job.images):
            raise ValueError(
                f"`labels` must be one for each image, {len(job.images)}. Received: {len(values)} for task {name!r}"
            )
        for image, label in zip(job.images, values, strict=True):
            job.model.task(name).check_labels(np.asarray(label)[None], image.shape)
    return labels


def _failure(report: ExportReport) -> str:
    message = "The exported file must compute what the model computes, with the bank stored once; it was discarded."
    if report.bank_kernels_stored_once < report.bank_kernels:
        message += (
            " The converter multiplies a constant into the kernel behind it: let `keras.layers.Rescaling` scale the "
            "input of a shared convolution."
        )
    return f"{message}\n{report}"


def _versions(packages: Iterable[str]) -> dict[str, str]:
    versions = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
