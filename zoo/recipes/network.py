"""The network that a recipe describes."""

import inspect
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
        decoder=make_decoder(recipe),
        output_stride=recipe.output_stride,
        image_shape=(*recipe.crop, 3),
        weights=weights,
        method=recipe.method,
        response_images=response_images,
        seed=recipe.seed,
        response_energy=recipe.response_energy,
        shared_stages=recipe.shared_stages,
    )


def make_decoder(recipe: Recipe) -> rc_keras.decoders.Decoder:
    """The decoder of a recipe, with those of the recipe's widths that it takes."""
    decoder = rc_keras.decoders.DECODERS[recipe.decoder]
    widths = {"width": recipe.decoder_width, "low_level_width": recipe.low_level_width}
    taken = inspect.signature(decoder).parameters
    return decoder(**{name: width for name, width in widths.items() if name in taken})
