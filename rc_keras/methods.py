"""The methods: what a convolution of the pretrained network becomes for a task."""

import dataclasses
import re

from rc_keras.base.names import unknown_name

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

    Attributes:
        name: the key in `METHODS`, with the rank of `low_rank`.
        shares_kernels: whether kernels live in a frozen bank shared by all tasks.
        adapter: what a task adds to a convolution of the bank, a key of `rc_keras.network.adapters.SIZES`.
        rank: of `"low_rank"`.
        response_init: whether the bank holds `W_s = U^T W`, the kernels in the eigenbasis U of their responses
            (response initialization, RI; RCM section 3.3). Otherwise `W_s = W`.
        normalize: whether the rows of `W_t` are normalized (NFF; RCM equation 5).
        start: what `W_t` starts from: `"basis"` (U, so that `W_t W_s = W`), `"identity"`, or `"orthogonal"`, a random
            rotation that does not keep the pretrained function.
        shared_encoder: the layers that all tasks share and train, without a bank: `"all"`, `"all_but_norms"`, or
            `None`. Then tasks interfere, and none can be saved apart.
        joint_steps: whether a step sums the gradients that its tasks have in what they share.
        squeeze_excite: whether each residual block gets the task's own `SqueezeExcite`.
    """

    name: str
    shares_kernels: bool = True
    adapter: str = "modulator"
    rank: int | None = None
    response_init: bool = False
    normalize: bool = False
    start: str = "identity"
    shared_encoder: str | None = None
    joint_steps: bool = False
    squeeze_excite: bool = False


def _low_rank(rank: int) -> Method:
    return Method(f"low_rank({rank})", adapter="low_rank", rank=rank)


METHODS = {
    method.name.partition("(")[0]: method
    for method in (
        Method("rcm", response_init=True, normalize=True, start="basis"),
        Method("rc", start="orthogonal"),
        Method("rc_nff", normalize=True, start="orthogonal"),
        Method("rc_ri", response_init=True, start="basis"),
        Method("rc_identity"),
        Method("series_adapter", adapter="series_adapter"),
        Method("parallel_adapter", adapter="parallel_adapter"),
        Method("batch_norm", adapter="nothing"),
        Method("channel_modulation", adapter="channel_modulation"),
        _low_rank(DEFAULT_RANK),
        Method("single_task", shares_kernels=False),
        Method("multi_task", shares_kernels=False, shared_encoder="all", joint_steps=True),
        Method("fine_tune", shares_kernels=False, shared_encoder="all"),
        Method(
            "squeeze_excite",
            shares_kernels=False,
            shared_encoder="all_but_norms",
            joint_steps=True,
            squeeze_excite=True,
        ),
    )
}


def get_method(name: str | Method) -> Method:
    """The `Method` of a name, such as `"rcm"`, `"low_rank"` or `"low_rank(4)"`.

    Raises:
        ValueError: for another name, with the valid ones, or a rank below 1.
    """
    if isinstance(name, Method):
        return name
    ranked = re.fullmatch(r"low_rank\((\d+)\)", name) if isinstance(name, str) else None
    if ranked:
        if int(ranked[1]) < 1:
            raise ValueError(f"The rank of `method` must be at least 1. Received: method={name!r}")
        return _low_rank(int(ranked[1]))
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]
