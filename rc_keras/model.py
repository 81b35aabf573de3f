"""The multi-task model: a shared bank and one branch for each task."""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras

from rc_keras.files.whole_files import whole_file
from rc_keras.network.bank import FilterBank
from rc_keras.network.warm_start import make_warm_branch
from rc_keras.reports.mac_count import MacReport, mac_report
from rc_keras.reports.parameter_report import ParameterReport, parameter_report
from rc_keras.storage import preset, task_pack
from rc_keras.tasks.task import Task
from rc_keras.training.nearest_task import NearestTask, find_nearest
from rc_keras.training.task_trainer import TaskTrainer

if TYPE_CHECKING:
    from rc_keras.export.report import ExportReport


@keras.saving.register_keras_serializable(package="rc_keras")
class MultiTaskModel(TaskTrainer):
    """Tasks on one frozen filter bank: fit, add, save, load and export them without disturbing each other.

    With the methods `multi_task`, `fine_tune` and `squeeze_excite` the tasks share an encoder that they train instead
    (see `rc_keras.methods.Method`): then training one does change the others.

    Made by `rc_keras.build`. Batches for `fit` and `evaluate` are `(images, {task: labels})`. `fit` trains the tasks
    that are in `trainable_tasks` and have a key in the labels; the branches of other tasks are not run and no bit of
    them moves. Each task has its own optimizer state: momentum, weight decay, schedules, clipping and loss scaling act
    within a task only.

    Freezing by `trainable_tasks` holds for this model, not for one it is nested in: there use `branch(name)`.

    Args:
        bank: the `FilterBank`; its template answers `{"low_level": map, "high_level": map}`.
        seed: base of everything random, together with the names of task and layer.
        dtype: the dtype policy of decoders; `None`: the global one.

    Call arguments:
        images: RGB in 0..255, `(batch, height, width, channels)`, uint8 or float.
        training: whether norms use, and move by, the statistics of the batch; only in trainable tasks.
        tasks: names of the branches to run; `None`: all.

    Returns:
        `{task: raw prediction}`, see `Task`.
    """

    def __init__(self, bank: FilterBank, seed: int = 0, name: str = "multi_task_model", dtype: Any = None) -> None:
        super().__init__(bank, seed=seed, name=name, dtype=dtype)

    def add_task(
        self,
        task: str | Task,
        decoder: str | Callable[..., keras.KerasTensor] | None = None,
        init_from: str | None = None,
        data: Any = None,
    ) -> NearestTask | None:
        """Adds a task; afterwards only this one is trainable, until `trainable_tasks` is set.

        Example:

        >>> model.add_task("depth")  # from the pretrained network, with a fresh decoder
        >>> model.add_task("normals", init_from="depth")  # from what depth has learnt
        >>> print(model.add_task("edge", init_from="nearest", data=dataset))
        edge starts from depth: loss with a fitted head, 256 images
        depth    0.1934
        normals  0.2017  +4.3 %

        Args:
            task: a `Task`, or a name in the catalogue.
            decoder: see `rc_keras.build`; `None`: as the first task has, or the task it starts from.
            init_from: name of a task of the model whose adapters, norms, convolutions and decoder the new one starts
                as copies of, all but the head. `"nearest"`: the task on whose features a head alone, fitted on the
                first 256 images of `data`, has the lowest loss (see
                `rc_keras.training.nearest_task.find_nearest`). `None`: the pretrained network and a fresh decoder.
            data: for `"nearest"`: batches `(images, {task: labels})` as `rc_keras.check_data` takes them, which may be
                endless; they are read from the front. Otherwise `None`.

        Returns:
            With `"nearest"` the `NearestTask`: which one, and the losses of all. Otherwise `None`.

        Raises:
            ValueError: if the name is unknown, illegal, or taken; if the task cannot start from `init_from`: unknown,
                with a decoder of other layers, dense where the new one is not or the reverse, or of a method that
                trains an encoder in common. The model is left as it was.
        """
        task = Task.get(task)
        if (data is not None) != (init_from == "nearest"):
            must = "be given with" if data is None else "be None without"
            raise ValueError(f"`data` must {must} init_from='nearest'. Received: init_from={init_from!r}")
        if init_from is None:
            self._new_task(task, decoder)
            nearest = None
        else:
            self._check_new(task)
            with self._scope():
                nearest = find_nearest(self, task, data, decoder) if init_from == "nearest" else None
                made = make_warm_branch(self, task, nearest.nearest if nearest else init_from, decoder)
            self._put_task(task, *made)
        self.trainable_tasks = [task.name]
        return nearest

    def remove_task(self, name: str) -> None:
        """Removes a task with its branch and its optimizer state; the last one cannot be removed."""
        self._known(name)
        if len(self.tasks) == 1:
            raise ValueError(f"A model must keep at least one task. Received: remove_task({name!r}), which is the last")
        self._drop_task(name)

    def save(
        self, filepath: str | os.PathLike, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Writes the model, with the state of its optimizer, to one `.keras` file; see `keras.Model.save`.

        The file appears whole or not at all: what stood there before stays until the new one is on the disk.

        Raises:
            ValueError: if the name does not end in `.keras`, nor `zipped=False` asks for a folder. Nothing is written.
        """
        name = os.fspath(filepath)
        if not name.endswith(".keras") and zipped is not False and not name.startswith("hf://"):
            raise ValueError(
                "`filepath` must end in `.keras`. `save_weights` writes weights alone to `.weights.h5`, "
                "`save_to_preset` bank and tasks apart, `save_task` one task, `export` what runs without Keras. "
                f"Received: filepath={name!r}"
            )
        asks_first = not overwrite and os.path.exists(name)  # Keras does
        in_place = zipped is False or "://" in name or asks_first
        with contextlib.nullcontext(filepath) if in_place else whole_file(name) as written:
            super().save(written, overwrite=overwrite, zipped=zipped, **kwargs)

    def save_task(self, name: str, path: str | os.PathLike) -> None:
        """Writes one task to a `.rctask` file, see `task_pack.save`."""
        task_pack.save(self, self._known(name), path)

    def load_task(self, path: str | os.PathLike, overwrite: bool = False) -> str:
        """Adds the task of a `.rctask` file; `trainable_tasks` stays as it is.

        Args:
            path: the file.
            overwrite: whether a task of the same name is replaced; otherwise that is an error.

        Returns:
            The name of the task.

        Raises:
            ValueError: if the file is no task pack, is damaged, belongs to another bank or method, or holds a task that
                is there already, or if the model's method shares an encoder that trains. The model is left as it was.
        """
        with self._scope():
            task, decoder, branch = task_pack.load(self, path, overwrite)
        self._put_task(task, decoder, branch)
        return task.name

    def save_to_preset(self, directory: str | os.PathLike, dtype: str | None = None) -> None:
        """Writes the model to a folder, the bank and every task in a file of its own; `rc_keras.from_preset` reads it.

        | file | content |
        | --- | --- |
        | `bank/bank.safetensors` | what the tasks share, and what new tasks start from |
        | `tasks/<name>/task.rctask` | one task, as `save_task` writes it |
        | `config.json` | how the model is rebuilt, and which tasks it has; nothing but data |
        | `metadata.json` | versions, the bank's fingerprint, numbers of parameters; for people and tools |
        | `manifest.json` | these files with their lengths and digests, by which `from_preset` knows them |
        | `README.md` | a card: tasks, classes, parameters, how to load |

        Saving to the same folder again, for instance after `add_task`, writes only what changed, and never the bank.
        The new manifest makes all new files count at once: whenever saving is cut short, `from_preset` loads the old
        model or the new one. New content waits in the folder `.new` until then; what a killed process left there is
        put right when the folder is saved to again.

        Nothing is deleted: the pack of a task that the model does not have stays where it is, and `from_preset` loads
        it when it is asked for by name, like a pack that was copied in. Remove its folder to be rid of it. To put
        another pack in the place of one that was saved, `load_task` it and save. Of a `README.md`, what stands outside
        of the card's marks is kept, and one without the marks is not touched. The state of the optimizer is not part of
        a preset; `save` keeps it.

        Example:

        >>> model.save_to_preset("street")
        >>> model.add_task("depth")
        >>> model.fit(dataset)
        >>> model.save_to_preset("street")  # writes tasks/depth/, and the texts

        Args:
            directory: the folder; made if there is none.
            dtype: `"float16"`: kernels and matrices are rounded to half precision, which halves the files, and
                `from_preset` answers float32 again; norms with their statistics, gains and biases stay as they are. The
                rounded bank is another bank, with a fingerprint of its own, and the packs written with it belong to
                it; packs of the bank as it was are refused. Load the preset to train tasks on it. `None`: every
                weight as it is, to the last bit.

        Raises:
            ValueError: if the tasks train an encoder in common; if the folder holds another bank, or files of these
                names that are no preset's; if the bank in it is damaged (remove the file to have it written); if names
                of tasks differ by case only; if `dtype` is another one, or is given for weights that are not float32,
                or exceed 65504.
            OSError: if a file cannot be written, or another process is saving to the folder (`BlockingIOError`); a
                preset that was there before can still be read.
        """
        preset.save(self, directory, dtype)

    def parameter_report(self) -> ParameterReport:
        """The `ParameterReport`: what is shared and what each task adds."""
        return parameter_report(self)

    def mac_report(self, image_shape: Sequence[int | None] | None = None) -> MacReport:
        """The `MacReport`: multiply-accumulates of each task for one image.

        Args:
            image_shape: `(height, width, channels)`; `None`: the model's, where it is not free.
        """
        joint = None if self.bank.method.shared_encoder is None else self.joint_branch(self.tasks)
        branches = {name: self.branch(name) for name in self.tasks}
        shape = self.image_shape if image_shape is None else image_shape
        return mac_report(branches, shape, joint, self.bank.common_part)

    def export(self, path: str | os.PathLike, format: str | None = None, **options: Any) -> "ExportReport":
        """Writes the model for deployment, verified in the runtime it is meant for.

        Args:
            path, format, options: see `rc_keras.export.export`.

        Returns:
            The `ExportReport`.
        """
        from rc_keras import export  # export builds on this package, not the other way round

        return export.export(self, path, format, **options)
