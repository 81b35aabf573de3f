"""One optimizer state for each task behind one optimizer."""

from collections.abc import Sequence
from typing import Any

import keras

from rc_keras import ops as rc_ops
from rc_keras.named_weights import assign_named

JOINT = "all"  # no task may be named so: the state of what all tasks train jointly


@keras.saving.register_keras_serializable(package="rc_keras")
class PerTaskOptimizer(keras.optimizers.Optimizer):
    """Gives each task its own copy of an optimizer: slots, iterations, clipping, loss scale.

    A step of one task therefore moves nothing of another: no momentum, no weight decay, no schedule. All copies read
    the one learning rate of the optimizer they were copied from, so that callbacks which set it reach every task; a
    learning rate schedule runs by the task's own iterations. What tasks train jointly has a state of its own, `JOINT`.

    Args:
        prototype: the `keras.optimizers.Optimizer` the user gave. It is never stepped itself.
    """

    def __init__(self, prototype):
        super().__init__(learning_rate=0.0, name="per_task_optimizer")
        # Neither Keras's tracking nor its saving may walk into these: states are saved by name below.
        self._held = _Held(prototype)
        self.built = True

    @property
    def prototype(self):
        return self._held.prototype

    @property
    def tasks(self):
        """Names of the tasks that have a state, in the order of their first step."""
        return [task for task in self._held.states if task != JOINT]

    def holds(self, optimizer):
        """Whether `optimizer` is the prototype, or what the prototype scales the loss for."""
        return optimizer in (self.prototype, _innermost(self.prototype))

    def of(self, task, variables):
        """The optimizer of one task, made at its first step.

        Args:
            task: name of the task.
            variables: the task's trainable variables.

        Raises:
            ValueError: if the task had other trainable variables when its state was made.
        """
        states = self._held.states
        if task not in states:
            state = self._held.copy()
            state.build(variables)
            # Gradients come summed over replicas, so that clipping and loss scaling act on those of the whole batch;
            # Keras on TensorFlow would sum them again, behind the clipping.
            _innermost(state)._all_reduce_sum_gradients = list
            states[task] = state
            self._take_loaded(task)
        known = {id(v) for v in _innermost(states[task])._trainable_variables}
        if {id(v) for v in variables} != known:
            raise ValueError(
                f"The trainable variables of task {task!r} changed after its optimizer state was made. Compile with a "
                "new optimizer, which starts the state of every task anew, to train the new selection."
            )
        return states[task]

    def forget(self, task):
        """Drops the state of a task."""
        self._held.states.pop(task, None)
        self._held.loaded.pop(task, None)

    def activate(self, tasks):
        """Says which tasks `fit` trains."""
        self._held.active = list(tasks)

    def apply_task(self, task, gradients, variables):
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
        if trainable_variables is None or len(grads) != len(list(trainable_variables)):
            raise ValueError("`trainable_variables` must be given, one for each of the gradients. Received: others")
        gradients = rc_ops.sum_over_replicas(list(grads))
        by_variable = {id(v): g for v, g in zip(trainable_variables, gradients, strict=True)}
        groups = {task: _innermost(self._held.states[task])._trainable_variables for task in self._held.active}
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
    def variables(self):
        variables = list(self.prototype.variables)
        for state in self._held.states.values():
            seen = {id(v) for v in variables}
            variables += [v for v in state.variables if id(v) not in seen]
        return variables

    @property
    def learning_rate(self):
        """The learning rate; with a schedule, that of the task trained longest."""
        return self._longest().learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        self.prototype.learning_rate = value

    @property
    def iterations(self):
        """Steps of the task trained longest."""
        return self._longest().iterations

    def _longest(self):
        states = self._held.states.values()
        steps = [(float(keras.ops.convert_to_numpy(s.iterations)), s) for s in states]
        return max(steps, key=lambda pair: pair[0])[1] if steps else self.prototype

    def build(self, variables):
        """States are built task by task, see `of`."""

    def finalize_variable_values(self, var_list):
        """Puts averaged weights (`use_ema`) in place at the end of `fit`, for the tasks it trained."""
        del var_list  # Keras names the variables of all tasks that could have been trained
        for task in self._held.active:
            state = self._held.states[task]
            state.finalize_variable_values(_innermost(state)._trainable_variables)

    def save_own_variables(self, store):
        for name, variable in self._prototype_variables().items():
            store[name] = keras.ops.convert_to_numpy(variable)
        for task, state in self._held.states.items():
            for name, variable in self._state_variables(task, state).items():
                store[name] = keras.ops.convert_to_numpy(variable)
        for arrays in self._held.loaded.values():
            for name, array in arrays.items():
                store[name] = array

    def load_own_variables(self, store):
        arrays = {name: store[name] for name in store.keys()}  # noqa: SIM118
        for name, variable in self._prototype_variables().items():
            if name in arrays:
                variable.assign(arrays.pop(name))
        for name, array in arrays.items():
            self._held.loaded.setdefault(name.split(":")[0], {})[name] = array
        for task in [task for task in self._held.loaded if task in self._held.states]:
            self._take_loaded(task)

    def _take_loaded(self, task):
        """Puts what a file held for a task into its state, all or nothing."""
        arrays = self._held.loaded.pop(task, None)
        if arrays is not None:
            variables = self._state_variables(task, self._held.states[task])
            assign_named(variables, arrays, f"the saved optimizer state of task {task!r}")

    def _prototype_variables(self):
        return {f":{v.name}": v for v in self.prototype.variables}

    def _state_variables(self, task, state):
        shared = {id(v) for v in self.prototype.variables}
        return {f"{task}:{i}:{v.name}": v for i, v in enumerate(state.variables) if id(v) not in shared}

    def get_config(self):
        return {"prototype": keras.saving.serialize_keras_object(self.prototype)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["prototype"]))


class _Held:
    def __init__(self, prototype):
        self.prototype = prototype
        self.copy = _copier(prototype)
        self.states = {}
        self.loaded = {}  # {task: {name: array}}, from a file, for states that are not made yet
        self.active = []  # the tasks `fit` trains


def _innermost(optimizer):
    return getattr(optimizer, "inner_optimizer", optimizer)


def _copier(optimizer):
    """A function that makes copies of an optimizer; a graph that is being traced cannot read the configuration."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        copy_inner = _copier(optimizer.inner_optimizer)
        scaling = {key: getattr(optimizer, key) for key in ("initial_scale", "dynamic_growth_steps")}
        return lambda: keras.optimizers.LossScaleOptimizer(copy_inner(), **scaling)
    config = optimizer.get_config()
    config["learning_rate"] = lambda: 0.0  # so that a copy makes no learning rate of its own

    def copy():
        new = type(optimizer).from_config(dict(config))
        new._learning_rate = optimizer._learning_rate
        return _keep_exclusions(optimizer, new)

    return copy


def _keep_exclusions(optimizer, new):
    """Carries over `exclude_from_weight_decay`, which is not part of an optimizer's configuration."""
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(optimizer, name):
            setattr(new, name, getattr(optimizer, name))
    return new
