"""`build`: turns names into parts and parts into a model."""

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from rc_keras import backbones, decoders, pretrained
from rc_keras.backbones.output_stride import with_output_stride
from rc_keras.base.seeds import fresh_seed
from rc_keras.base.uncompiled import uncompiled
from rc_keras.methods import Method, get_method
from rc_keras.model import MultiTaskModel
from rc_keras.network import features
from rc_keras.network.bank import FilterBank
from rc_keras.network.bank_network import without_reserved_names
from rc_keras.network.branch import frozen_layers
from rc_keras.network.opened import opened
from rc_keras.reports.graft_report import graft_report_of, tell
from rc_keras.tasks.task import Task

_TOLD = 5  # layers named in a warning


def build(
    tasks: Iterable[str | Task],
    backbone: str | keras.Model = "resnet18",
    decoder: str | decoders.Decoder | None = None,
    output_stride: int | None = None,
    image_shape: Sequence[int | None] = (512, 512, 3),
    weights: str | os.PathLike | None = None,
    method: str | Method = "rcm",
    response_images: Any = None,
    bank: str | os.PathLike | FilterBank | None = None,
    preprocess: Callable[[keras.KerasTensor], keras.KerasTensor] | None = None,
    seed: int | None = None,
    response_energy: float | None = None,
    shared_stages: int | str | None = None,
    low_level: str | None = None,
    high_level: str | None = None,
    pointwise_rank: int | None = None,
) -> MultiTaskModel:
    """Builds a multi-task model: on a frozen filter bank, or by another method.

    Example:

    >>> model = rc_keras.build(tasks=["semseg", "normals"], weights="resnet18.pth", image_shape=(256, 256, 3))
    >>> model.compile(optimizer=keras.optimizers.SGD(0.005, momentum=0.9))
    >>> model.fit(dataset)  # batches (images, {"semseg": labels, "normals": labels})
    >>> model.add_task("depth")

    Args:
        tasks: names in the catalogue (see `Task`) or `Task` objects.
        backbone: a key of `rc_keras.backbones.BACKBONES`, such as `"resnet18"` or `"mobilenetv2"`, or a functional
            `keras.Model` with its weights, which is copied. Its feature maps are found as `rc_keras.network.features`
            says, unless it answers `{"low_level": map, "high_level": map}`.
        decoder: `"deeplabv3plus"`, an object like `rc_keras.decoders.DeepLabV3Plus(width=64)`, or one of your own, see
            `rc_keras.decoders.Decoder`. `None`: that of the bank, if it holds one, else `"deeplabv3plus"`.
        output_stride: 8, 16 or 32: image size over size of the high-level map. The last stages of a model given as
            `backbone` are dilated for it, with the same weights, see `rc_keras.backbones.output_stride`; or it says why
            that cannot be. `None`: 16 of a backbone given by name; a model keeps its own.
        image_shape: `(height, width, 3)`; height and width may be `None`.
        weights: `"imagenet"`, or a file, see `rc_keras.pretrained.load_weights`; `None`: random, or as the model has.
        method: a key of `rc_keras.methods.METHODS`, or `"low_rank(4)"` and the like; see `rc_keras.methods.Method`.
        response_images: images for response initialization, see `rc_keras.network.response_init`; `None`: the data-free
            form.
        bank: a `FilterBank`, or the path of a saved one. It brings the pretrained weights, and how many responses it
            keeps, so `weights`, `response_images` and `response_energy` must be `None`. One made by
            `FilterBank.from_task` brings the decoder too.
        preprocess: a layer or function from pixels in 0..255 to what a model given as `backbone` expects. The named
            backbones normalize by themselves.
        seed: integer; everything random derives from it and from the names of task and layer. `None`: drawn.
        response_energy: the share of the responses' energy that the bank keeps, above 0 and at most 1, for methods with
            response initialization: fewer multiply-accumulates, and smaller modulators, for a pretrained function that
            is kept up to the energy. See `FilterBank`. `None`: all responses.
        shared_stages: the stem and so many stages of the backbone stay frozen, norms included, without anything of a
            task's own, and are computed once for all tasks. Or the name of the last layer of them. A stage is as
            `rc_keras.network.shared_stages` says. `None`: those of `bank`, else none, as 0.
        low_level: name of the layer of the backbone whose output decoders get as the low-level map, for example
            `"conv2_block3_out"`; or a key of what the backbone answers. `None`: the last output of a block at stride 4,
            see `rc_keras.network.features`. Where there is none, tasks that are not dense need none.
        high_level: the same of the high-level map; layers behind it are left out. `None`: what the backbone answers.
        pointwise_rank: shares pointwise kernels too, of 1x1 and separable convolutions and of dense layers, each with a
            matrix of this rank of the task's own, 8 for example: most of a MobileNet, or of a bottleneck ResNet, is
            pointwise. See `FilterBank`. `None`: that of `bank`; else they are each task's own where the method does not
            share them as it shares other convolutions.

    Returns:
        A `MultiTaskModel`.

    Raises:
        ValueError: for unknown names, duplicate tasks, or parts that do not fit.
    """
    method = get_method(method)
    if pointwise_rank is not None:
        method = method.with_pointwise_rank(pointwise_rank)
    tasks = _check_tasks(tasks)
    decoder = None if decoder is None else decoders.get(decoder)
    _check_image_shape(image_shape)
    seed = fresh_seed() if seed is None else seed
    if bank is not None:
        brought = {"weights": weights, "response_images": response_images, "response_energy": response_energy}
        for name, value in brought.items():
            if value is not None:
                raise ValueError(
                    f"`{name}` must be None with `bank`, which brings the weights. Received: {name}={value!r}"
                )
    if isinstance(backbone, keras.Model):
        dense = any(task.definition.dense for task in tasks)
        features.check_functional(backbone)
        backbone = uncompiled(backbone)
        if weights is not None:
            backbone = keras.models.clone_model(backbone)  # the user's own keeps its weights
            pretrained.load_weights(backbone, weights)
        kept = () if bank is None else FilterBank.layers_in(bank)
        backbone = opened(backbone, output_stride is not None, kept)  # a block is dilated by its layers
        backbone = without_reserved_names(features.with_named_features(backbone, low_level, high_level, dense))
        if output_stride is not None:
            backbone = with_output_stride(backbone, output_stride)
        backbone = features.on_image(backbone, image_shape, preprocess)
    else:
        if preprocess is not None:
            raise ValueError("`preprocess` must be None with a backbone given by name, which normalizes by itself.")
        stride = 16 if output_stride is None else output_stride
        backbone = backbones.get(backbone)(image_shape=image_shape, output_stride=stride, seed=seed)
        if weights is not None:
            pretrained.load_weights(backbone, weights)
        backbone = features.with_named_features(backbone, low_level, high_level)
    if bank is None:
        stages = 0 if shared_stages is None else shared_stages
        bank = FilterBank(backbone, method, response_images, response_energy, stages)
    elif isinstance(bank, (str, os.PathLike)):
        bank = FilterBank.load(bank, backbone)
    else:
        bank = bank.for_backbone(backbone)
    if pointwise_rank is None and method.pointwise is None and method.shares_kernels:
        method = method.with_pointwise_rank(bank.method.pointwise_rank)
    if bank.method != method:
        raise ValueError(f"`bank` must be made with method {method.name!r}. Received: method {bank.method.name!r}")
    if shared_stages not in (None, bank.shared_stages):
        raise ValueError(
            f"`bank` must be made with shared_stages={shared_stages!r}. Received: shared_stages={bank.shared_stages!r}"
        )
    if bank.method.shares_kernels:
        tell(graft_report_of(bank.template, bank.method))
        _warn_of_frozen_layers(bank)
    model = MultiTaskModel(bank, seed=seed)
    for task in tasks:
        model.add_task(task, decoder)
    model.trainable_tasks = model.tasks
    return model


