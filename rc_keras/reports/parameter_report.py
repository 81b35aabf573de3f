"""How many parameters a model shares, and what each task adds."""

import dataclasses

from rc_keras.network.branch import count_parameters, weights_by_role
from rc_keras.network.multi_task_network import MultiTaskNetwork

_TASK_ROLES = ("modulators", "gains", "convolutions", "norms", "decoder", "head")


@dataclasses.dataclass(frozen=True)
class TaskParameters:
    """Parameters of one task; moving statistics are not counted.

    Attributes:
        modulators: the `W_t`, or what another method's adapters hold, and biases behind the bank.
        gains: the NFF gains, which fold into the modulators after training.
        convolutions: everything else of the encoder that the task owns, such as a ResNet's downsampling convolutions.
        norms: scales and offsets of the encoder's norms.
        decoder: the decoder with its norms, without the head; of a bank that holds it, all that stands around the bank.
        head: the last layer.
    """

    modulators: int
    gains: int
    convolutions: int
    norms: int
    decoder: int
    head: int

    @property
    def total(self) -> int:
        return sum(dataclasses.astuple(self))


@dataclasses.dataclass(frozen=True)
class ParameterReport:
    """Parameters of a model; `str(report)` is a table.

    Attributes:
        bank: what the tasks share, counted once: the kernels of the bank, or an encoder that all of them train.
        tasks: `{task: TaskParameters}`.
        common: of the bank, those in stages that are shared as a whole.
    """

    bank: int
    tasks: dict[str, TaskParameters]
    common: int = 0

    @property
    def total(self) -> int:
        return self.bank + sum(task.total for task in self.tasks.values())

    def __str__(self) -> str:
        width = max(map(len, (*self.tasks, "shared bank")))
        lines = [f"{'':<{width}}" + "".join(f"{role:>14}" for role in (*_TASK_ROLES, "total"))]
        for name, task in self.tasks.items():
            counts = (*dataclasses.astuple(task), task.total)
            lines.append(f"{name:<{width}}" + "".join(f"{count:>14,}" for count in counts))
        lines.append(f"{'shared bank':<{width}}{'':>84}{self.bank:>14,}")
        if self.common:
            lines.append(f"{'of it in shared stages':<{width + 84}}{self.common:>14,}")
        lines.append(f"{'all':<{width}}{'':>84}{self.total:>14,}")
        return "\n".join(lines)


def parameter_report(network: MultiTaskNetwork) -> ParameterReport:
    """The `ParameterReport` of a network."""
    tasks = {}
    for name in network.tasks:
        roles = weights_by_role(network.branch(name))
        tasks[name] = TaskParameters(**{role: count_parameters(roles[role]) for role in _TASK_ROLES})
    bank, shared = network.bank, weights_by_role(network.branch(network.tasks[0]))["shared"]
    common = count_parameters(w for layer in bank.frozen_layers for w in layer.weights)
    return ParameterReport(bank.size or count_parameters(shared), tasks, common)
