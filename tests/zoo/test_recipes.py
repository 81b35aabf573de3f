"""Recipes resolve to the published protocol, and say what is wrong with a flag."""

import dataclasses
import importlib
import json

import pytest

import rc_keras
from rc_keras.methods import METHODS
from rc_keras.zoo.datasets.data import DATASETS, open_data
from rc_keras.zoo.recipes import RECIPES, Recipe, get_recipe
from rc_keras.zoo.recipes.batches import response_images
from rc_keras.zoo.recipes.network import build_network, make_decoder
from rc_keras.zoo.recipes.recipe import FIELDS, describe_fields, parse_field

TINY = {"dataset": "scenes/tiny", "tasks": ("depth",), "crop": (64, 64), "steps": 8, "checkpoint_every": 4}


@pytest.mark.parametrize("name, scale", [(name, scale) for name, module in RECIPES.items() for scale in module.SCALES])
def test_every_recipe_resolves(name, scale):
    module = get_recipe(name)
    recipe = module.recipe(scale, module.TASKS or ("depth",))
    assert recipe.method in METHODS and recipe.backbone in rc_keras.backbones.BACKBONES
    assert recipe.tasks == (module.TASKS or ("depth",))
    dataset = recipe.dataset.partition("/")[0]
    assert callable(importlib.import_module(DATASETS[dataset]).open_data)
    if dataset != "folder":  # whose tasks are the user's
        assert [task.name for task in open_data(recipe.dataset).select(recipe.tasks)] == list(recipe.tasks)


def test_paper_scale_is_the_published_protocol():
    nyud = get_recipe("nyud").recipe("paper")
    assert (nyud.steps, nyud.crop, nyud.edge_tolerance) == (19875, (425, 560), 0.011)
    pascal = get_recipe("pascal_context").recipe("paper")
    assert (pascal.steps, pascal.crop, pascal.edge_tolerance) == (37500, (512, 512), 0.0075)
    people = get_recipe("pascal_context").recipe("paper", ("human_parts",))
    assert (people.steps, people.images_with) == (13020, "has_human_parts") and pascal.images_with is None
    for recipe in (nyud, pascal):
        assert (recipe.learning_rate, recipe.power, recipe.momentum, recipe.l2) == (0.005, 0.9, 0.9, 1e-4)
        assert recipe.batch_size == 8 and recipe.flip and recipe.resize is None
        assert recipe.scales == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
        assert (recipe.decoder_width, recipe.low_level_width, recipe.output_stride) == (256, 48, 16)


def test_a_saved_recipe_is_the_same(tmp_path):
    recipe = Recipe(**TINY, resize=(64, 64), weights="w.npz")
    recipe.save(tmp_path / "recipe.json")
    loaded = Recipe.load(tmp_path / "recipe.json")
    assert loaded == recipe and not recipe.differences(loaded)
    other = dataclasses.replace(recipe, l2=0.5)
    assert recipe.differences(other) == {"l2": (1e-4, 0.5)}


@pytest.mark.parametrize("text", ["[]", "{", '{"steps": 8}', '{"unheard": 1}'])
def test_what_is_no_recipe_is_refused(tmp_path, text):
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="must be a recipe"):
        Recipe.load(path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"steps": 9}, "must divide `steps`"),
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"validate_every": 6}, "multiple of `checkpoint_every`"),
        ({"decoder": "lrasp"}, "`decoder` must be one of .* Did you mean 'lraspp'"),
        ({"tasks": ()}, "`tasks` must be"),
        ({"tasks": ("a", "a")}, "`tasks` must be"),
    ],
)
def test_numbers_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{**TINY, **change})


def test_every_field_is_described():
    assert list(describe_fields()) == [field.name for field in FIELDS]
    assert all(describe_fields().values())


def test_a_recipe_names_its_decoder_and_its_widths():
    decoder = make_decoder(Recipe(**TINY))
    assert isinstance(decoder, rc_keras.decoders.DeepLabV3Plus)
    assert (decoder.width, decoder.low_level_width, decoder.rates) == (256, 48, (6, 12, 18))
    light = make_decoder(Recipe(**TINY, decoder="lraspp", decoder_width=24, low_level_width=7))
    assert isinstance(light, rc_keras.decoders.LRASPP) and light.width == 24
    recipe = Recipe(**TINY, decoder="lraspp", decoder_width=8, method="rc_identity")
    model = build_network(recipe, [rc_keras.Task("depth", 1, "depth")])
    assert isinstance(model.decoder("depth"), rc_keras.decoders.LRASPP)


def test_a_recipe_of_an_older_version_has_its_decoder(tmp_path):
    values = dataclasses.asdict(Recipe(**TINY))
    del values["decoder"]
    (tmp_path / "recipe.json").write_text(json.dumps(values))
    assert Recipe.load(tmp_path / "recipe.json") == Recipe(**TINY)


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("tasks", "edge, depth", ("edge", "depth")),
        ("tasks", "edge", ("edge",)),
        ("crop", "96,128", (96, 128)),
        ("resize", "none", None),
        ("resize", "96,128", (96, 128)),
        ("scales", "1,1.5", (1.0, 1.5)),
        ("flip", "false", False),
        ("learning_rate", "1e-3", 1e-3),
        ("steps", "12", 12),
        ("weights", "a,b.pth", "a,b.pth"),
    ],
)
def test_flags_are_read(name, text, value):
    parsed = parse_field(name, text)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    "name, text", [("crop", "96"), ("crop", "96,128,3"), ("steps", "many"), ("flip", "maybe"), ("scales", "1,x")]
)
def test_wrong_values_name_the_flag(name, text):
    with pytest.raises(ValueError, match=f"`--{name}` must be .* Received: --{name}={text}"):
        parse_field(name, text)


def test_unknown_names():
    with pytest.raises(ValueError, match="nyud"):
        get_recipe("nyu")
    with pytest.raises(ValueError, match="Did you mean 'steps'"):
        parse_field("step", "1")


def test_recipes_are_plain_data(tmp_path):
    recipe = get_recipe("nyud").recipe("small")
    recipe.save(tmp_path / "recipe.json")
    assert json.loads((tmp_path / "recipe.json").read_text())["steps"] == recipe.steps


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not method.response_init])
def test_other_methods_look_at_no_responses(method):
    """A bank of theirs refuses images."""
    assert response_images(Recipe(**TINY, method=method, response_images=8), data=None) is None
