"""One optimizer state for each task behind one optimizer."""

import types
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import keras
import numpy as np

from rc_keras.base import keras_internals, replicas
from rc_keras.base.keras_types import Tensor
from rc_keras.files.named_weights import assign_named
from rc_keras.training.given_optimizers import JOINT, GivenOptimizers, is_by_task
from rc_keras.training.optimizer_copies import leaves
from rc_keras.training.optimizer_slots import named_slots, renamed


@keras.saving.register_keras_serializable(package="rc_keras")
class PerTaskOptimizer(keras.optimizers.Optimizer):
    """Gives each task its own copy of an optimizer: slots, iterations, clipping, loss scale.

    A step of one task therefore moves nothing of another: no momentum, no weight decay, no schedule. All copies read
    the one learning rate of the optimizer they were copied from, so that callbacks which set it reach every task; a
    learning rate schedule runs by the task's own iterations. What tasks train jointly has a state of its own, `JOINT`.

    Args:
        given: the `keras.optimizers.Optimizer` the user gave, or one for each task, see `GivenOptimizers`. None is ever
            stepped itself.
        when_rescheduled: called when the learning rate has become another schedule, which a step that was traced
            before does not know.
    """

    def __init__(
        self,
        given: keras.optimizers.Optimizer | Mapping[str, keras.optimizers.Optimizer],
        when_rescheduled: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(learning_rate=0.0, name="per_task_optimizer")
        by_task = dict(given) if is_by_task(given) else {JOINT: given}
        # Neither Keras's tracking nor its saving may walk into these: states are saved by name below.
        self._held = _Held(GivenOptimizers(by_task), when_rescheduled)
        self.built = True

    @property
    def prototype(self) -> keras.optimizers.Optimizer:
        """The one optimizer of all tasks; with one for each, see `prototypes`."""
        return self._one("prototype").by_task[JOINT]

    @property
    def prototypes(self) -> dict[str, keras.optimizers.Optimizer]:
        """The optimizers that `compile` was given, `{task: optimizer}`; that of all others is `"all"`."""
        return dict(self._held.given.by_task)

    def _one(self, attribute: str) -> GivenOptimizers:
        given = self._held.given
        if not given.single:
            raise ValueError(
                f"`{attribute}` must be asked of one of the optimizers, `model.optimizer.prototypes[task]`, for "
                f"`compile` was given several. Received: optimizers of {list(given.by_task)}"
            )
        return given

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that have a state, in the order of their first step."""
        return [task for task in self._held.states if task != JOINT]

    def going_on_from(self, other: "PerTaskOptimizer") -> "PerTaskOptimizer":
        """This one with the states that `other` has of tasks whose optimizers are the same; or `other`, if all are."""
        before, given = other._held, self._held.given.kept_from(other._held.given)
        if given == before.given.by_task:
            return other
        new = PerTaskOptimizer(given, self._held.when_rescheduled)
        for held, key in ((before.states, "states"), (before.weights, "weights"), (before.loaded, "loaded")):
            kept = {task: value for task, value in held.items() if new._gives(task) is other._gives(task)}
            getattr(new._held, key).update(kept)
        return new

    def _gives(self, task: str) -> keras.optimizers.Optimizer | None:
        by_task = self._held.given.by_task
        return by_task.get(task, by_task.get(JOINT))

    def of(self, task: str, variables: Sequence[keras.Variable]) -> keras.optimizers.Optimizer:
        """The optimizer of one task, made at its first step.

        Args:
            task: name of the task.
            variables: the task's trainable variables.

        Raises:
            ValueError: if the task had other trainable variables when its state was made.
        """
        held = self._held
        if task not in held.states:
            held.states[task] = _built(held.given.copy(task), variables)
            held.weights[task] = list(variables)
            self._take_loaded(task)
        if {id(v) for v in variables} != {id(v) for v in held.weights[task]}:
            raise ValueError(
                f"The trainable variables of task {task!r} changed after its optimizer state was made. Compile with a "
                "new optimizer, which starts the state of every task anew, to train the new selection."
            )
        return held.states[task]

    def forget(self, task: str) -> None:
        """Drops the state of a task."""
        for mapping in (self._held.states, self._held.weights, self._held.loaded):
            mapping.pop(task, None)

    def activate(self, tasks: Iterable[str]) -> None:
        """Says which tasks `fit` trains."""
        self._held.active = list(tasks)

    def apply_task(self, task: str, gradients: Sequence[Tensor | None], variables: Sequence[keras.Variable]) -> None:
        """Applies one step to the variables of one task.

        Args:
            task: name of the task.
            gradients: of the whole batch, summed over replicas.
            variables: the task's trainable variables.
        """
        state = self.of(task, variables)
        if keras.backend.backend() != "jax":
            state.apply(gradients, variables)
            return
        new_variables, new_state = state.stateless_apply(
            [v.value for v in state.variables], gradients, [v.value for v in variables]
        )
        for variable, value in zip([*variables, *state.variables], [*new_variables, *new_state], strict=True):
            variable.assign(value)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        """One step of all tasks that `fit` trains, each in its own state; for a `train_step` of the user's own.

        Args:
            grads: unscaled gradients of one loss of all tasks; with several replicas those of one replica. `None` for
                variables the loss does not depend on.
            trainable_variables: what they are gradients by: `model.trainable_variables`.

        Raises:
            ValueError: if the variables are missing, or some belong to several tasks, whose gradients a sum hides.
        """
        count = None if trainable_variables is None else len(trainable_variables)
        if trainable_variables is None or len(grads) != count:
            raise ValueError(
                "`trainable_variables` must be given, one for each of the gradients. "
                f"Received: {len(grads)} gradients, {count} variables"
            )
        gradients = replicas.sum_over_replicas(list(grads))
        by_variable = {id(v): g for v, g in zip(trainable_variables, gradients, strict=True)}
        groups = {task: self._held.weights[task] for task in self._held.active}
        ids = [id(v) for group in groups.values() for v in group]
        if len(set(ids)) < len(ids):
            raise ValueError(
                "Tasks that share variables with states of their own must be trained one after the other, by the "
                f"model's own `train_step`. Received: gradients of {list(groups)} at once"
            )
        for task, group in groups.items():
            own = [by_variable.get(id(v)) for v in group]
            # A state takes its own loss scale out again.
            scaled = [g if g is None else self._held.states[task].scale_loss(g) for g in own]
            self.apply_task(task, scaled, group)

    @property
    def variables(self) -> list[keras.Variable]:
        optimizers = [*self._held.given.by_task.values(), *self._held.states.values()]
        return list({id(v): v for optimizer in optimizers for v in optimizer.variables}.values())

    # Learning rate

    @property
    def learning_rate(self) -> Any:
        """The learning rate; with a schedule, that of the task trained longest.

        Raises:
            ValueError: if there are several optimizers, for reading as for setting.
        """
        self._one("learning_rate")
        return self._longest().learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._one("learning_rate").by_task[JOINT].learning_rate = value
        self.follow_schedules()

    def follow_schedules(self) -> None:
        """Has steps traced anew if the learning rate, set here or at the prototype, is another schedule than before."""
        given = self._held.given
        schedules = given.find_schedules()
        if any(new is not old for new, old in zip(schedules, given.schedules, strict=True)):
            given.schedules = schedules
            self._held.when_rescheduled()

    @property
    def iterations(self) -> keras.Variable:
        """Steps of the task trained longest."""
        return self._longest().iterations

    def _longest(self) -> keras.optimizers.Optimizer:
        states = self._held.states.values()
        steps = [(float(keras.ops.convert_to_numpy(s.iterations)), s) for s in states]
        return max(steps, key=lambda pair: pair[0])[1] if steps else next(iter(self._held.given.by_task.values()))

    # What callbacks of Keras ask for

    @property
    def optimizers(self) -> list[Any]:
        """Those with a learning rate of their own, each with `name` and `learning_rate`.

        With a `keras.optimizers.MultiOptimizer`: its optimizers, each with its learning rate for all tasks. With one
        optimizer for each task: those of the tasks that `fit` trains, by the names of the tasks.
        """
        given = self._held.given
        return given.by_task[JOINT].optimizers if given.single else given.with_rates_of(self._held.active)

    @property
    def inner_optimizer(self) -> types.SimpleNamespace:
        """With `use_ema`: `optimizers`, those of the tasks that `fit` trains, for `keras.callbacks.SwapEMAWeights`."""
        states = [self._held.states[task] for task in self._held.active if task in self._held.states]
        prototypes = self._held.given.by_task.values()
        optimizers = [leaf for optimizer in states or prototypes for leaf in leaves(optimizer)]
        if not any(optimizer.use_ema for optimizer in optimizers):
            raise AttributeError("There are no averages without `use_ema`.")
        return types.SimpleNamespace(optimizers=optimizers)

    def build(self, variables: Iterable[keras.Variable]) -> None:
        """States are built task by task, see `of`."""

    def finalize_variable_values(self, var_list: Iterable[keras.Variable]) -> None:
        """Puts averaged weights (`use_ema`) in place at the end of `fit`, for the tasks it trained."""
        del var_list  # Keras names the variables of all tasks that could have been trained
        for task in self._held.active:
            self._held.states[task].finalize_variable_values(self._held.weights[task])

    # Saving

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        for name, variable in self._held.given.rates.items():
            store[name] = keras.ops.convert_to_numpy(variable)
        for task in self._held.states:
            for name, variable in self._slots(task).items():
                store[f"{task}:{name}"] = keras.ops.convert_to_numpy(variable)
        for task, arrays in self._held.loaded.items():
            for name, array in arrays.items():
                store[f"{task}:{name}"] = array

    def load_own_variables(self, store: MutableMapping[str, Any]) -> None:
        arrays: dict[str, dict[str, np.ndarray]] = {}
        for key in store.keys():  # noqa: SIM118
            task, name = key.split(":", 1)
            arrays.setdefault(task, {})[name] = store[key]
        common = arrays.pop("", {})
        for name, variable in self._held.given.rates.items():
            if name[1:] in common:
                variable.assign(common[name[1:]])
        self._held.loaded |= arrays
        for task in [task for task in arrays if task in self._held.states]:
            self._take_loaded(task)

    def _take_loaded(self, task: str) -> None:
        """Puts what a file held for a task into its state, all or nothing."""
        arrays = self._held.loaded.pop(task, None)
        if arrays is not None:
            arrays = renamed(arrays, self._held.weights[task])
            assign_named(self._slots(task), arrays, f"the saved optimizer state of task {task!r}")

    def _slots(self, task: str) -> dict[str, keras.Variable]:
        """What a task has for itself, by the names it is saved under."""
        rates = {id(rate) for rate in self._held.given.rates.values()}
        slots = [v for v in self._held.states[task].variables if id(v) not in rates]
        return named_slots(slots, self._held.weights[task])

    def get_config(self) -> dict[str, Any]:
        given = self._held.given
        return {
            "prototype": keras.saving.serialize_keras_object(given.by_task[JOINT] if given.single else given.by_task)
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PerTaskOptimizer":
        return cls(keras.saving.deserialize_keras_object(config["prototype"]))


class _Held:
    def __init__(self, given: GivenOptimizers, when_rescheduled: Callable[[], None]) -> None:
        self.given = given
        self.when_rescheduled = when_rescheduled
        self.states: dict[str, keras.optimizers.Optimizer] = {}
        self.weights: dict[str, list[keras.Variable]] = {}  # what each state was built for
        self.loaded: dict[str, dict[str, Any]] = {}  # {task: {name: array}}, from a file, for states not made yet
        self.active: list[str] = []  # the tasks `fit` trains


def _built(state: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> keras.optimizers.Optimizer:
    state.build(list(variables))
    for leaf in leaves(state):
        # A loss scale builds its optimizer where Keras lists no variables that are attributes; a list of them it does.
        leaf.single_slots = [value for value in vars(leaf).values() if isinstance(value, keras.Variable)]
        # Gradients come summed over replicas, so that clipping and loss scaling act on those of the whole batch.
        keras_internals.leave_gradients_to_us(leaf)
    return state
