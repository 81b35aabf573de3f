"""The steps as Keras compiles them: one that trains, and one for each selection of tasks to measure."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rc_keras.base import replicas
from rc_keras.base.keras_types import Tensor
from rc_keras.training.measured_network import Logs
from rc_keras.training.task_step import TaskStep


class CompiledSteps(TaskStep):
    """A `TaskStep` that Keras compiles where tasks come and go, and on several replicas."""

    def make_train_function(self, force: bool = False) -> Callable[[Iterator[Any]], Logs]:
        """As Keras; with several replicas the logs are those of the whole batch.

        Keras 3.15 averages the logs of the replicas, which is wrong for most metrics, and fails with several workers
        (keras#20585: "Invalid reduction dimension 0"). This can go when it reads them outside of the replicas.
        """
        if self.train_function is None or force:
            super().make_train_function(force)
            self.train_function = self._with_logs(self.train_function, lambda: self._training.trained)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Callable[[Iterator[Any]], Logs]:
        """See `make_train_function`; each selection of tasks has its own function."""
        functions, selection = self._training.test_functions, self._training.selection
        if self.test_function is None or force:  # whoever set it to `None` wants all of them traced anew
            functions.clear()
        if selection not in functions:
            # A function of its own: JAX finds what it has traced by the function, and a method is always the same.
            step = type(self).test_step
            self.test_step = lambda *args: step(self, *args)  # type: ignore[method-assign]  # until it is deleted below
            try:
                super().make_test_function(force=True)
            finally:
                del self.test_step
            functions[selection] = self._with_logs(self.test_function, lambda: self._training.measured)
        self.test_function = functions[selection]
        return self.test_function

    def make_predict_function(self, force: bool = False) -> Callable[[Iterator[Any]], Any]:
        """As Keras; each choice of tasks has its own function."""
        functions, choice = self._training.predict_functions, self._training.predicted
        if self.predict_function is None or force:  # whoever set it to `None` wants all of them traced anew
            functions.clear()
        if choice not in functions:
            super().make_predict_function(force=True)
            functions[choice] = self.predict_function
        self.predict_function = functions[choice]
        return self.predict_function

    def call(
        self, images: Tensor, training: bool | None = None, tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        return super().call(images, training=training, tasks=self._training.predicted if tasks is None else tasks)

    def _with_logs(
        self, step_function: Callable[[Iterator[Any]], Logs], names: Callable[[], Sequence[str]]
    ) -> Callable[[Iterator[Any]], Logs]:
        with self._scope():
            if replicas.replica_count() == 1:
                return step_function
        return replicas.with_logs_of_all_replicas(step_function, self._results, names)

    def _trace_training_anew(self) -> None:
        self.train_function = None
        if self._training.running:
            self.make_train_function()

    @contextlib.contextmanager
    def _predicting(self, names: Sequence[str] | None) -> Iterator[None]:
        """Context in which the model answers for some tasks, unless it is asked for others; `None`: for all."""
        before = self._training.predicted
        self._training.predicted = None if names is None or list(names) == self.tasks else tuple(names)
        try:
            yield
        finally:
            self._training.predicted = before

    @contextlib.contextmanager
    def _measuring(self, selection: tuple[tuple[str, ...], tuple[str, ...]] | None) -> Iterator[None]:
        """Context in which `test_step` measures a selection of `TrainingState`; `None` is the same as all tasks."""
        before = self._training.selection
        everything = tuple(self.tasks)
        self._training.selection = None if selection == (everything, everything) else selection
        try:
            yield
        finally:
            self._training.selection = before
