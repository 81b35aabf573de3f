"""The looks that `fit`, `evaluate` and `predict` take at their data, and the tasks they find labels of."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from rc_keras.network.image_spec import check_image_spec
from rc_keras.network.multi_task_network import MultiTaskNetwork
from rc_keras.training import first_batch, label_keys
from rc_keras.training.first_batch import FirstBatch
from rc_keras.training.training_state import TrainingState


class DataLooks:
    """Has the first batches of the data of one call checked as they are read.

    Each look puts the data to use from now on into `arguments`, which hold `x`, and maybe `y`, `sample_weight` and
    `batch_size`.

    Args:
        network: the network whose tasks the labels are of.
        state: where the names of measured tasks, and the warnings given, are kept.
    """

    def __init__(self, network: MultiTaskNetwork, state: TrainingState) -> None:
        self._network = network
        self._state = state
        self._looks: list[FirstBatch] = []

    def at_training(self, arguments: dict[str, Any]) -> list[str]:
        """Names of the trainable tasks that the data has labels of; none where that is not known yet."""
        names: list[str] = []

        def note(labels: Any) -> list[str]:
            names[:] = label_keys.labelled(labels, self._network.trainable_tasks)
            self._warn_of_unknown(labels)
            consequence = "which are trainable, so that these are not trained"
            told, trainable = self._state.told, self._network.trainable_tasks
            label_keys.warn_of_missing(labels, trainable, told, "Labels", consequence)
            return names

        self._look(arguments, note)
        return names

    def at_validation(self, arguments: dict[str, Any], measured: Sequence[str], trained: Sequence[str]) -> None:
        """Keeps the names of the tasks to measure in the validation of `fit`."""

        def note(labels: Any) -> list[str]:
            self._state.measured = label_keys.labelled(labels, measured)
            told, where = self._state.told, "Labels of the validation data"
            self._warn_of_unknown(labels, where)
            consequence = "which are trained, so that these are not validated"
            label_keys.warn_of_missing(labels, trained, told, where, consequence)
            return self._state.measured

        self._look(arguments, note, read_now=False)

    def at_evaluation(self, arguments: dict[str, Any]) -> None:
        """Keeps the names of the tasks to measure in `evaluate`."""

        def note(labels: Any) -> list[str]:
            self._state.measured = label_keys.labelled(labels, self._network.tasks)
            self._warn_of_unknown(labels)
            return self._state.measured

        self._look(arguments, note)

    def at_images(self, arguments: dict[str, Any]) -> None:
        """Has images alone checked, whatever comes with them."""

        def check(batch: Any) -> None:
            first_batch.check_images(keras.utils.unpack_x_y_sample_weight(batch)[0], self._network.image_shape)

        self._watch(check, arguments)

    def check_first_seen(self, x: Any) -> None:
        """Raises a `ValueError` if the first data looked at, `x`, had no batch."""
        if not self._looks[0].seen:
            raise first_batch.empty(type(x).__name__)

    @contextlib.contextmanager
    def own_errors(self) -> Iterator[None]:
        """Raises what a check of the first batch raised, instead of what TensorFlow made of it."""
        try:
            yield
        except Exception:
            for look in self._looks:
                if look.error is not None:
                    raise look.error from None
            raise

    def _look(self, arguments: dict[str, Any], note: Callable[[Any], Sequence[str]], read_now: bool = True) -> None:
        """Has images and labels checked.

        Args:
            arguments: see the class.
            note: function of the labels, as soon as their keys are known; it answers the tasks whose labels to check.
            read_now: see `FirstBatch.watch`.
        """
        network = self._network

        def check(batch: Any) -> None:
            images, labels, _ = keras.utils.unpack_x_y_sample_weight(batch)
            names = note(labels)
            first_batch.check_images(images, network.image_shape)
            for name in names:
                network.task(name).check_labels(labels[name], tuple(images.shape))

        spec = getattr(arguments.get("x"), "element_spec", None)
        if isinstance(spec, (tuple, list)):
            images, labels, _ = keras.utils.unpack_x_y_sample_weight(spec)
            note(labels)
            if hasattr(images, "shape"):  # not so of distributed ones
                check_image_spec(images, network.image_shape)
        self._watch(check, arguments, read_now)

    def _watch(self, check: Callable[[Any], None], arguments: dict[str, Any], read_now: bool = True) -> None:
        look = FirstBatch(check)
        self._looks.append(look)
        x, y, sample_weight, batch_size = map(arguments.get, ("x", "y", "sample_weight", "batch_size"))
        arguments["x"] = look.watch(x, y, sample_weight, batch_size, read_now)

    def _warn_of_unknown(self, labels: Any, where: str = "Labels") -> None:
        label_keys.warn_of_unknown(labels, self._network.tasks, self._state.told, where)
