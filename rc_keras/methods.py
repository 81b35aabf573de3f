"""The methods: what a convolution of the pretrained network becomes for a task."""

import dataclasses

from rc_keras.names import unknown_name


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to give a task its own version of a shared convolution.

    Attributes:
        name: the key in `METHODS`.
        shares_kernels: whether k x k kernels live in a frozen bank shared by all tasks, each followed by a modulator
            `W_t`. Otherwise every task owns a copy of every convolution.
        response_init: whether the bank holds `W_s = U^T W`, the kernels in the eigenbasis U of their responses
            (response initialization, RI; RCM section 3.3). Otherwise `W_s = W`.
        normalize: whether the rows of `W_t` are normalized (NFF; RCM equation 5).
        start: what `W_t` starts from: `"basis"` (U, so that `W_t W_s = W`), `"identity"`, or `"orthogonal"`, a random
            rotation that does not keep the pretrained function.
    """

    name: str
    shares_kernels: bool = True
    response_init: bool = False
    normalize: bool = False
    start: str = "identity"


METHODS = {
    method.name: method
    for method in (
        Method("rcm", response_init=True, normalize=True, start="basis"),
        Method("rc", start="orthogonal"),
        Method("rc_nff", normalize=True, start="orthogonal"),
        Method("rc_ri", response_init=True, start="basis"),
        Method("rc_identity"),
        Method("single_task", shares_kernels=False),
    )
}


def get_method(name):
    """The `Method` of a name; raises `ValueError` with the valid names for another one."""
    if isinstance(name, Method):
        return name
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]
