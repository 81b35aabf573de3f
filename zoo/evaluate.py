"""Measures a trained model with every metric of its tasks.

Usage:
    python -m rc_keras.zoo.evaluate --workdir RUN --manual_dir DIR
    python -m rc_keras.zoo.evaluate --workdir RUN --manual_dir DIR --split train --edge_suppression=false --out DIR
    python -m rc_keras.zoo.evaluate --model m.keras --recipe nyud --scale small --manual_dir DIR --out DIR

Measures `RUN/model.keras` with the recipe of the run, or another model or recipe; fields given as flags replace the
recipe's. Prints a table and writes `results.json`, `results.md` and `predictions.png` to `--out`. RUN keeps what the
run itself measured: only the first form writes there.
"""

from absl import app, flags

from rc_keras.zoo.command_line import STRATEGY, field_values, prepared_data, run_on_recipe
from rc_keras.zoo.trained_model import LOOKED_AT, SPLIT, resolve_trained_model

_SUPPRESSION = flags.DEFINE_bool(
    "edge_suppression", True, "Thin edges by non-maximum suppression before they are matched, as seism does."
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Arguments must be flags. Received: {argv[1:]}")
    model, recipe, out = resolve_trained_model("edge_suppression")

    from rc_keras.zoo.evaluation.report import evaluate
    from rc_keras.zoo.strategy import make_strategy

    strategy = make_strategy(STRATEGY.value)
    options = {"split": SPLIT.value, "tasks": field_values().get("tasks"), "suppress": _SUPPRESSION.value}
    evaluate(model, recipe, prepared_data(recipe), strategy, out, **options)


if __name__ == "__main__":
    run_on_recipe(main, {"What is measured": LOOKED_AT, "How": (_SUPPRESSION, STRATEGY)})
