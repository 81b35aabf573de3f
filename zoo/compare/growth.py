"""The law by which a model grows with its tasks."""

import dataclasses

TASK_COUNTS = (*range(1, 11), 100)


@dataclasses.dataclass(frozen=True)
class Growth:
    """Parameters, or multiply-accumulates, for P tasks: N(P) = shared + P · per_task.

    Attributes:
        shared: what all tasks share.
        per_task: what each adds.
    """

    shared: int
    per_task: int

    def __call__(self, tasks: int) -> int:
        return self.shared + tasks * self.per_task
