"""Recipes: one module for each data set, with the function `recipe(scale, tasks)`."""

from types import ModuleType

from rc_keras.base.names import unknown_name
from rc_keras.zoo.recipes import folder, nyud, pascal_context, scenes
from rc_keras.zoo.recipes.recipe import Recipe

RECIPES = {"nyud": nyud, "pascal_context": pascal_context, "scenes": scenes, "folder": folder}


def get_recipe(name: str) -> ModuleType:
    """The module of a recipe: `recipe(scale, tasks)`, `TASKS` and `SCALES`; raises `ValueError` for an unknown name."""
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


__all__ = ["RECIPES", "Recipe", "get_recipe"]
