"""Which methods are compared."""

PRESETS = {
    "ablation": ("single_task", "rc", "rc_nff", "rc_ri", "rcm", "rc_identity"),
    "baselines": (
        "single_task",
        "multi_task",
        "fine_tune",
        "series_adapter",
        "parallel_adapter",
        "batch_norm",
        "channel_modulation",
        "low_rank",
        "squeeze_excite",
        "rcm",
    ),
    "incremental": ("rcm", "multi_task", "fine_tune"),
    "scaling": ("single_task", "multi_task", "series_adapter", "parallel_adapter", "batch_norm", "low_rank", "rcm"),
}
