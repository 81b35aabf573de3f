"""Exports a saved model, a preset, or task packs on a bank; verified in the runtime the file is meant for.

Usage:
    python -m rc_keras.export --model model.keras --out model.tflite
    python -m rc_keras.export --model model.keras --format onnx --quantize int8 --representative_data PHOTOS --out DIR
    python -m rc_keras.export --preset DIR --tasks edge,depth --out model.tflite
    python -m rc_keras.export --bank bank.safetensors --packs a.rctask,b.rctask --image_shape 256,256 --out m.tflite

Beside the exported file come its report, `<out>.report.json`, what it takes and answers, `<out>.description.json`
(`report.json` and `description.json` inside a folder), and the sizes as a picture, `<out>.sizes.png`, where matplotlib
is installed; with --viewer also a page that shows it in a browser, in `<out>.viewer` (`viewer` inside a folder). Ends
with 1 if the file could not be written, or does not compute what the model computes; then nothing is left of it. Ends
with 1, too, if the page could not be written.
"""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import app, flags

from rc_keras.base.command import run
from rc_keras.export.formats.registry import REGISTRY
from rc_keras.export.listed import listed

if TYPE_CHECKING:
    from rc_keras.model import MultiTaskModel

_MODEL = flags.DEFINE_string("model", None, "A saved model, `.keras`.")
_PRESET = flags.DEFINE_string("preset", None, "Folder of a preset.")
_BANK = flags.DEFINE_string("bank", None, "A saved bank, for --packs.")
_PACKS = flags.DEFINE_list("packs", None, "Task packs on the bank of --bank.")
_BACKBONE = flags.DEFINE_string(
    "backbone",
    "resnet18",
    "Of the bank of --bank: resnet18, resnet34, resnet50, mobilenetv2, mobilenetv3_large, efficientnetv2_b0 or "
    "convnext_tiny.",
)
_OUTPUT_STRIDE = flags.DEFINE_integer("output_stride", 16, "Of the bank of --bank: 8, 16 or 32.")

