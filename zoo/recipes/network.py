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
) -> rc_keras.MultiTaskModel:
    """The model of a recipe for some `Task`s, neither trained nor compiled.

    Args:
        recipe: the `Recipe`.
        tasks: the `Task`s.
        weights: of the backbone, see `rc_keras.build`; `None`: random, as is enough to count what it costs.
        response_images: see `rc_keras.build`.
    """
    return rc_keras.build(
        tasks,
        backbone=recipe.backbone,
        decoder=rc_keras.decoders.DeepLabV3Plus(recipe.decoder_width, recipe.low_level_width),
        output_stride=recipe.output_stride,
        image_shape=(*recipe.crop, 3),
        weights=weights,
        method=recipe.method,
        response_images=response_images,
        seed=recipe.seed,
        response_energy=recipe.response_energy,
        shared_stages=recipe.shared_stages,
    )
