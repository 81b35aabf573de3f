"""Plain encoders: ordinary functional Keras models, from which a task's branch is grafted."""

from collections.abc import Callable

import keras

from rc_keras.backbones.resnet import resnet, resnet18, resnet34
from rc_keras.base.names import unknown_name

BACKBONES = {
    "resnet18": resnet18,
    "resnet34": resnet34,
}


def get(name: str) -> Callable[..., keras.Model]:
    """Looks up a backbone's entry point.

    Args:
        name: A key of `BACKBONES`, e.g. `"resnet18"`.

    Returns:
        The function that builds the backbone. It takes `image_shape`, `output_stride`, `classes`,
        `seed` and `name`.

    Raises:
        ValueError: If there is no backbone of that name.

    Example:

    >>> encoder = rc_keras.backbones.get("resnet18")(output_stride=16)
    """
    if isinstance(name, str) and name in BACKBONES:
        return BACKBONES[name]
    raise unknown_name("backbone", name, BACKBONES)


__all__ = ["BACKBONES", "get", "resnet", "resnet18", "resnet34"]
