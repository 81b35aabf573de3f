"""What a run does, resolved to the last number."""

import dataclasses
import difflib
import inspect
import json
import os
import re
import types
import typing
from typing import Any

from rc_keras.base.names import unknown_name
from rc_keras.decoders import DECODERS
from rc_keras.files.whole_files import write_json

OPTIMIZERS = ("sgd", "adam")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A run, saved beside its results as `recipe.json`. Every field is a flag of `rc_keras.zoo.train`.

    Attributes:
        dataset: key of `rc_keras.zoo.datasets.data.DATASETS`, and maybe a configuration, as in `"scenes/tiny"`.
        tasks: names of the tasks to train.
        crop: `(height, width)` of training images; evaluation images are padded to it, and must fit in it.
        steps: optimizer steps of the whole run; the learning rate reaches 0 at the last.
        checkpoint_every: steps between checkpoints; divides `steps`. What a killed run loses at most.
        validate_every: steps between evaluations with the training metrics; a multiple of `checkpoint_every`, or 0:
            only at the end.
        method: key of `rc_keras.methods.METHODS`, or `"low_rank(4)"` and the like.
        backbone: key of `rc_keras.backbones.BACKBONES`: resnet18, resnet34, resnet50, mobilenetv2, mobilenetv3_large,
            efficientnetv2_b0 or convnext_tiny.
        weights: `"imagenet"`, a file, or `None`: random.
        output_stride: of the backbone: 8, 16 or 32.
        decoder: key of `rc_keras.decoders.DECODERS`.
        decoder_width: channels of the decoder, its argument `width`, if it has one.
        low_level_width: channels of its low-level skip, its argument `low_level_width`, as DeepLabv3+ has; LR-ASPP has
            none.
        response_images: how many training images response initialization looks at; 0: the data-free form.
        response_energy: the share of the responses' energy that the bank keeps; `None`: all responses.
        shared_stages: how many stages of the backbone stay frozen and common to all tasks, with the stem; 0: none.
        decoder_bank: a saved model of one task, of whose whole network the bank is made, see
            `rc_keras.FilterBank.from_task`; its backbone, weights and decoder take the place of the recipe's. `None`:
            of the backbone.
        resize: `(height, width)` everything is resized to first, or `None`: as stored.
        scales: factors of the random scale.
        flip: whether half of the training images are mirrored.
        images_with: a boolean feature of the data set; images that lack it are not trained on. `None`: all are.
        batch_size: images in one step, over all replicas.
        learning_rate: at the first step; falls as (1 − step / steps) ** power.
        power: of the schedule.
        momentum: of `rc_keras.optimizers.SGD`.
        l2: of the same.
        optimizer: `"sgd"`, as the papers have it, or `"adam"`, without `momentum` and `l2`.
        edge_tolerance: maxDist of the edge metric, part of the image's diagonal.
        add_to: a saved model of the same `method` to start from, instead of a new one: tasks that it has are trained
            further, others added; backbone, weights, decoder and bank are that model's.
        init_from: with `add_to`, the task of that model that added tasks start from, or `"nearest"`; see
            `rc_keras.MultiTaskModel.add_task`. `None`: from the pretrained network, with a fresh decoder.
        seed: base of everything random.

    Raises:
        ValueError: if steps, `checkpoint_every` and `validate_every` do not fit, a value is out of range, there is
            `init_from` without `add_to`, or `decoder_bank` with it.
    """

    dataset: str
    tasks: tuple[str, ...]
    crop: tuple[int, int]
    steps: int
    checkpoint_every: int
    validate_every: int = 0
    method: str = "rcm"
    backbone: str = "resnet18"
    weights: str | None = None
    output_stride: int = 16
    decoder: str = "deeplabv3plus"
    decoder_width: int = 256
    low_level_width: int = 48
    response_images: int = 256
    response_energy: float | None = None
    shared_stages: int = 0
    decoder_bank: str | None = None
    resize: tuple[int, int] | None = None
    scales: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    flip: bool = True
    images_with: str | None = None
    batch_size: int = 8
    learning_rate: float = 0.005
    power: float = 0.9
    momentum: float = 0.9
    l2: float = 1e-4
    optimizer: str = "sgd"
    edge_tolerance: float = 0.0075
    add_to: str | None = None
    init_from: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "checkpoint_every", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={getattr(self, name)}")
        if self.steps % self.checkpoint_every:
            raise ValueError(
                "`checkpoint_every` must divide `steps`. Received: "
                f"checkpoint_every={self.checkpoint_every}, steps={self.steps}"
            )
        if self.validate_every < 0 or self.validate_every % self.checkpoint_every:
            raise ValueError(
                "`validate_every` must be 0 or a multiple of `checkpoint_every`. Received: "
                f"validate_every={self.validate_every}, checkpoint_every={self.checkpoint_every}"
            )
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimizer", self.optimizer, OPTIMIZERS)
        if self.decoder not in DECODERS:
            raise unknown_name("decoder", self.decoder, DECODERS)
        if self.init_from is not None and self.add_to is None:
            raise ValueError(
                "`init_from` must be None without `add_to`, the model whose task others start from. "
                f"Received: init_from={self.init_from!r}"
            )
        if self.decoder_bank is not None and self.add_to is not None:
            raise ValueError(
                "`decoder_bank` must be None with `add_to`, a model that has its bank. "
                f"Received: decoder_bank={self.decoder_bank!r}"
            )
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"`tasks` must be different names, at least one. Received: tasks={self.tasks}")

    def save(self, path: str | os.PathLike) -> None:
        """Writes the recipe as JSON."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Recipe":
        """Reads a saved recipe.

        Raises:
            ValueError: if the file is not a recipe.
        """
        try:
            with open(path, encoding="utf-8") as file:
                values = json.load(file)
            if not isinstance(values, dict):
                raise ValueError(f"a JSON {type(values).__name__}")
            lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
            return cls(**{**values, **lists})
        except (TypeError, ValueError) as error:
            raise ValueError(f"`{path}` must be a recipe saved by this version. Received: {error}") from error

    def differences(self, other: "Recipe") -> dict[str, tuple[Any, Any]]:
        """The fields in which another recipe differs, `{name: (own value, other value)}`."""
        pairs = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in FIELDS}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


