"""What a task costs on the backbones that people use: a row for each, with `pointwise_rank=8`.

    python benchmarks/backbones.py [--backbones resnet50,VGG16] [--again] [--size 224] [--json FILE] [--page FILE]

Makes each backbone with random weights, builds three tasks with the LR-ASPP decoder on it, compares a grafted task with
the plain network, and exports the three tasks to one LiteRT file, and one of them, merged, to a file of its own. Rows
are kept in a JSON file as they are done; those that it has are not made again, so that a run goes on where one stopped.
The table takes the place of what stands behind the mark in the page.
"""

import dataclasses
import gc
import json
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import app, flags

import rc_keras
from rc_keras.files.whole_files import write_json, write_whole

ROOT = Path(__file__).resolve().parent.parent
MARK = "<!-- made by benchmarks/backbones.py -->"
RANK = 8
TASKS = ("edge", "saliency", "depth")  # of one channel each: files of one of them are alike

_BACKBONES = flags.DEFINE_list("backbones", [], "Names of those to measure; all by default.")
_AGAIN = flags.DEFINE_boolean("again", False, "Whether rows that are there are made again.")
_SIZE = flags.DEFINE_integer("size", 224, "Height and width of the images.", lower_bound=32)
_JSON = flags.DEFINE_string("json", str(ROOT / "docs" / "guides" / "backbones.json"), "File of the rows.")
_PAGE = flags.DEFINE_string("page", str(ROOT / "docs" / "guides" / "backbones.md"), "Page of the table.")


