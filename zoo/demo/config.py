"""What the demo does, and how much of it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """The resolved configuration, saved as `config.json` beside the page.

    Attributes:
        preset: the published preset that is shown first, and on whose bank the demo trains; of `scenes`.
        task_images: training images, at most 1,000: these the preset was not trained on.
        validation_images: images that nothing is trained on.
        shown_images: how many of these are on the page.
        tasks: names of the tasks that are trained first.
        added_task: name of the task that is added afterwards.
        batch_size: images in one step.
        epochs: length of the training; the added task has as many as the first ones.
        learning_rate: peak of the schedule, see `training.make_optimizer`.
        seed: base of everything random.
    """

    preset: str = "rooms"
    task_images: int = 500
    validation_images: int = 100
    shown_images: int = 4
    tasks: tuple[str, ...] = ("semseg", "normals", "depth")
    added_task: str = "saliency"
    batch_size: int = 8
    epochs: int = 5
    learning_rate: float = 2e-3
    seed: int = 0

    @classmethod
    def quick(cls) -> "DemoConfig":
        """Seconds of training on a few images: shows that everything runs, learns nothing."""
        return cls(
            task_images=4, validation_images=4, shown_images=2, tasks=("semseg", "depth"), batch_size=4, epochs=1
        )
