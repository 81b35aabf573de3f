"""The types of what layers, losses and metrics take and answer."""

from typing import Any, TypeAlias

import keras

# A keras.KerasTensor while a model is drawn, afterwards TensorFlow's, JAX's or torch's tensor: they share no class.
Tensor: TypeAlias = Any
Shape: TypeAlias = tuple[Any, ...]  # sizes, and None where one is free; no type can say where

# As Keras takes them: an object, or its name or serialized form.
Initializer: TypeAlias = keras.initializers.Initializer | str | dict[str, Any]
Regularizer: TypeAlias = keras.regularizers.Regularizer | str | dict[str, Any] | None
Constraint: TypeAlias = keras.constraints.Constraint | str | dict[str, Any] | None
