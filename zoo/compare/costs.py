"""What a run's trained model costs: time, bytes, arithmetic, parameters, memory.

Usage:
    python -m rc_keras.zoo.compare.costs --workdir RUN

Exports `RUN/model.keras` with all its tasks to one LiteRT file, and as many plain networks (`single_task`) of the same
backbone, decoder and image size to another. Both run in turn with one thread, and what counts is the CPU time of that
thread: neither other work on the machine nor its clock falls on one of them alone. Writes `RUN/costs.json`.
"""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from absl import app

from rc_keras.base.command import run
from rc_keras.files.whole_files import write_json
from rc_keras.zoo.command_line import WORKDIR
from rc_keras.zoo.compare.summary import BASELINE
from rc_keras.zoo.recipes import Recipe

if TYPE_CHECKING:
    import rc_keras

FILE = "costs.json"

# What the plain networks have in common with a run; every other field of their recipe is the default.
_PLAIN = (
    "dataset",
    "crop",
    "steps",
    "checkpoint_every",
    "backbone",
    "output_stride",
    "decoder",
    "decoder_width",
    "low_level_width",
    "seed",
)

_APART = 0.01  # of the mean size of a variable's weights


def measure_costs(path: str | os.PathLike, recipe: Recipe, rounds: int | None = None) -> dict[str, Any]:
    """The costs of a saved model, as plain data.

    Args:
        path: of the `.keras` file.
        recipe: the `Recipe` of its run.
        rounds: see `compare_latency`; `None`: its default.

    Returns:
        `{"tasks": number, "size": …, "latency": …, "file_bytes": …, "reference_file_bytes": …, "peak_bytes": …,
        "image_shape": …, "machine": …}`: see `size_of`, `latency.Latency` and `latency.peak_memory`. Latency is that of
        all tasks on one image, in one call, against the plain networks.

    Raises:
        ImportError: without ai-edge-litert; names what to install.
    """
    import keras
    import numpy as np

    from rc_keras.zoo.compare.latency import ROUNDS, compare_latency, peak_memory
    from rc_keras.zoo.compare.sizes import size_of
    from rc_keras.zoo.evaluation.machine import describe_machine

    model = keras.saving.load_model(path)
    shape = (*recipe.crop, 3)
    image = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    with tempfile.TemporaryDirectory() as folder:
        own, reference = (os.path.join(folder, f"{name}.tflite") for name in ("own", "reference"))
        own_bytes = model.export(own, joint=True, verbose=False).file_bytes
        plain = build_plain(recipe, [model.task(name) for name in model.tasks])
        reference_bytes = plain.export(reference, verbose=False).file_bytes
        latency = compare_latency(own, reference, image, rounds or ROUNDS)
        peak = peak_memory(own, shape)
    return {
        "tasks": len(model.tasks),
        "size": size_of(model),
        "latency": dataclasses.asdict(latency),
        "file_bytes": own_bytes,
        "reference_file_bytes": reference_bytes,
        "peak_bytes": peak,
        "image_shape": shape,
        "machine": describe_machine(),
    }


def build_plain(recipe: Recipe, tasks: "Iterable[rc_keras.Task]") -> "rc_keras.MultiTaskModel":
    """The plain networks that a model of a recipe is measured against, one for each task, not trained.

    Their weights are moved a little apart, for what is alike in several tasks is stored and packed once.
    """
    import numpy as np

    from rc_keras.zoo.recipes.network import build_network

    tasks = list(tasks)
    shared = {name: getattr(recipe, name) for name in _PLAIN}
    model = build_network(Recipe(**shared, tasks=tuple(task.name for task in tasks), method=BASELINE), tasks)
    generator = np.random.default_rng(recipe.seed)
    for task in model.tasks:
        for variable in model.branch(task).trainable_variables:
            value = np.asarray(variable)
            noise = generator.normal(0.0, _APART, value.shape)
            variable.assign(value + noise * np.abs(value).mean())
    return model


def main(argv: list[str]) -> None:
    if len(argv) > 1 or WORKDIR.value is None:
        raise app.UsageError(f"`--workdir` must be given, and nothing but flags. Received: {argv[1:]}")
    folder = pathlib.Path(WORKDIR.value)
    write_json(folder / FILE, measure_costs(folder / "model.keras", Recipe.load(folder / "recipe.json")))


if __name__ == "__main__":
    run(main, {})
