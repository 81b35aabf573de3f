"""Training: the tasks that come first, and one that comes later."""

from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np

import rc_keras
from rc_keras.zoo.demo.config import DemoConfig
from rc_keras.zoo.demo.data import training_batches, validation_batches


def make_optimizer(config: DemoConfig) -> keras.optimizers.Optimizer:
    """Adam; the learning rate rises for the first epoch and then falls along a cosine."""
    steps = config.task_images // config.batch_size
    schedule = keras.optimizers.schedules.CosineDecay(
        config.learning_rate / 10,
        decay_steps=max(steps * (config.epochs - 1), 1),
        alpha=0.01,
        warmup_target=config.learning_rate,
        warmup_steps=steps,
    )
    return keras.optimizers.Adam(schedule)


def make_model(
    config: DemoConfig, bank: rc_keras.FilterBank, tasks: Sequence[rc_keras.Task]
) -> rc_keras.MultiTaskModel:
    """A compiled `MultiTaskModel` of new tasks on a bank."""
    model = rc_keras.MultiTaskModel(bank, seed=config.seed)
    for task in tasks:
        model.add_task(task)
    model.trainable_tasks = model.tasks
    model.compile(optimizer=make_optimizer(config))
    return model


def fit(
    config: DemoConfig,
    model: rc_keras.MultiTaskModel,
    names: Iterable[str],
    training: Mapping[str, np.ndarray],
    validation: Mapping[str, np.ndarray],
) -> dict[str, list[float]]:
    """Trains some tasks of a model; returns Keras's history, `{entry: [value of each epoch]}`."""
    return model.fit(
        training_batches(training, names, config),
        validation_data=validation_batches(validation, names),
        epochs=config.epochs,
        verbose=2,
    ).history


def measure(
    model: rc_keras.MultiTaskModel, names: Iterable[str], validation: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """The metric of each task on the validation images, `{task: number}`."""
    results = model.evaluate(validation_batches(validation, names), verbose=0, return_dict=True)
    return {name: float(results[metric_key(model.task(name))]) for name in names}


def metric_key(task: rc_keras.Task) -> str:
    """The task's metric in Keras's logs, e.g. `"depth_rmse"`."""
    return f"{task.name}_{task.make_metrics()[0].name}"


def add_task(
    config: DemoConfig,
    model: rc_keras.MultiTaskModel,
    task: rc_keras.Task,
    training: Mapping[str, np.ndarray],
    validation: Mapping[str, np.ndarray],
) -> tuple[dict[str, list[float]], dict[str, dict[str, int]]]:
    """Adds and trains a task, and compares what the others answer before and after.

    Returns:
        `(history, comparison)`; `comparison` is `{task: {"compared": numbers, "differing": numbers}}` of predictions
        for all validation images.
    """
    before = model.predict(validation["image"], batch_size=20, verbose=0)
    model.add_task(task)
    history = fit(config, model, [task.name], training, validation)
    after = model.predict(validation["image"], batch_size=20, verbose=0)
    comparison = {
        name: {"compared": answer.size, "differing": int(np.count_nonzero(answer != after[name]))}
        for name, answer in before.items()
    }
    return history, comparison
