"""A run: from a recipe to a trained model, resumable at every checkpoint."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Iterator

import keras
import numpy as np

import rc_keras
from rc_keras.methods import get_method
from rc_keras.training.non_finite_loss import StopAtNonFiniteLoss
from rc_keras.zoo.datasets.data import Data
from rc_keras.zoo.preprocessing import check_sizes, write_contact_sheet
from rc_keras.zoo.progress import StepProgress
from rc_keras.zoo.recipes import Recipe
from rc_keras.zoo.recipes.batches import (
    evaluation_stream,
    images_of_step,
    measured_pairs,
    preprocessing,
    response_images,
    training_stream,
)
from rc_keras.zoo.recipes.network import build_network
from rc_keras.zoo.strategy import Strategy
from rc_keras.zoo.training import run_folder
from rc_keras.zoo.training.checkpoints import Checkpoints, SaveCheckpoints
from rc_keras.zoo.training.history import History
from rc_keras.zoo.training.summaries import Summaries

SHOWN_IMAGES = 4


def train(
    recipe: Recipe, data: Data, workdir: str | os.PathLike, strategy: Strategy, verbose: str | int = "auto"
) -> pathlib.Path:
    """Trains, or goes on with a run that was stopped.

    The folder gets `recipe.json`, `augmentation.png` (what training images look like), `checkpoints/`, `history.jsonl`,
    `tensorboard/` and last `model.keras`. A run that was killed and started again ends with the weights of one that was
    not, on a CPU to the last bit if the process is deterministic (`make_deterministic`).

    Args:
        recipe: the `Recipe`.
        data: the prepared `Data`.
        workdir: folder of the run; made if it is missing.
        strategy: see `rc_keras.zoo.strategy`.
        verbose: as in `keras.Model.fit`; `"auto"` is 2 where standard output is no terminal, and 2 tells the step now
            and then.

    Returns:
        The path of the trained model.

    Raises:
        ValueError: if the folder holds a run of another recipe, or a damaged or foreign checkpoint; if a validation
            image does not fit in the crop.
        NonFiniteLossError: at a loss that is no number; names step, task and images.
        OSError: if a checkpoint cannot be written, and the last good one stays; or if another process trains in the
            folder (`BlockingIOError`).
    """
    workdir = pathlib.Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    with run_folder.lock(workdir) if strategy.is_chief else contextlib.nullcontext():
        return _train(recipe, data, workdir, strategy, verbose)


def _train(recipe: Recipe, data: Data, workdir: pathlib.Path, strategy: Strategy, verbose: str | int) -> pathlib.Path:
    begun = run_folder.holds(workdir, recipe)
    if strategy.is_chief and not begun:
        run_folder.begin(workdir, recipe)
    trained = workdir / "model.keras"
    if trained.exists():
        print(f"`{trained}` is there: nothing left to train.")
        return trained
    if not begun:
        tasks, how = data.select(recipe.tasks), preprocessing(recipe)
        check_sizes(data.builder, "validation", how)
        if strategy.is_chief:
            write_contact_sheet(workdir / "augmentation.png", data.builder, "train", tasks, how, recipe.seed)
    checkpoints = Checkpoints(workdir / "checkpoints", strategy)
    model, step = _model(recipe, data, checkpoints, strategy)
    if step < recipe.steps:
        _fit(model, step, recipe, data, workdir, checkpoints, strategy, verbose)
    if strategy.is_chief:
        model.save(trained)
    return trained


def make_model(recipe: Recipe, data: Data) -> rc_keras.MultiTaskModel:
    """The compiled model of a recipe, untrained."""
    tasks = data.select(recipe.tasks)
    if recipe.add_to is not None:
        model = keras.saving.load_model(recipe.add_to)
        _check_crop("add_to", model, recipe)
        own = model.bank.method.name
        if get_method(recipe.method).name != own:
            raise ValueError(
                f"`method` must be that of the model of `add_to`, {own!r}. Received: method={recipe.method!r}"
            )
        for task in tasks:
            if task.name not in model.tasks:
                batches = training_stream(recipe, data) if recipe.init_from == "nearest" else None
                nearest = model.add_task(task, init_from=recipe.init_from, data=batches)
                if nearest is not None:
                    print(nearest, flush=True)
        model.trainable_tasks = recipe.tasks
    else:
        images = response_images(recipe, data)
        if recipe.decoder_bank is None:
            model = build_network(recipe, tasks, recipe.weights, images)
        else:
            model = rc_keras.MultiTaskModel(_decoder_bank(recipe, images), seed=recipe.seed)
            for task in tasks:
                model.add_task(task)
            model.trainable_tasks = recipe.tasks
    schedule = keras.optimizers.schedules.PolynomialDecay(
        recipe.learning_rate, recipe.steps, end_learning_rate=0.0, power=recipe.power
    )
    if recipe.optimizer == "adam":
        model.compile(optimizer=keras.optimizers.Adam(schedule))
    else:
        model.compile(optimizer=rc_keras.optimizers.SGD(schedule, momentum=recipe.momentum, l2=recipe.l2))
    return model


def _check_crop(field: str, model: rc_keras.MultiTaskModel, recipe: Recipe) -> None:
    image_shape = (*recipe.crop, 3)
    if model.image_shape != image_shape:
        raise ValueError(
            f"The model of `{field}` must take images of shape {image_shape}, the recipe's crop. Received: "
            f"{getattr(recipe, field)}, which takes {model.image_shape}"
        )


def _decoder_bank(recipe: Recipe, images: np.ndarray | None) -> rc_keras.FilterBank:
    model = keras.saving.load_model(recipe.decoder_bank)
    if len(model.tasks) != 1:
        raise ValueError(
            f"The model of `decoder_bank` must have one task. Received: {recipe.decoder_bank}, which has {model.tasks}"
        )
    _check_crop("decoder_bank", model, recipe)
    return rc_keras.FilterBank.from_task(
        model,
        model.tasks[0],
        response_images=images,
        response_energy=recipe.response_energy,
        method=recipe.method,
        shared_stages=recipe.shared_stages,
    )


def _model(
    recipe: Recipe, data: Data, checkpoints: Checkpoints, strategy: Strategy
) -> tuple[rc_keras.MultiTaskModel, int]:
    """The model to go on with, and the steps it has taken."""
    steps = checkpoints.steps()
    strategy.wait()  # until every worker has looked
    if not steps and strategy.num_workers > 1:
        # Responses and random numbers may differ in the last bit from machine to machine: all start from the chief's.
        with strategy.scope():
            model = make_model(recipe, data)
        checkpoints.save(model, 0)
        strategy.wait()
        steps = [0]
    with strategy.scope():
        if not steps:
            return make_model(recipe, data), 0
        print(f"Going on with step {steps[-1]} of {recipe.steps}.")
        return checkpoints.load(steps[-1], recipe.tasks, (*recipe.crop, 3)), steps[-1]


def _fit(
    model: rc_keras.MultiTaskModel,
    step: int,
    recipe: Recipe,
    data: Data,
    workdir: pathlib.Path,
    checkpoints: Checkpoints,
    strategy: Strategy,
    verbose: str | int,
) -> None:
    tasks = data.select(recipe.tasks)
    every = recipe.checkpoint_every
    drop_remainder = strategy.num_replicas > 1  # a smaller batch does not divide
    stream = training_stream(recipe, data, step, drop_remainder)
    batches = evaluation_stream(recipe, data, tasks)
    images, labels, _ = next(iter(batches.unbatch().batch(SHOWN_IMAGES)))
    validation = {}
    if recipe.validate_every:
        pairs = measured_pairs(batches, tasks, recipe.batch_size, strategy.num_replicas)
        validation = {
            "validation_data": strategy.distribute(pairs),
            "validation_freq": recipe.validate_every // every,
        }

    def place(epoch: int, step_of_epoch: int) -> str:
        step = epoch * every + step_of_epoch
        return f"step {step}, on the images {', '.join(images_of_step(recipe, data, step, drop_remainder))}"

    chief = strategy.is_chief
    callbacks = [
        StopAtNonFiniteLoss(place),
        History(workdir / "history.jsonl", recipe.steps, every, step, write=chief),
        Summaries(
            workdir / "tensorboard",
            np.asarray(images),
            {name: np.asarray(label) for name, label in labels.items()},
            every,
            write=chief,
        ),
        SaveCheckpoints(checkpoints, every),
    ]
    if verbose == "auto" and not sys.stdout.isatty():  # a bar would fill the file that output goes to
        verbose = 2
    if verbose == 2 and chief:
        callbacks.append(StepProgress(recipe.steps, every, step))
    with _data_removed(data, checkpoints):
        model.fit(
            strategy.distribute(stream),
            steps_per_epoch=every,
            epochs=recipe.steps // every,
            initial_epoch=step // every,
            **validation,
            callbacks=callbacks,
            verbose=verbose if chief else 0,
        )


@contextlib.contextmanager
def _data_removed(data: Data, checkpoints: Checkpoints) -> Iterator[None]:
    """Says what happened when the prepared data disappears under a run."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        folder = pathlib.Path(data.builder.data_path)
        if folder.exists() and any(folder.glob("*tfrecord*")):
            raise
        steps = checkpoints.steps()
        last = f"Its last good checkpoint is `{checkpoints.path(steps[-1])}`." if steps else "It has no checkpoint yet."
        raise FileNotFoundError(
            f"`{folder}`, the prepared data, must stay until the run ends, but is gone. {last}"
        ) from error
