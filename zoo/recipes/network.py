"""The network that a recipe describes."""

from collections.abc import Iterable

import numpy as np

import rc_keras
from rc_keras.zoo.recipes.recipe import Recipe


def build_network(
    recipe: Recipe,
    tasks: Iterable[rc_keras.Task],
    weights: str | None = None,
    response_images: np.ndarray | None = None,
    bank: rc_keras.FilterBank | None = None,
) -> rc_keras.MultiTaskModel:
    """The model of a recipe for some `Task`s, neither trained nor compiled.

    Args:
        recipe: the `Recipe`.
        tasks: the `Task`s.
        weights: of the backbone, see `rc_keras.build`; `None`: random, as is enough to count what it costs.
        response_images: see `rc_keras.build`.
        bank: what to build on instead of a bank of the backbone; brings weights, responses and decoder.
    """
    own = {
        "decoder": rc_keras.decoders.DeepLabV3Plus(recipe.decoder_width, recipe.low_level_width),
        "weights": weights,
        "response_images": response_images,
        "response_energy": recipe.response_energy,
    }
    return rc_keras.build(
        tasks,
        backbone=recipe.backbone,
        output_stride=recipe.output_stride,
        image_shape=(*recipe.crop, 3),
        method=recipe.method,
        seed=recipe.seed,
        shared_stages=recipe.shared_stages,
        **(own if bank is None else {"bank": bank}),
    )