def vision_transformer(size: int, width: int = 192, heads: int = 3, depth: int = 12) -> keras.Model:
    """ViT-Ti (Touvron et al., ICML 2021) with patches of 16x16, without class token."""
    layers = keras.layers
    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / 127.5, -1.0, name="rescaling")(image)
    patches = layers.Conv2D(width, 16, strides=16, name="patches")(x)
    rows = patches.shape[1]
    x = layers.Reshape((rows * rows, width), name="tokens")(patches)
    for at in range(depth):
        y = layers.LayerNormalization(name=f"block_{at}_norm")(x)
        y = layers.MultiHeadAttention(heads, width // heads, name=f"block_{at}_attention")(y, y)
        x = layers.Add(name=f"block_{at}_attended")([x, y])
        y = layers.LayerNormalization(name=f"block_{at}_mlp_norm")(x)
        y = layers.Dense(4 * width, "gelu", name=f"block_{at}_mlp_in")(y)
        x = layers.Add(name=f"block_{at}_out")([x, layers.Dense(width, name=f"block_{at}_mlp_out")(y)])
    return keras.Model(image, x, name="vision_transformer")


def _of_keras(name: str) -> Callable[[int], keras.Model]:
    make = getattr(keras.applications, name)
    return lambda size: make(include_top=False, weights=None, input_shape=(size, size, 3))


def _by_name(name: str) -> Callable[[int], keras.Model]:
    return lambda size: rc_keras.backbones.get(name)(image_shape=(size, size, 3), seed=0)


_KERAS = (
    "VGG16",
    "DenseNet121",
    "ResNet50V2",
    "ResNet101V2",
    "InceptionV3",
    "InceptionResNetV2",
    "Xception",
    "MobileNet",
    "MobileNetV3Small",
    "NASNetMobile",
    "EfficientNetB0",
    "EfficientNetV2S",
)
# What makes a network for square images of a size.
BACKBONES: dict[str, Callable[[int], keras.Model]] = {
    **{name: _by_name(name) for name in rc_keras.backbones.BACKBONES},
    **{name: _of_keras(name) for name in _KERAS},
    "ViT-Ti/16": vision_transformer,
}
_LOW_LEVEL = {"ViT-Ti/16": "patches"}  # where no map has a stride of 4


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of a backbone.

    Attributes:
        size: height and width of the images.
        stride: image size over size of the last map.
        parameters: of the plain backbone.
        shared: the share of them in layers that tasks share.
        per_task: what a task adds, without a decoder, as a share of them.
        difference: largest difference of a grafted task's features from the plain network's, of their range.
        plain_macs, macs: multiply-accumulates of one task's encoder with the kernels as they were, and with adapters.
        file_bytes: of the LiteRT file of three tasks.
        separate_bytes: of three LiteRT files of one task each, merged: three times the first one.
        seconds: to build the model of three tasks.
        export_error: why nothing was exported, or `None`.
    """

    size: int
    stride: int
    parameters: int
    shared: float
    per_task: float
    difference: float
    plain_macs: int
    macs: int
    file_bytes: int | None
    separate_bytes: int | None
    seconds: float
    export_error: str | None


def measure(name: str, size: int) -> Row:
    """Makes the row of a backbone."""
    keras.utils.set_random_seed(0)
    backbone = BACKBONES[name](size)
    report = rc_keras.graft_report(backbone, pointwise_rank=RANK)
    begin = time.perf_counter()
    model = rc_keras.build(
        TASKS,
        backbone,
        decoder="lraspp",
        image_shape=(size, size, 3),
        pointwise_rank=RANK,
        low_level=_LOW_LEVEL.get(name),
        seed=0,
    )
    seconds = time.perf_counter() - begin
    macs = model.mac_report().tasks[TASKS[0]]
    files: tuple[int | None, int | None] = (None, None)
    error = None
    try:
        files = _file_bytes(model)
    except Exception as problem:  # of converters, which may know less than Keras
        error = f"{type(problem).__name__}: {str(problem).splitlines()[0]}"
    return Row(
        size=size,
        stride=round(size / model.bank.template.output["high_level"].shape[1]),
        parameters=report.parameters,
        shared=report.shared,
        per_task=report.per_task,
        difference=_difference(rc_keras.graft(model.bank, "grafted"), backbone, size),
        plain_macs=macs.convolutions,
        macs=macs.convolutions + macs.modulators,
        file_bytes=files[0],
        separate_bytes=files[1],
        seconds=seconds,
        export_error=error,
    )


def _difference(branch: keras.Model, backbone: keras.Model, size: int) -> float:
    """The largest difference of the high-level maps for noise, of the range of the plain one."""
    images = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)).astype("float32")
    expected = backbone(images, training=False)
    expected = expected["high_level"] if isinstance(expected, dict) else expected
    ours = branch(images, training=False)["high_level"]
    plain, grafted = (keras.ops.convert_to_numpy(features).reshape(-1) for features in (expected, ours))
    return float(np.abs(grafted - plain).max() / np.ptp(plain))


def _file_bytes(model: rc_keras.MultiTaskModel) -> tuple[int, int]:
    """Bytes of the LiteRT file of all tasks, and of as many files of one, merged."""
    with tempfile.TemporaryDirectory() as folder:
        together, apart = (os.path.join(folder, f"{name}.tflite") for name in ("together", "apart"))
        model.export(together, verbose=False)
        model.export(apart, tasks=list(TASKS[:1]), mode="merged", verbose=False)
        return os.path.getsize(together), len(TASKS) * os.path.getsize(apart)


def table(rows: Mapping[str, Row]) -> str:
    """The rows as Markdown, those by name first."""
    lines = [
        "| backbone | stride | parameters | shared | per task | function kept to | GMAC, plain and with adapters "
        "| three tasks, one LiteRT file | three files | built in |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in (name for name in BACKBONES if name in rows):
        row = rows[name]
        together, apart = (_megabytes(count) for count in (row.file_bytes, row.separate_bytes))
        called = f"`{name}`" if name in rc_keras.backbones.BACKBONES else name
        macs = f"{row.plain_macs / 1e9:.2f}, {row.macs / 1e9:.2f}"
        cells = (
            called,
            row.stride,
            f"{row.parameters / 1e6:.1f} M",
            f"{100 * row.shared:.1f} %",
            f"{100 * row.per_task:.1f} %",
            f"{_rounded_up(row.difference):.0e}",
            macs,
            together,
            apart,
            f"{row.seconds:.0f} s",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _rounded_up(value: float) -> float:
    """To one digit."""
    if value == 0:
        return 0.0
    unit = 10.0 ** math.floor(math.log10(value))
    return math.ceil(value / unit) * unit


def _megabytes(count: int | None) -> str:
    return "—" if count is None else f"{count / 1e6:.1f} MB"


def read_rows(path: str) -> dict[str, Row]:
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        content: dict[str, dict[str, Any]] = json.load(file)
    return {name: Row(**row) for name, row in content.items()}


def write_table(path: str, rows: Mapping[str, Row]) -> None:
    """Puts the table behind the mark of a page."""
    text = Path(path).read_text(encoding="utf-8")
    head, mark, _ = text.partition(MARK)
    if not mark:
        raise ValueError(f"{path} must hold the line {MARK}")
    failed = [f"{name} was not exported: {row.export_error}" for name, row in rows.items() if row.export_error]
    write_whole(path, "\n\n".join([head + mark, table(rows), *failed]).encode() + b"\n")


def make_rows(names: Iterable[str], size: int, rows_path: str, page: str, again: bool = False) -> None:
    """Measures backbones, and writes rows and table after each.

    Args:
        names: keys of `BACKBONES`.
        size: height and width of the images.
        rows_path: the JSON file.
        page: the page of the table.
        again: whether rows that are there are made again.
    """
    rows = read_rows(rows_path)
    for name in names:
        if name in rows and not again:
            continue
        with warnings.catch_warnings(action="ignore"):  # of what is not shared, which is told here
            rows[name] = measure(name, size)
        write_json(rows_path, {each: dataclasses.asdict(rows[each]) for each in BACKBONES if each in rows})
        write_table(page, rows)
        print(table({name: rows[name]}).splitlines()[-1], flush=True)
        keras.backend.clear_session()
        gc.collect()


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    unknown = set(_BACKBONES.value) - BACKBONES.keys()
    if unknown:
        raise app.UsageError(f"`--backbones` must be names of {list(BACKBONES)}. Received: {sorted(unknown)}")
    make_rows(_BACKBONES.value or BACKBONES, _SIZE.value, _JSON.value, _PAGE.value, _AGAIN.value)


if __name__ == "__main__":
    app.run(main)
