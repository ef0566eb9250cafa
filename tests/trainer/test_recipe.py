"""Recipes: defaults, files, flags, and what does not go together."""

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path

import pytest

from trainer.errors import TrainerError
from trainer.recipe import FEWEST_ROWS, Recipe, as_flag, fields, make_recipe, parse_settings, write_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


def test_gpt2_trains_as_the_chapter_does_unless_told_otherwise() -> None:
    recipe = make_recipe()
    assert (recipe.model, recipe.weights, recipe.trainable) == ("gpt2", "pretrained", "last-block")
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == (5, 8, 5e-5, 0.1)


def test_nano_has_its_own_defaults() -> None:
    recipe = make_recipe(model="nano")
    assert (recipe.weights, recipe.trainable, recipe.groups) == ("random", "all", "near-repeats")
    assert recipe.wide >= FEWEST_ROWS and make_recipe(model="nano", wide=0).wide == 0 == make_recipe().wide


def test_only_nano_folds_its_texts_unless_told_otherwise() -> None:
    assert (make_recipe().fold, make_recipe(model="nano").fold) == ("none", "reader-1")
    assert make_recipe(model="nano", fold="none").fold == "none"


def test_defaults_of_nano_give_way_to_what_is_said() -> None:
    recipe = make_recipe(model="nano", trainable="last-block")
    assert (recipe.spelling, recipe.token_dropout, recipe.augment, recipe.disguise) == (False, 0.0, 0.0, 0.0)
    assert make_recipe(model="nano", padding="longest").token_dropout == 0.0
    assert make_recipe(model="nano", weights="somewhere").token_dropout == 0.0
    assert make_recipe(model="nano", augment=0.0).disguise == 0.0 < make_recipe(model="nano").disguise
    with pytest.raises(TrainerError, match="--set spelling=true makes embeddings anew"):
        make_recipe(model="nano", trainable="last-block", spelling=True)


def test_flags_go_before_the_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('model = "nano"\nepochs = 2\nbatch_size = 4\n')
    recipe = make_recipe(tmp_path / "r.toml", epochs=3)
    assert (recipe.model, recipe.epochs, recipe.batch_size, recipe.trainable) == ("nano", 3, 4, "all")