FIELDS = dataclasses.fields(Recipe)
_TYPES = typing.get_type_hints(Recipe)


def describe_fields() -> dict[str, str]:
    """What each field is, `{name: text}`, from the documentation of `Recipe`."""
    section = inspect.cleandoc(Recipe.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    texts = {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}
    return {field.name: texts.get(field.name, "") for field in FIELDS}


def parse_field(name: str, text: str) -> Any:
    """The value of a recipe's field from a command line.

    Args:
        name: of the field.
        text: as typed: tuples as values between commas, `none` where nothing is allowed.

    Raises:
        ValueError: if the text is no such value.
    """
    if name not in _TYPES:
        near = difflib.get_close_matches(name, _TYPES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"A recipe has no field {name!r}.{hint} It must be one of {sorted(_TYPES)}.")
    kind, optional = _TYPES[name], False
    if isinstance(kind, types.UnionType):
        kind, optional = next(k for k in typing.get_args(kind) if k is not types.NoneType), True
    if optional and text.lower() == "none":
        return None
    try:
        return _parse(kind, text)
    except (KeyError, ValueError):
        raise ValueError(f"`--{name}` must be {_in_words(kind)}. Received: --{name}={text}") from None


def format_field(value: Any) -> str:
    """The text that `parse_field` reads as a value."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(format_field, value)) if isinstance(value, tuple) else str(value)


def _in_words(kind: Any) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if kind in words:
        return words[kind]
    kinds = typing.get_args(kind)
    count = "numbers" if kinds[-1] is Ellipsis else f"{len(kinds)} numbers"
    return f"{'names' if kinds[0] is str else count} between commas"


def _parse(kind: Any, text: str) -> Any:
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if typing.get_origin(kind) is not tuple:
        return kind(text)
    kinds = typing.get_args(kind)
    parts = [part.strip() for part in text.split(",")]
    if kinds[-1] is Ellipsis:
        return tuple(kinds[0](part) for part in parts)
    return tuple(k(part) for k, part in zip(kinds, parts, strict=True))