def _check_tasks(tasks: Iterable[str | Task]) -> list[Task]:
    if isinstance(tasks, (str, Task)) or not tasks:
        raise ValueError(f"`tasks` must be a list of at least one task. Received: tasks={tasks!r}")
    found = [Task.get(task) for task in tasks]
    names = [task.name for task in found]
    if len(set(names)) < len(names):
        raise ValueError(f"Task names must be unique. Received: {names}")
    return found


def _warn_of_frozen_layers(bank: FilterBank) -> None:
    """Warns where `backbone.trainable = False`, a habit of transfer learning, freezes more than the bank."""
    frozen = [name for name in frozen_layers(bank.template) if name not in bank.convolutions]
    if frozen:
        warnings.warn(
            f"{len(frozen)} layers of {bank.template.name!r} have `trainable=False`, and so have the copies that each "
            f"task gets of them: {', '.join(frozen[:_TOLD])}{' …' * (len(frozen) > _TOLD)}. The filter bank is frozen "
            "without that. For tasks that train norms and other copies, set `backbone.trainable = True` before "
            "`build`.",
            stacklevel=3,
        )


def _check_image_shape(image_shape: Sequence[int | None]) -> None:
    if not isinstance(image_shape, (tuple, list)):
        raise ValueError(f"`image_shape` must be (height, width, channels). Received: image_shape={image_shape!r}")
    sizes_fit = all(size is None or (isinstance(size, int) and size > 0) for size in image_shape)
    if len(image_shape) != 3 or not sizes_fit or image_shape[2] is None:
        raise ValueError(
            f"`image_shape` must be (height, width, channels), None where free. Received: image_shape={image_shape}"
        )
