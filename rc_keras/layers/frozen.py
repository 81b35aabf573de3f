"""A layer that nothing trains."""

from typing import Any

import keras

from rc_keras.base.keras_types import Shape, Tensor


@keras.saving.register_keras_serializable(package="rc_keras")
class Frozen(keras.layers.Wrapper):
    """A layer as it is used after training, for good: what all tasks share before the first layer of their own.

    Norms use their moving statistics, also in training, and no `trainable` flag of a model or of the layer thaws it.

    Args:
        layer: the `keras.layers.Layer`, which takes one argument; it becomes part of this one.
        kwargs: as of any layer; name and dtype policy are those of `layer` unless given.

    Call arguments:
        inputs: as `layer` takes them.
        mask: as `layer` takes it.

    Returns:
        What `layer` answers with `training=False`.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        kwargs.setdefault("name", layer.name)
        kwargs.setdefault("dtype", layer.dtype_policy)
        super().__init__(layer, **kwargs)
        self.layer.trainable = False

    def build(self, input_shape: Shape | None = None) -> None:
        super().build(input_shape)
        self.layer.trainable = False

    @property
    def trainable(self) -> bool:
        """Always `False`."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        del value

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.layer(inputs, training=False, **({} if mask is None else {"mask": mask}))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Frozen":
        config = dict(config)  # Keras's own takes the layer out of what it is given
        return cls(keras.saving.deserialize_keras_object(config.pop("layer")), **config)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.layer.compute_output_shape(input_shape)
