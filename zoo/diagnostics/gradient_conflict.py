"""Whether tasks pull the weights they share in opposite directions."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, TypeAlias

import keras
import numpy as np

from rc_keras.base.gradients import value_and_gradients
from rc_keras.model import MultiTaskModel

_Shared: TypeAlias = Mapping[str, Mapping[int, keras.Variable]]


@dataclasses.dataclass(frozen=True)
class GradientConflict:
    """How the gradients of tasks agree on the weights that both of a pair train.

    Attributes:
        tasks: their names.
        shared_weights: int `(tasks, tasks)`, how many weights both tasks train; the diagonal counts those that a task
            shares with any other.
        cosine: float64 `(tasks, tasks)`, the cosine of the two gradients, mean over batches, in -1..1; not a number
            for a pair that shares nothing, or never had gradients in the same batch.
        conflicts: float64 `(tasks, tasks)`, the share of batches in which the inner product of the two gradients is
            negative, in 0..1; not a number in the same places.
        batches: how many batches were looked at; 0 where no tasks share weights, for there is nothing to look at.
    """

    tasks: tuple[str, ...]
    shared_weights: np.ndarray
    cosine: np.ndarray
    conflicts: np.ndarray
    batches: int

    @property
    def possible(self) -> bool:
        """Whether any two tasks train a common weight."""
        return bool(self.shared_weights.any())

    def to_dict(self) -> dict[str, Any]:
        """Plain data and arrays."""
        return {"possible": self.possible, **dataclasses.asdict(self)}

    def __str__(self) -> str:
        if not self.possible:
            return f"Gradients cannot conflict: no two of the tasks {', '.join(self.tasks)} train a common weight"
        pairs = list(itertools.combinations(range(len(self.tasks)), 2))
        labels = [f"{self.tasks[i]}, {self.tasks[j]}" for i, j in pairs]
        width = max(map(len, labels))
        lines = [
            f"Gradients on the weights that two tasks train, {self.batches} batches",
            f"{'':<{width}}  {'weights':>12}  {'cosine':>7}  {'conflicts':>9}",
        ]
        for pair, label in zip(pairs, labels, strict=True):
            weights, cosine, share = self.shared_weights[pair], self.cosine[pair], self.conflicts[pair]
            numbers = ("–", "–") if np.isnan(cosine) else (f"{cosine:.3f}", f"{share:.1%}")
            lines.append(f"{label:<{width}}  {weights:>12,}  {numbers[0]:>7}  {numbers[1]:>9}")
        return "\n".join(lines)


def gradient_conflict(
    model: MultiTaskModel, batches: Iterable[tuple[np.ndarray, Mapping[str, np.ndarray]]]
) -> GradientConflict:
    """Compares the gradients of the tasks' losses by the weights they share.

    Two tasks share the variables that both branches train, by identity. For batch b let `g_t` be the gradient of the
    loss of task t by what tasks t and u share: the cosine is `<g_t, g_u> / (|g_t| |g_u|)`, and the batch is a conflict
    if `<g_t, g_u> < 0` (the complement of the update compliance ratio of Zhao et al., ECCV 2018). Losses are the tasks'
    own, without regularization; loss weights change neither number. Norms use the statistics of the batch, as in
    training, and nothing in the model is changed.

    On a frozen filter bank no two tasks train a common weight: then no gradient is taken, and the answer says so.

    Args:
        model: a `MultiTaskModel`, or anything that answers `tasks`, `task(name)` and `branch(name)`.
        batches: an iterable of `(images, {task: labels})`; a task without a key is left out of that batch.

    Returns:
        The `GradientConflict`.

    Raises:
        ValueError: if there are no batches, or labels are wrong.
    """
    tasks = tuple(model.tasks)
    shared = _shared_variables(model)
    counts = np.array([[_size(_common(shared, t, u)) for u in tasks] for t in tasks], "int64")
    sums, negative, measured = (np.zeros((len(tasks), len(tasks))) for _ in range(3))
    seen = 0
    if counts.any():
        total = len(batches) if isinstance(batches, Sized) else None
        progress = keras.utils.Progbar(total, unit_name="batch")
        for images, labels in batches:
            gradients = _gradients(model, shared, images, labels)
            for i, j in itertools.product(range(len(tasks)), repeat=2):
                cosine = _cosine(gradients, tasks[i], tasks[j], _common(shared, tasks[i], tasks[j]))
                if cosine is not None:
                    sums[i, j] += cosine
                    negative[i, j] += cosine < 0
                    measured[i, j] += 1
            seen += 1
            progress.update(seen)
        if not seen:
            raise ValueError("`batches` must hold at least one batch. Received: none")
        if total is None:
            progress.update(seen, finalize=True)
    measured[measured == 0] = np.nan
    return GradientConflict(tasks, counts, sums / measured, negative / measured, seen)


def _shared_variables(model: MultiTaskModel) -> _Shared:
    """`{task: {id: variable}}` of the variables that another task trains as well."""
    trained = {name: {id(v): v for v in model.branch(name).trainable_variables} for name in model.tasks}
    count = collections.Counter(key for variables in trained.values() for key in variables)
    return {name: {key: v for key, v in variables.items() if count[key] > 1} for name, variables in trained.items()}


def _common(shared: _Shared, first: str, second: str) -> dict[int, keras.Variable]:
    """The shared variables of two tasks, `{id: variable}`."""
    return {key: v for key, v in shared[first].items() if key in shared[second]}


def _size(variables: Mapping[int, keras.Variable]) -> int:
    return sum(int(np.prod(v.shape)) for v in variables.values())


def _gradients(
    model: MultiTaskModel, shared: _Shared, images: np.ndarray, labels: Mapping[str, np.ndarray]
) -> dict[str, dict[int, np.ndarray]]:
    """`{task: {id: gradient}}` of the tasks that have labels, flat float64 arrays."""
    names = [name for name in model.tasks if isinstance(labels, dict) and name in labels]
    if not names:
        found = sorted(labels) if isinstance(labels, dict) else type(labels).__name__
        raise ValueError(f"Labels must be a dict with one of the tasks {list(model.tasks)}. Received: {found}")
    gradients: dict[str, dict[int, np.ndarray]] = {}
    for name in names:
        if not shared[name]:
            continue
        model.task(name).check_labels(labels[name], tuple(images.shape))
        branch, variables = model.branch(name), shared[name]
        values = _task_gradients(branch, model.task(name).make_loss(), images, labels[name], list(variables.values()))
        gradients[name] = {
            key: np.zeros(int(np.prod(v.shape)))
            if value is None
            else keras.ops.convert_to_numpy(value).astype("float64").ravel()
            for (key, v), value in zip(variables.items(), values, strict=True)
        }
    return gradients


def _task_gradients(
    branch: keras.Model,
    loss: keras.losses.Loss,
    images: np.ndarray,
    labels: np.ndarray,
    variables: Sequence[keras.Variable],
) -> list[Any]:
    # In the scope the norms' moving statistics, and the seeds of dropout, are assigned for the moment only.
    with keras.StatelessScope():

        def forward() -> tuple[Any, tuple[()]]:
            return loss(labels, branch(images, training=True)), ()

        chosen = {id(v) for v in variables}
        state = [v for v in branch.variables if id(v) not in chosen]
        return value_and_gradients(forward, variables, state)[1]


def _cosine(
    gradients: Mapping[str, Mapping[int, np.ndarray]], first: str, second: str, variables: Iterable[int]
) -> float | None:
    """The cosine of two tasks' gradients by some variables, or `None` where one of them has none."""
    if first not in gradients or second not in gradients or not variables:
        return None
    product, squares = 0.0, np.zeros(2)
    for key in variables:
        a, b = gradients[first][key], gradients[second][key]
        product += a @ b
        squares += a @ a, b @ b
    return product / np.sqrt(squares.prod()) if squares.all() else None
