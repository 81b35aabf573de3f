"""The optimizer of pretraining and tasks."""

import keras


def make_optimizer(learning_rate: float, steps: int, weight_decay: float = 0.0) -> keras.optimizers.AdamW:
    """AdamW; the rate rises to its peak for a twentieth of the steps, then falls to a hundredth along a cosine."""
    warmup = steps // 20
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 20,
        max(steps - warmup, 1),
        alpha=0.01,
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )
    return keras.optimizers.AdamW(schedule, weight_decay=weight_decay, clipnorm=5.0)