_OUT = flags.DEFINE_string("out", None, "The file or folder to write.", required=True)
_FORMAT = flags.DEFINE_string("format", None, f"{listed(REGISTRY, ' or ')}; by the suffix of --out if not given.")
_TASKS = flags.DEFINE_list("tasks", None, "Tasks to export; all if not given.")
_MODE = flags.DEFINE_string("mode", "shared", "shared, or merged for a single task.")
_QUANTIZE = flags.DEFINE_string(
    "quantize",
    None,
    "; ".join(f"for {f.title}, {listed(f.quantizers, ' or ')}" for f in REGISTRY.values() if f.quantizers)
    + "; float32 if not given.",
)
_DATA = flags.DEFINE_string(
    "representative_data", None, "Folder of pictures for --quantize int8, or of one folder of pictures for each task."
)
_COUNT = flags.DEFINE_integer("representative_images", 100, "How many of them to look at.", lower_bound=1)
_IMAGE_SHAPE = flags.DEFINE_list("image_shape", None, "Height and width, none where free; the model's if not given.")
_BATCH_SIZE = flags.DEFINE_string(
    "batch_size",
    None,
    f"For {listed(f.title for f in REGISTRY.values() if 'batch_size' in f.options)}: a number, or none for any.",
)
_SEGMENTATION = flags.DEFINE_string("segmentation", "logits", "logits or class_ids.")
_RESOLUTION = flags.DEFINE_string("resolution", "image", "image or network.")
_IMAGES = flags.DEFINE_string("images", None, "Folder of pictures to verify on; some are generated if not given.")
_EXAMPLES = flags.DEFINE_string(
    "examples", None, ".npz with `images`, and labels by name of the task: to verify on, metrics included."
)
_JOINT = flags.DEFINE_bool(
    "joint", None, "Whether to have a signature or graph besides that answers all tasks; by format if not given."
)
_LICENSE = flags.DEFINE_string("license", None, "Under which the file may be used, as it will say itself.")
_MODEL_VERSION = flags.DEFINE_integer("model_version", 1, "A number of yours, as the file will say.", lower_bound=1)
_VIEWER = flags.DEFINE_bool(
    "viewer", False, "Whether to write a page beside the files that shows them in a browser; see rc_keras.view."
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Whether to replace what is there.")

VERIFIED_IMAGES = 8  # of the folder --images


def main(argv: Sequence[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"Arguments must be flags. Received: {argv[1:]}")
    import rc_keras.export

    try:
        given = [flag for flag in (_MODEL, _PRESET, _BANK) if flag.value is not None]
        if len(given) != 1:
            raise ValueError(
                "One of --model, --preset and --bank must be given. Received: "
                f"{', '.join('--' + flag.name for flag in given) or 'none'}"
            )
        if _IMAGES.value is not None and _EXAMPLES.value is not None:
            raise ValueError("One of --images and --examples must be given, not both.")
        if _PACKS.value and _BANK.value is None:
            raise ValueError("`--packs` must come with --bank. Received: none")
        if _VIEWER.value and _FORMAT.value == "tf_saved_model":
            raise ValueError("`--viewer` must be for litert or onnx. Received: --format=tf_saved_model")
        rc_keras.export.check_target(_OUT.value, _FORMAT.value, _task_names(), _OVERWRITE.value)
        model = _model()
        if not isinstance(model, rc_keras.MultiTaskModel):
            raise ValueError(f"--model must be a saved MultiTaskModel. Received: a {type(model).__name__}")
        report = rc_keras.export.export(model, _OUT.value, _FORMAT.value, **_options(model))
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    picture = f"{os.fspath(report.path)}.sizes.png"
    try:
        report.plot(picture)
    except (ImportError, OSError) as error:
        print(f"No {picture}: {error}")
    else:
        print(f"Sizes drawn: {picture}")
    return _write_viewer(report.path) if _VIEWER.value else 0


def _write_viewer(path: str | os.PathLike) -> int:
    from rc_keras.view import write_page

    try:
        page = write_page(path)
    except (OSError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(f"Page: {page}. Browsers read it from a web server: python -m http.server -d {page.parent.parent}")
    return 0


def _task_names() -> list[str] | None:
    """Names of the tasks to export, where they are known before the model is loaded."""
    if _TASKS.value is not None:
        return _TASKS.value
    if _PRESET.value is not None:
        from rc_keras.from_preset import listed_tasks

        return listed_tasks(_PRESET.value)
    if _MODEL.value is not None:
        from rc_keras.export.saved_task_names import saved_task_names

        return saved_task_names(_MODEL.value)
    return None


def _model() -> "MultiTaskModel":
    """The `MultiTaskModel` of the flags."""
    import keras

    import rc_keras

    if _MODEL.value is not None:
        return keras.saving.load_model(_MODEL.value, compile=False)
    if _PRESET.value is not None:
        return rc_keras.from_preset(_PRESET.value, tasks=_TASKS.value)
    if not _PACKS.value:
        raise ValueError("`--packs` must be given with --bank. Received: none")
    backbone = rc_keras.backbones.get(_BACKBONE.value)(
        image_shape=_shape((512, 512, 3)), output_stride=_OUTPUT_STRIDE.value
    )
    model = rc_keras.MultiTaskModel(rc_keras.FilterBank.load(_BANK.value, backbone), seed=0)
    for pack in _PACKS.value:
        model.load_task(pack)
    return model


def _options(model: "MultiTaskModel") -> dict[str, Any]:
    """Arguments of the exporter."""
    shape = _shape(model.image_shape)
    options = {
        "tasks": _TASKS.value,
        "mode": _MODE.value,
        "segmentation": _SEGMENTATION.value,
        "resolution": _RESOLUTION.value,
        "overwrite": _OVERWRITE.value,
        "license": _LICENSE.value,
        "model_version": _MODEL_VERSION.value,
        "image_shape": shape,
    }
    if _QUANTIZE.value is not None:  # a SavedModel does not know it
        options["quantize"] = _QUANTIZE.value
    if _JOINT.value is not None:
        options["joint"] = _JOINT.value
    if _BATCH_SIZE.value is not None:
        options["batch_size"] = _number("batch_size", _BATCH_SIZE.value)
    if _DATA.value is not None:
        from rc_keras.export.images.folder import read_representative_data

        tasks = _TASKS.value or model.tasks
        options["representative_data"] = read_representative_data(_DATA.value, tasks, shape, _COUNT.value)
    if _IMAGES.value is not None:
        from rc_keras.export.images.folder import read_images

        options["images"] = read_images(_IMAGES.value, shape, VERIFIED_IMAGES)
    if _EXAMPLES.value is not None:
        options |= _examples()
    return options


def _examples() -> dict[str, Any]:
    """Images and labels of --examples."""
    arrays = np.load(_EXAMPLES.value, allow_pickle=False)
    if not isinstance(arrays, np.lib.npyio.NpzFile):
        raise ValueError(f"`{_EXAMPLES.value}` must be an .npz file. Received: a single array")
    with arrays:
        if "images" not in arrays.files:
            raise ValueError(f"`{_EXAMPLES.value}` must hold `images`. Received: arrays {sorted(arrays.files)}")
        return {"images": arrays["images"], "labels": {name: arrays[name] for name in arrays.files if name != "images"}}


def _shape(default: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """The image shape of the flags."""
    if _IMAGE_SHAPE.value is None:
        return default
    if len(_IMAGE_SHAPE.value) != 2:
        raise ValueError(f"--image_shape must be height,width. Received: --image_shape={','.join(_IMAGE_SHAPE.value)}")
    return (*(_number("image_shape", text) for text in _IMAGE_SHAPE.value), default[2])


def _number(flag: str, text: str) -> int | None:
    """A number of pixels or images, or `None`."""
    if text.lower() == "none":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"--{flag} must be a number above 0, or none. Received: --{flag}={text}")
    return int(text)


if __name__ == "__main__":
    run(
        main,
        {
            "What is exported": (_MODEL, _PRESET, _BANK, _PACKS, _BACKBONE, _OUTPUT_STRIDE, _TASKS),
            "What is written": (
                _OUT,
                _OVERWRITE,
                _FORMAT,
                _QUANTIZE,
                _DATA,
                _COUNT,
                _IMAGE_SHAPE,
                _BATCH_SIZE,
                _SEGMENTATION,
                _RESOLUTION,
                _MODE,
                _JOINT,
                _LICENSE,
                _MODEL_VERSION,
                _VIEWER,
            ),
            "What it is verified on": (_IMAGES, _EXAMPLES),
        },
    )
