"""The flags that the commands of the zoo share, and what they resolve to."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from rc_keras.base.command import Group, run
from rc_keras.base.names import unknown_name
from rc_keras.zoo.datasets.data import Data, open_data
from rc_keras.zoo.recipes import RECIPES, Recipe, get_recipe
from rc_keras.zoo.recipes.recipe import FIELDS, describe_fields, format_field, parse_field

RECIPE = flags.DEFINE_string("recipe", None, f"Name of the recipe: {', '.join(RECIPES)}.")
SCALE = flags.DEFINE_string("scale", None, "Scale of the recipe, such as paper or small; its first one by default.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "Folder of the archive; for recipe folder the root of the data.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps prepared data; its own folder by default.")
STRATEGY = flags.DEFINE_string("strategy", "none", "How to divide batches: none, mirrored or multi_worker.")
_FIELDS = {name: flags.DEFINE_string(name, None, text) for name, text in describe_fields().items()}


def run_on_recipe(main: Callable[[list[str]], Any], groups: Mapping[str, Group], without: Sequence[str] = ()) -> None:
    """Runs a command that takes the flags of a recipe; see `rc_keras.base.command.run`.

    Args:
        main: the command.
        groups: `{heading: flags}` but for the fields of the recipe, which help shows after them with the values of the
            recipe that stands beside `--help`, or else with what fields are where a recipe says nothing.
        without: names of fields that the command does not take.
    """
    fields = [flag for name, flag in _FIELDS.items() if name not in without]
    heading = "Fields of the recipe, with --recipe NAME --help in brackets as that recipe has them"
    run(main, {**groups, heading: fields}, _field_defaults)


def _field_defaults() -> dict[str, str]:
    """What the fields of a recipe are by default, `{name: text}`."""
    values = {field.name: field.default for field in FIELDS if field.default is not dataclasses.MISSING}
    with contextlib.suppress(ValueError):
        module = get_recipe(RECIPE.value or "")
        values = vars(module.recipe(SCALE.value or module.SCALES[0], module.TASKS or ("…",)))
    return {name: format_field(value) for name, value in values.items()}


def resolve_recipe() -> Recipe:
    """The `Recipe` of the flags `--recipe`, `--scale` and those of single fields.

    Raises:
        ValueError: for an unknown recipe or scale, and for values that are none.
    """
    if RECIPE.value is None:
        raise ValueError("`--recipe` must be given. Received: none")
    module = get_recipe(RECIPE.value)
    scale = SCALE.value or module.SCALES[0]
    if scale not in module.SCALES:
        raise unknown_name("scale", scale, module.SCALES)
    values = field_values()
    tasks = values.get("tasks") or module.TASKS
    if tasks is None:
        tasks = tuple(open_data("folder", MANUAL_DIR.value, DATA_DIR.value).tasks)
    return dataclasses.replace(module.recipe(scale, tasks), **values)


def field_values() -> dict[str, Any]:
    """The fields of a recipe that are given on the command line, `{name: value}`."""
    return {name: parse_field(name, flag.value) for name, flag in _FIELDS.items() if flag.value is not None}


def prepared_data(recipe: Recipe) -> Data:
    """The `Data` of a recipe, prepared; reading an archive takes minutes, the first time."""
    from rc_keras.zoo.datasets.preparation import hide_bars_in_files

    hide_bars_in_files()
    data = open_data(recipe.dataset, MANUAL_DIR.value, DATA_DIR.value)
    data.select(recipe.tasks)
    data.prepare()
    return data
