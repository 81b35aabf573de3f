"""The preset `rooms` from the first picture to the folder."""

import dataclasses
import json
import os
import pathlib

import keras

import rc_keras
from rc_keras.base.names import unknown_name
from rc_keras.files.whole_files import whole_file, write_json
from rc_keras.files.writer_lock import waiting_lock
from rc_keras.zoo.rendering.tasks import scenes_tasks
from rc_keras.zoo.rooms.optimizer import make_optimizer
from rc_keras.zoo.rooms.pretraining import DONOR, Pretraining, pretrain
from rc_keras.zoo.rooms.resumable_fit import fit_resumably
from rc_keras.zoo.rooms.room_batches import RoomBatches
from rc_keras.zoo.rooms.stored_rooms import StoredRooms


@dataclasses.dataclass(frozen=True)
class Rooms:
    """What is made.

    Attributes:
        pretraining: the `Pretraining`.
        train: numbers of the rooms that the tasks are trained on, which the pretraining has not seen.
        validation: number of rooms to measure on.
        tasks: names of the tasks.
        batch_size: images in one step of a task.
        steps: optimizer steps of each task; a multiple of `steps_per_epoch`.
        steps_per_epoch: steps between two lines of the log.
        learning_rate: of the tasks, see `make_optimizer`.
        response_energy: the share of the responses' energy that the bank keeps.
        response_images: how many rooms response initialization looks at.
    """

    pretraining: Pretraining = dataclasses.field(default_factory=Pretraining)
    train: tuple[int, int] = (21000, 51000)
    validation: int = 500
    tasks: tuple[str, ...] = ("semseg", "parts", "edge", "saliency", "normals", "depth")
    batch_size: int = 16
    steps: int = 10000
    steps_per_epoch: int = 250
    learning_rate: float = 2e-3
    response_energy: float = 0.91
    response_images: int = 256

    @classmethod
    def quick(cls) -> "Rooms":
        """A few tiny images and steps: shows that everything runs, learns nothing."""
        pretraining = Pretraining(
            depths=(1, 1, 1, 1),
            widths=(8, 8, 16, 16),
            decoder_width=8,
            low_level_width=8,
            size=64,
            batch_size=4,
            steps=2,
            steps_per_epoch=1,
            train=(0, 8),
        )
        return cls(pretraining, (8, 16), 4, ("semseg", "depth"), 4, steps=2, steps_per_epoch=1, response_images=4)


def make_rooms(settings: Rooms, out: str | os.PathLike, only: str | None = None) -> dict[str, float] | None:
    """Makes the preset, or goes on where it was stopped.

    The folder gets `settings.json`, `rooms/` with what is rendered, `pretraining/`, `bank.keras`, `tasks/` with the
    pack of each, and last `preset/` and `results.json`. Tasks do not see each other: several processes, with `only`,
    can train them at the same time.

    Args:
        settings: the `Rooms`.
        out: the folder; made if it is missing.
        only: name of a task: it is trained, and nothing made of it; `""`: no task is trained, the bank is made.
            `None`: everything.

    Returns:
        What the tasks measure on the validation rooms, `{metric: value}`; `None` with `only`.

    Raises:
        ValueError: if `only` is no task, or the folder holds a run of other settings.
    """
    if only and only not in settings.tasks:
        raise unknown_name("only", only, settings.tasks)
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    _check_settings(settings, out / "settings.json")
    bank = out / "bank.keras"
    with waiting_lock(os.fspath(out / ".bank.lock")):  # of processes with a task each, the first one makes it
        if not bank.exists():
            _make_bank(settings, out, bank)
    names = settings.tasks if only is None else [only] if only else []
    packs = {name: _train_task(settings, bank, name, out) for name in names}
    return None if only is not None else _assemble(settings, bank, packs, out)


def _check_settings(settings: Rooms, path: pathlib.Path) -> None:
    """Writes them, the first time; later ones must be the same."""
    own = json.loads(json.dumps(dataclasses.asdict(settings)))
    if not path.exists():
        write_json(path, own)
    elif json.loads(path.read_text(encoding="utf-8")) != own:
        raise ValueError(f"`out` must be a new folder, or one of the same settings. Received: another run's {path}")


def _make_bank(settings: Rooms, out: pathlib.Path, path: pathlib.Path) -> None:
    """Writes a model with the bank and no task."""
    pretraining = settings.pretraining
    rooms = StoredRooms(out / "rooms", 0, range(*pretraining.train), pretraining.size).render()
    donor = pretrain(pretraining, rooms, out / "pretraining")
    images = rooms.read(range(settings.response_images), ["image"])["image"]
    bank = rc_keras.FilterBank.from_task(donor, DONOR, images, settings.response_energy)
    with whole_file(path) as temporary:
        rc_keras.MultiTaskModel(bank, seed=pretraining.seed).save(temporary)


def _train_task(settings: Rooms, bank: pathlib.Path, name: str, out: pathlib.Path) -> pathlib.Path:
    """Trains a task on the bank; the path of its pack."""
    pack = out / "tasks" / f"{name}.rctask"
    if pack.exists():
        return pack
    rooms = StoredRooms(out / "rooms", 0, range(*settings.train), settings.pretraining.size).render()

    def make() -> rc_keras.MultiTaskModel:
        model = keras.saving.load_model(bank)
        model.add_task(next(task for task in scenes_tasks() if task.name == name))
        model.compile(make_optimizer(settings.learning_rate, settings.steps), metrics={name: []})
        return model

    print(f"Training {name}", flush=True)
    model = fit_resumably(
        make,
        lambda steps: RoomBatches(rooms, [name], settings.batch_size, settings.pretraining.seed, steps),
        settings.steps,
        settings.steps_per_epoch,
        out / "tasks" / name,
    )
    model.save_task(name, pack)
    return pack


def _assemble(
    settings: Rooms, bank: pathlib.Path, packs: dict[str, pathlib.Path], out: pathlib.Path
) -> dict[str, float]:
    """Puts the tasks on the bank, measures them as they are shipped and writes the preset."""
    model = keras.saving.load_model(bank)
    for pack in packs.values():
        model.load_task(pack)
    model.save_to_preset(out / "preset", dtype="float16")
    shipped = rc_keras.from_preset(out / "preset")
    shipped.compile()
    rooms = StoredRooms(out / "rooms", 1, range(settings.validation), settings.pretraining.size).render()
    labels = rooms.read(range(len(rooms)), ("image", *packs))
    images = labels.pop("image")
    results = shipped.evaluate(images, labels, batch_size=4, verbose=0, return_dict=True)
    results = {name: float(value) for name, value in results.items()}
    write_json(out / "results.json", results)
    return results
