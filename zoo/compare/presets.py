"""Which methods are compared; for the frontier, which variants."""

from collections.abc import Sequence

from rc_keras.base.names import unknown_name
from rc_keras.methods import get_method
from rc_keras.zoo.compare.variants import FRONTIER

# Without `fine_tune`, which differs from `multi_task` where tasks come one after the other.
_BASELINES = (
    "single_task",
    "multi_task",
    "series_adapter",
    "parallel_adapter",
    "batch_norm",
    "channel_modulation",
    "low_rank",
    "squeeze_excite",
    "rcm",
)

PRESETS = {
    "ablation": ("single_task", "rc", "rc_nff", "rc_ri", "rcm", "rc_identity"),
    "baselines": _BASELINES,
    "incremental": ("rcm", "multi_task", "fine_tune"),
    "scaling": (*_BASELINES, "fine_tune"),
    "frontier": tuple(variant.name for variant in FRONTIER),
}


def choose_methods(preset: str | None, methods: Sequence[str] | None) -> tuple[str, ...]:
    """The methods to compare: those given, or else the preset's; of the frontier its rows.

    Args:
        preset: a key of `PRESETS`, or `None`.
        methods: list of names, or `None`.

    Raises:
        ValueError: if neither is given, or a method is unknown or comes twice.
    """
    if not methods:
        if preset is None:
            raise ValueError("`--preset` or `--methods` must be given.")
        methods = PRESETS[preset]

    def full_name(name: str) -> str:
        if preset != "frontier":
            return get_method(name).name
        if name not in PRESETS[preset]:
            raise unknown_name("method", name, PRESETS[preset])
        return name

    if len(set(map(full_name, methods))) < len(methods):
        raise ValueError(f"`--methods` must be different ones. Received: --methods={','.join(methods)}")
    return tuple(methods)
