"""The preset `rooms` from the first picture to the folder."""

import dataclasses
import os
import pathlib

import keras

from rc_keras.files.whole_files import write_json
from rc_keras.zoo.datasets.data import open_data
from rc_keras.zoo.evaluation.report import evaluate
from rc_keras.zoo.evaluation.results import Results
from rc_keras.zoo.recipes import Recipe
from rc_keras.zoo.rooms.pretraining import Pretraining, pretrain
from rc_keras.zoo.strategy import make_strategy
from rc_keras.zoo.training.run import train


@dataclasses.dataclass(frozen=True)
class Rooms:
    """What is made.

    Attributes:
        dataset: configuration of `scenes`.
        pretraining: the `Pretraining`.
        tasks: names of the tasks.
        steps: optimizer steps of the tasks.
        checkpoint_every: steps between their checkpoints; divides `steps`.
        learning_rate: of the tasks, at the first step.
        response_energy: the share of the responses' energy that the bank keeps.
        response_images: how many images response initialization looks at.
    """

    dataset: str = "scenes/rooms_128"
    pretraining: Pretraining = dataclasses.field(default_factory=Pretraining)
    tasks: tuple[str, ...] = ("semseg", "parts", "edge", "saliency", "normals", "depth")
    steps: int = 8000
    checkpoint_every: int = 250
    learning_rate: float = 2e-3
    response_energy: float = 0.95
    response_images: int = 256

    @classmethod
    def quick(cls) -> "Rooms":
        """A few tiny images and steps: shows that everything runs, learns nothing."""
        pretraining = Pretraining(
            depths=(1, 1, 1, 1),
            widths=(8, 8, 8, 8),
            decoder_width=8,
            low_level_width=8,
            size=64,
            split="train",
            batch_size=4,
            steps=2,
            checkpoint_every=1,
        )
        return cls("scenes/tiny", pretraining, ("semseg", "depth"), steps=2, checkpoint_every=1, response_images=4)

    def recipe(self, donor: str) -> Recipe:
        """The run of the tasks, on the bank of a saved network."""
        size = self.pretraining.size
        return Recipe(
            self.dataset,
            self.tasks,
            crop=(size, size),
            steps=self.steps,
            checkpoint_every=self.checkpoint_every,
            response_images=self.response_images,
            response_energy=self.response_energy,
            decoder_bank=donor,
            scales=(1.0, 1.0, 1.15, 1.3),
            batch_size=self.pretraining.batch_size,
            optimizer="adam",
            learning_rate=self.learning_rate,
            seed=self.pretraining.seed,
        )


def make_rooms(settings: Rooms, out: str | os.PathLike, data_dir: str | os.PathLike | None = None) -> Results:
    """Makes the preset, or goes on where it was stopped.

    The folder gets `settings.json`, `pretraining/`, `tasks/`, a run folder as of `rc_keras.zoo.train` with its
    results, and last `preset/`.

    Args:
        settings: the `Rooms`.
        out: the folder; made if it is missing.
        data_dir: where TFDS keeps data sets; `None`: its default.

    Returns:
        What the tasks measure on the validation rooms.
    """
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "settings.json", dataclasses.asdict(settings))
    data = open_data(settings.dataset, data_dir=None if data_dir is None else os.fspath(data_dir))
    data.prepare()
    donor = (out / "pretraining" / "donor.keras").resolve()
    if not donor.exists():
        donor.parent.mkdir(exist_ok=True)
        pretrain(settings.pretraining, data.builder, donor.parent).save(donor)
    recipe, strategy = settings.recipe(str(donor)), make_strategy("none")
    trained = train(recipe, data, out / "tasks", strategy)
    results = evaluate(trained, recipe, data, strategy, out / "tasks")
    keras.saving.load_model(trained).save_to_preset(out / "preset", dtype="float16")
    return results
