"""What the demo does, and how much of it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """The resolved configuration, saved as `config.json` beside the page.

    Attributes:
        size: height and width of the images, pixels.
        pretraining_images: training images for the backbone; the tasks never see them.
        task_images: training images for the tasks.
        validation_images: images that nothing is trained on.
        shown_images: how many of these are on the page.
        depths, widths: the ResNet, see `rc_keras.backbones.resnet`.
        decoder_width: channels of the decoder; its low-level skip has half as many.
        tasks: names of the tasks that are trained first.
        added_task: name of the task that is added afterwards.
        batch_size: images in one step.
        pretraining_epochs, epochs: length of the trainings; the added task has as many as the first ones.
        learning_rate: peak of the schedule, see `training.make_optimizer`.
        seed: base of everything random.
    """

    size: int = 96
    pretraining_images: int = 500
    task_images: int = 500
    validation_images: int = 100
    shown_images: int = 6
    depths: tuple[int, ...] = (1, 1, 1, 1)
    widths: tuple[int, ...] = (16, 32, 64, 128)
    decoder_width: int = 32
    tasks: tuple[str, ...] = ("semseg", "normals", "depth")
    added_task: str = "saliency"
    batch_size: int = 8
    pretraining_epochs: int = 20
    epochs: int = 8
    learning_rate: float = 4e-3
    seed: int = 0

    @classmethod
    def quick(cls) -> "DemoConfig":
        """Seconds of training on a few images: shows that everything runs, learns nothing."""
        return cls(
            size=32,
            pretraining_images=8,
            task_images=8,
            validation_images=4,
            shown_images=2,
            widths=(8, 8, 8, 8),
            decoder_width=8,
            tasks=("semseg", "depth"),
            batch_size=4,
            pretraining_epochs=1,
            epochs=1,
        )
