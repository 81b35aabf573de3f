"""Trains a recipe and measures the result; started again, goes on where it was stopped.

Usage:
    python -m rc_keras.zoo.train --recipe nyud --method rcm --backbone resnet18 --scale paper --weights imagenet \\
        --manual_dir DIR --data_dir DIR --workdir RUN

Every field of the recipe is a flag, see `--help`; tuples are values between commas: `--tasks edge,depth`,
`--crop 256,256`. RUN gets the resolved `recipe.json`, `augmentation.png` (what the network is shown), checkpoints,
`history.jsonl`, `tensorboard/`, and at the end `model.keras`, `results.json`, `results.md` and `predictions.png`.

With `--strategy mirrored` each batch is divided among the GPUs of the machine, with `multi_worker` among the machines
of `TF_CONFIG`, each of which runs this command with a `--workdir` they share. When a worker dies, end the others and
start all again.
"""

import pathlib

from absl import app

from rc_keras.zoo.command_line import (
    DATA_DIR,
    MANUAL_DIR,
    RECIPE,
    SCALE,
    STRATEGY,
    WORKDIR,
    prepared_data,
    resolve_recipe,
    run_on_recipe,
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Arguments must be flags. Received: {argv[1:]}")
    if WORKDIR.value is None:
        raise app.UsageError("`--workdir` must be given.")
    try:
        recipe = resolve_recipe()
    except ValueError as error:
        raise app.UsageError(str(error)) from error

    from rc_keras.zoo.strategy import make_strategy
    from rc_keras.zoo.training.determinism import make_deterministic

    if STRATEGY.value == "none":  # replicas wait for each other, which takes a thread for each
        make_deterministic()
    strategy = make_strategy(STRATEGY.value)
    data = prepared_data(recipe)

    from rc_keras.zoo.evaluation.report import evaluate
    from rc_keras.zoo.training.run import train

    model = train(recipe, data, WORKDIR.value, strategy)
    evaluate(model, recipe, data, strategy, pathlib.Path(WORKDIR.value))


if __name__ == "__main__":
    run_on_recipe(main, {"The run": (RECIPE, SCALE, MANUAL_DIR, DATA_DIR, WORKDIR, STRATEGY)})
