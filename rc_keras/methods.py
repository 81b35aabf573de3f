"""The methods: what a convolution of the pretrained network becomes for a task."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from rc_keras.base.names import unknown_name
from rc_keras.layers import (
    Adapter,
    ChannelModulation,
    LowRankModulator,
    Modulator,
    ParallelAdapter,
    PointwiseModulator,
    SeriesAdapter,
)

DEFAULT_RANK = 8


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to give a task its own version of a shared network.

    | method | convolution of task t | shared part |
    | --- | --- | --- |
    | `rcm` | W_t W_s, rows of W_t normalized (NFF), W_s and W_t from response initialization (RI) | W_s, frozen |
    | `rc`, `rc_nff` | W_s = W, W_t a random rotation, without and with NFF | W_s, frozen |
    | `rc_ri`, `rc_identity` | RI without NFF; W_s = W, W_t = I | W_s, frozen |
    | `series_adapter` | z + W_t BN_t(z), z = W x (Rebuffi et al., NeurIPS 2017) | W, frozen |
    | `parallel_adapter` | W x + W_t x, W_t 1x1 (Rebuffi et al., CVPR 2018) | W, frozen |
    | `batch_norm` | W, with the task's own norms | W, frozen |
    | `channel_modulation` | m_t ⊙ W x (Zhao et al., ECCV 2018) | W, frozen |
    | `low_rank(r)` | (I + A_t B_t) W, rank r; `low_rank` is `low_rank(8)` | W, frozen |
    | `single_task` | its own W | nothing |
    | `multi_task` | W; all but the decoder is shared, a step sums the gradients of its tasks | W and norms, trained |
    | `fine_tune` | W; as `multi_task`, but every task trains it in steps of its own | W and norms, trained |
    | `squeeze_excite` | W, own norms, SE_t in each residual block; steps as `multi_task` | W, trained |

    `squeeze_excite` has two parts of ASTMT (Maninis et al., CVPR 2019), squeeze-and-excitation and norms per task. It
    leaves out its residual adapters, the squeeze-and-excitation in its decoder and its adversary.

    To a method with a frozen bank another one may be added for pointwise kernels, those of 1x1 convolutions, of the
    pointwise part of separable convolutions, and of dense layers: `"rcm+pointwise(8)"` has `(I + A_t B_t) W` of rank 8
    there (`rc_keras.layers.PointwiseModulator`). Whatever the adapter, a kernel is shared when what the method adds per
    task is smaller than it.

    Attributes:
        name: the key in `METHODS`, with the rank where the settings hold one.
        adapter: class of the layer behind each convolution of the bank, see `rc_keras.layers.Adapter`; `None`: none.
        settings: arguments of that layer. With a `rank` among them the method has names such as `"low_rank(4)"` too.
        shares_kernels: whether kernels live in a frozen bank shared by all tasks.
        response_init: whether the bank holds `W_s = U^T W`, the kernels in the eigenbasis U of their responses
            (response initialization, RI; RCM section 3.3), and adapters start as U. Otherwise `W_s = W`.
        drawn: whether each task draws a start of its own, by `Adapter.draw`.
        shared_encoder: the layers that all tasks share and train, without a bank: `"all"`, `"all_but_norms"`, or
            `None`. Then tasks interfere, and none can be saved apart.
        joint_steps: whether a step sums the gradients that its tasks have in what they share.
        squeeze_excite: whether each residual block gets the task's own `SqueezeExcite`.
        pointwise: the `Method` of pointwise kernels; `None`: 1x1 convolutions are as other convolutions, and kernels of
            other layers are each task's own.
    """

    name: str
    adapter: type[Adapter] | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    shares_kernels: bool = True
    response_init: bool = False
    drawn: bool = False
    shared_encoder: str | None = None
    joint_steps: bool = False
    squeeze_excite: bool = False
    pointwise: "Method | None" = None

    @property
    def pointwise_rank(self) -> int | None:
        """The rank of what a task adds to pointwise kernels."""
        return None if self.pointwise is None else self.pointwise.settings["rank"]

    def with_pointwise_rank(self, rank: int | None) -> "Method":
        """The method with an adapter of this rank for pointwise kernels; `None`: without one.

        Raises:
            ValueError: if the rank is no positive integer, or the method has no frozen bank.
        """
        name = self.name.partition("+")[0]
        if rank is None:
            return dataclasses.replace(self, name=name, pointwise=None)
        if not self.shares_kernels:
            raise ValueError(
                f"`pointwise_rank` must be None for method {name!r}, which has no frozen bank. "
                f"Received: pointwise_rank={rank!r}"
            )
        if type(rank) is not int or rank < 1:
            raise ValueError(f"`pointwise_rank` must be a positive integer, or None. Received: pointwise_rank={rank!r}")
        pointwise = _POINTWISE.with_rank(rank)
        return dataclasses.replace(self, name=f"{name}+{pointwise.name}", pointwise=pointwise)

    def with_rank(self, rank: int) -> "Method":
        """The method with another rank among its settings, and in its name."""
        name = f"{self.name.partition('(')[0]}({rank})"
        return dataclasses.replace(self, name=name, settings={**self.settings, "rank": rank})


_POINTWISE = Method(f"pointwise({DEFAULT_RANK})", PointwiseModulator, {"rank": DEFAULT_RANK}, drawn=True)
_NFF, _NO_NFF = {"normalize": True}, {"normalize": False}

METHODS = {
    method.name.partition("(")[0]: method
    for method in (
        Method("rcm", Modulator, _NFF, response_init=True),
        Method("rc", Modulator, _NO_NFF, drawn=True),
        Method("rc_nff", Modulator, _NFF, drawn=True),
        Method("rc_ri", Modulator, _NO_NFF, response_init=True),
        Method("rc_identity", Modulator, _NO_NFF),
        Method("series_adapter", SeriesAdapter),
        Method("parallel_adapter", ParallelAdapter),
        Method("batch_norm"),
        Method("channel_modulation", ChannelModulation),
        Method(f"low_rank({DEFAULT_RANK})", LowRankModulator, {"rank": DEFAULT_RANK}, drawn=True),
        Method("single_task", shares_kernels=False),
        Method("multi_task", shares_kernels=False, shared_encoder="all", joint_steps=True),
        Method("fine_tune", shares_kernels=False, shared_encoder="all"),
        Method(
            "squeeze_excite",
            shares_kernels=False,
            drawn=True,
            shared_encoder="all_but_norms",
            joint_steps=True,
            squeeze_excite=True,
        ),
    )
}


def get_method(name: str | Method) -> Method:
    """The `Method` of a name, such as `"rcm"`, `"low_rank"`, `"low_rank(4)"` or `"rcm+pointwise(8)"`.

    Raises:
        ValueError: for another name, with the valid ones, or a rank below 1.
    """
    if isinstance(name, Method):
        return name
    added = re.fullmatch(r"(.+)\+pointwise\((\d+)\)", name) if isinstance(name, str) else None
    if added:
        return get_method(added[1]).with_pointwise_rank(int(added[2]))
    ranked = re.fullmatch(r"(\w+)\((\d+)\)", name) if isinstance(name, str) else None
    if ranked and ranked[1] in METHODS and "rank" in METHODS[ranked[1]].settings:
        method, rank = METHODS[ranked[1]], int(ranked[2])
        if rank < 1:
            raise ValueError(f"The rank of `method` must be at least 1. Received: method={name!r}")
        return method.with_rank(rank)
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]