def test_a_written_recipe_reads_back_the_same(tmp_path: Path) -> None:
    recipe = make_recipe(model="nano", data=["sms", 'odd "näme"\\.tsv'], compile=True, target_fpr=0.01)
    write_recipe(tmp_path / "r.toml", recipe)
    assert make_recipe(tmp_path / "r.toml") == recipe


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"epochs": 0}, "--epochs 0 is out of range"),
        ({"epochs": "many"}, "--epochs many: must be a whole number"),
        ({"epochs": True}, "--epochs: must be a whole number"),
        ({"fold": "reader-9"}, "--fold reader-9: choose one of none, reader-1"),
        ({"padding": "none"}, "--padding none: choose one of batch, longest, context"),
        ({"model": "gpt3"}, "--model gpt3: choose one of"),
        ({"learning_rate": -1.0}, "--learning-rate -1.0 is out of range"),
        ({"model": "nano", "weights": "pretrained"}, "--model nano has no pretrained weights: use"),
        ({"weights": "random", "trainable": "lora"}, "--trainable lora adapts trained weights"),
        ({"trainable": "last-block", "distill": 100}, "--set distill=100 changes the messages every epoch"),
        ({"target_fpr": 1.5}, "--target-fpr 1.5 is out of range: it must be at least 0 and below 1"),
        ({"learning_rate": float("inf")}, "--learning-rate inf is out of range"),
        ({"clip": float("nan")}, "--set clip=nan is out of range"),
        ({"data": []}, "must be text, or a list of texts"),
        ({"validation": 0.5, "test": 0.5}, "--set validation=0.5 --set test=0.5: nothing is left to train on"),
        ({"groups": "campaigns"}, "--set groups=campaigns: choose one of none, near-repeats"),
        ({"wide": 1000}, "--wide 1000: must be 0, or at least 65536"),
        ({"wide": 65535}, "--wide 65535: must be 0, or at least 65536"),
        ({"wide": 2**24 + 1}, "--wide 16777217 is out of range"),
        ({"wide": -1}, "--wide -1 is out of range"),
        ({"wide_ridge": 0.0}, "--set wide_ridge=0.0 is out of range: it must be above 0"),
        ({"disguise": 0.5}, "--set disguise=0.5 is a share of the altered messages"),
        ({"weights": "random", "trainable": "all", "token_dropout": 0.1, "padding": "longest"}, "--padding longest"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_reason(wrong: dict[str, object], complaint: str) -> None:
    with pytest.raises(TrainerError, match=complaint):
        make_recipe(**wrong)


def test_files_that_are_no_recipe_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    with pytest.raises(TrainerError, match="No such file"):
        make_recipe(file)
    file.write_text("epochs = ")
    with pytest.raises(TrainerError, match="is not TOML"):
        make_recipe(file)
    file.write_text("epoch = 3")
    with pytest.raises(TrainerError, match=r"there is no 'epoch' in a recipe, but .*epochs"):
        make_recipe(file)


@pytest.mark.parametrize("file", sorted(RECIPES.glob("[0-9]*.toml")), ids=lambda path: path.stem)
def test_recipes_of_the_published_table_stay_what_they_are(file: Path) -> None:
    written = json.loads(Path(__file__).with_name("recipes.json").read_text())
    expected = written["01-last-block"] | written[file.stem]
    recipe = json.loads(json.dumps(asdict(make_recipe(file))))
    assert {name: recipe[name] for name in expected} == expected


def test_one_file_and_a_list_of_one_are_the_same_data(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('data = "a.tsv"\n')
    assert make_recipe(tmp_path / "r.toml") == make_recipe(data=["a.tsv"])


def test_other_fields_are_set_by_name_and_of_their_type() -> None:
    parsed = parse_settings(["clip=1", "lora-rank=4", "spelling=true", "schedule=cosine"])
    assert parsed == {"clip": 1.0, "lora_rank": 4, "spelling": True, "schedule": "cosine"}
    recipe = make_recipe(weights="random", trainable="all", **parsed)
    assert (recipe.clip, recipe.lora_rank, recipe.spelling, recipe.schedule) == (1.0, 4, True, "cosine")


def test_what_a_model_card_shows_of_a_field_is_what_sets_it() -> None:
    recipe = make_recipe(model="nano")
    for field in fields():
        option, *value = shlex.split(as_flag(field.name, getattr(recipe, field.name)))
        if option == "--set":
            assert parse_settings(value) == {field.name: getattr(recipe, field.name)}
        else:
            assert option == f"--{field.name.replace('_', '-')}"


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("clip", "--set clip: must be NAME=VALUE"),
        ("clipp=1", "--set clipp=1: there is no 'clipp' in a recipe, but clip"),
        ("epochs=3", "--set epochs=3: this field has a flag of its own, --epochs"),
        ("clip=much", "--set clip=much: must be a number"),
        ("lora_rank=1.5", "--set lora_rank=1.5: must be a whole number"),
        ("spelling=maybe", "--set spelling=maybe: must be true or false"),
        ("schedule=slow", "--set schedule=slow: choose one of constant, linear, cosine"),
        ("warmup=1", "--set warmup=1.0 is out of range: it must be at least 0 and below 1"),
    ],
)
def test_a_setting_that_is_none_is_refused(setting: str, complaint: str) -> None:
    with pytest.raises(TrainerError, match=f"^{re.escape(complaint)}$"):
        make_recipe(**parse_settings([setting]))


def test_whole_numbers_stand_for_floats() -> None:
    assert asdict(Recipe(learning_rate=1))["learning_rate"] == 1.0
