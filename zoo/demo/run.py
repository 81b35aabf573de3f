"""The demo from the first picture to the page."""

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import keras
import numpy as np

import rc_keras
from rc_keras.files.whole_files import write_json
from rc_keras.zoo.demo.baselines import measure_baseline
from rc_keras.zoo.demo.config import DemoConfig
from rc_keras.zoo.demo.data import Rooms
from rc_keras.zoo.demo.exported import run_exported
from rc_keras.zoo.demo.page import write_page
from rc_keras.zoo.demo.results import DemoResults, TaskResult
from rc_keras.zoo.demo.training import add_task, fit, make_model, measure
from rc_keras.zoo.rendering.tasks import scenes_tasks
from rc_keras.zoo.rooms.pretraining import Pretraining, plain_network


def run(config: DemoConfig, out: str | os.PathLike, data_dir: str | os.PathLike | None = None) -> DemoResults:
    """Runs the demo.

    The folder gets `config.json`, `model.keras`, `model.tflite` with its report, `results.json`, pictures, and last of
    all `index.html`: where the page is, everything it shows is there and is of one run.

    Args:
        config: the `DemoConfig`.
        out: the folder; made if it is missing.
        data_dir: where TFDS keeps data sets; `None`: its default.

    Returns:
        The `DemoResults`.
    """
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.html").unlink(missing_ok=True)
    write_json(out / "config.json", dataclasses.asdict(config))
    keras.utils.set_random_seed(config.seed)
    catalogue = {task.name: task for task in scenes_tasks()}
    tasks, added = [catalogue[name] for name in config.tasks], catalogue[config.added_task]
    seconds: dict[str, float] = {}

    shipped = rc_keras.from_preset(config.preset)
    shipped.compile()
    with _stage("Rendering the rooms (kept for the next time)", "render", seconds):
        rooms = Rooms(config, cast(int, shipped.image_shape[0]), data_dir)  # it takes one size
        training, validation = rooms.training(), rooms.validation()
        shown = {name: labels[: config.shown_images] for name, labels in validation.items()}

    with _stage(f"Running the shipped tasks: {', '.join(shipped.tasks)}", "shipped tasks", seconds):
        raw = shipped.predict(shown["image"], verbose=0)
        answers = {"shipped": {name: np.asarray(shipped.task(name).activate(raw[name])) for name in shipped.tasks}}
        reference = measure(
            shipped, [name for name in (*config.tasks, added.name) if name in shipped.tasks], validation
        )

    names = list(config.tasks)
    with _stage(f"Training {', '.join(names)} on the same filter bank", "train", seconds):
        model = make_model(config, shipped.bank, tasks)
        history = fit(config, model, names, training, validation)

    with _stage(f"Adding {added.name}", "add a task", seconds):
        added_history, comparison = add_task(config, model, added, training, validation)
        names.append(added.name)
        measured = measure(model, names, validation)

    with _stage("Exporting", "export", seconds):
        model.save(out / "model.keras")
        export = model.export(out / "model.tflite", overwrite=True, images=shown["image"])
        answers["file"] = run_exported(out / "model.tflite", names, shown["image"])

    baselines = {name: measure_baseline(model.task(name), training[name], validation[name]) for name in names}
    results = DemoResults(
        tasks=[
            TaskResult(name, model.task(name).kind, *baselines[name], measured[name], reference.get(name))
            for name in names
        ],
        histories=_plain(history | added_history),
        comparison=comparison,
        parameters=model.parameter_report(),
        separate_parameters=plain_network([*tasks, added], Pretraining()).parameter_report().total,
        export=export,
        seconds=seconds,
    )
    write_json(out / "results.json", results.to_dict())
    write_page(out, config, shipped, [model.task(name) for name in names], results, shown, answers)
    print(f"\nOn {config.validation_images} validation images\n{results}")
    print(
        f"\nAdding {added.name} changed {results.differing:,} of {results.compared:,} predicted numbers of "
        f"{', '.join(config.tasks)}, compared to the last bit."
    )
    print(f"\nOpen {out / 'index.html'}")
    return results


@contextlib.contextmanager
def _stage(title: str, name: str, seconds: dict[str, float]) -> Iterator[None]:
    print(f"\n{title}", flush=True)
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 1)
    print(f"{seconds[name]:.0f} s", flush=True)


def _plain(history: Mapping[str, Iterable[float]]) -> dict[str, list[float]]:
    return {entry: [float(value) for value in values] for entry, values in history.items()}
