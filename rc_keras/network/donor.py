"""The donor: the task whose whole network, encoder and decoder, a bank was made of."""

import dataclasses
import json
from typing import Any, Self

import keras

from rc_keras import decoders
from rc_keras.base.keras_internals import producer
from rc_keras.decoders.decoder import Decoder
from rc_keras.files.plain_config import check_holds_no_code
from rc_keras.network.features import FEATURES
from rc_keras.tasks.task import Task

PREFIX = "decoder_"  # of the decoder's layers in a bank's template
HEAD = f"{PREFIX}head"
PREDICTION = "prediction"  # the output of a template that holds a decoder, besides the features


@dataclasses.dataclass(frozen=True)
class Donor:
    """What is known of the donor besides its weights, which are those of the bank's template.

    Attributes:
        task: its name.
        channels: of its prediction.
        decoder: its `Decoder`, which all dense tasks on the bank have.
    """

    task: str
    channels: int
    decoder: Decoder

    def network(self, encoder: keras.Model) -> keras.Model:
        """The decoder behind an encoder, with new weights: image to the features and the prediction."""
        image, features = encoder.inputs[0], encoder.output
        raw = self.decoder(image, features, self.channels, PREFIX, 0)
        return keras.Model(image, {**features, PREDICTION: raw}, name=encoder.name)

    def head(self, template: keras.Model, task: Task, prefix: str, seed: int) -> keras.Layer | None:
        """A layer for the prediction of a task, as the decoder makes it; `None` for the donor itself, which has one.

        Raises:
            ValueError: if the decoder makes another network for another number of channels.
        """
        if (task.name, task.channels) == (self.task, self.channels):
            return None
        image, features = template.inputs[0], {k: template.output[k] for k in FEATURES if k in template.output}
        raw = self.decoder(image, features, task.channels, prefix, seed)
        head = keras.Model(image, raw).get_layer(f"{prefix}head")
        made, expected = _channels(head), _channels(template.get_layer(HEAD))
        if made != expected:
            raise ValueError(
                "`decoder` must depend on `channels` in nothing but its head, for a bank of a whole network. Received: "
                f"{self.decoder!r}, whose head takes {made} channels for channels={task.channels}, {expected} for "
                f"channels={self.channels}"
            )
        return head

    def check_decoder(self, decoder: Any) -> Decoder:
        """The decoder, if another one is not asked for; see `decoders.get`."""
        serialize = keras.saving.serialize_keras_object
        if decoder is not None and serialize(decoders.get(decoder)) != serialize(self.decoder):
            raise ValueError(
                f"`decoder` must be None with a bank that holds the decoder of {self.task!r}. "
                f"Received: decoder={decoder!r}"
            )
        return self.decoder

    def get_config(self) -> dict[str, Any]:
        decoder = keras.saving.serialize_keras_object(self.decoder)
        return {"task": self.task, "channels": self.channels, "decoder": decoder}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(config["task"], config["channels"], decoders.get(config["decoder"]))

    def to_json(self) -> str:
        return json.dumps(self.get_config())

    @classmethod
    def from_json(cls, text: str, path: str) -> Self:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: if it is something else, or holds code.
        """
        try:
            config = json.loads(text)
            check_holds_no_code(config, path)
            if not isinstance(config["task"], str) or not isinstance(config["channels"], int):
                raise ValueError(f"Received: task={config['task']!r}, channels={config['channels']!r}")
            return cls.from_config(config)
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(f"{path} must say which decoder it holds. It cannot be read: {error}") from error


def _channels(layer: keras.Layer) -> list[int]:
    """Those of the maps that a layer takes."""
    return [tensor.shape[-1] for tensor in keras.tree.flatten(layer.input)]


def with_features(branch: keras.Model, encoder: keras.Model) -> keras.Model:
    """A task's branch with the features of its encoder as outputs too, and the prediction before its last layer.

    Args:
        branch: the functional `keras.Model` of a task.
        encoder: the network, with named features, that it was grafted from.

    Raises:
        ValueError: if the branch does not use one of the features.
    """
    found: dict[str, keras.KerasTensor] = {}  # {name of a layer: its output in this network}

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if layer.name == f"{branch.name}__output":
            found[PREDICTION] = args[0]
        outputs = layer(*args, **kwargs)
        found.setdefault(layer.name, outputs)
        return outputs

    image = keras.Input(batch_shape=branch.inputs[0].shape, name=branch.inputs[0].name)
    keras.models.clone_model(branch, input_tensors=image, clone_function=lambda layer: layer, call_function=call)
    outputs = {PREDICTION: found[PREDICTION]}
    for feature in (name for name in FEATURES if name in encoder.output):
        name = producer(encoder.output[feature]).name
        output = found.get(f"{branch.name}__{name}", found.get(name))
        if output is None:
            raise ValueError(f"`task` must have a decoder that uses the {feature} features. Received: {branch.name!r}")
        outputs[feature] = output
    return keras.Model(image, outputs, name=encoder.name)
