"""Looks into a trained model: what its tasks share, and what its bank spends filters on.

Usage:
    python -m rc_keras.zoo.diagnose --workdir RUN --manual_dir DIR [--images 64] [--only representation,responses]
    python -m rc_keras.zoo.diagnose --model m.keras --recipe nyud --scale small --manual_dir DIR --out DIR

Looks at `RUN/model.keras` with the recipe of the run, or at another model or recipe; fields given as flags replace the
recipe's. Prints a table, and writes JSON and a diagram to RUN or, where it is not the run itself that is looked at,
`--out`, for each of

- `representation`: how alike the tasks, and the pretrained network, see the same images, stage by stage;
- `gradients`: whether tasks pull the weights they share in opposite directions; on a frozen bank they share none;
- `responses`: how many rotated filters of each layer of the bank hold the energy of its responses.
"""

from absl import app, flags

from rc_keras.zoo.command_line import prepared_data, run_on_recipe
from rc_keras.zoo.trained_model import LOOKED_AT, SPLIT, resolve_trained_model

_ONLY = flags.DEFINE_list("only", ["representation", "gradients", "responses"], "The diagnostics to run.")
_IMAGES = flags.DEFINE_integer("images", 64, "How many images to look at, the first of the split.", lower_bound=3)
_STAGES = flags.DEFINE_list("stages", None, "Layers of the backbone to compare at; the ends of its stages by default.")
_POOLED = flags.DEFINE_bool("pooled", False, "Average features over positions before they are compared.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Arguments must be flags. Received: {argv[1:]}")
    model, recipe, out = resolve_trained_model()

    from rc_keras.zoo.diagnostics.report import check_names, diagnose

    try:
        check_names(_ONLY.value)
    except ValueError as error:
        raise app.UsageError(str(error)) from error
    options = {"images": _IMAGES.value, "only": _ONLY.value, "stages": _STAGES.value, "pooled": _POOLED.value}
    diagnose(model, recipe, prepared_data(recipe), out, split=SPLIT.value, **options)


if __name__ == "__main__":
    run_on_recipe(main, {"What is looked at": LOOKED_AT, "How": (_ONLY, _IMAGES, _STAGES, _POOLED)})
