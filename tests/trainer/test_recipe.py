"""Recipes: defaults, files, flags, and what does not go together."""

from dataclasses import asdict
from pathlib import Path

import pytest

from trainer.errors import TrainerError
from trainer.recipe import Recipe, make_recipe, write_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


def test_gpt2_trains_as_the_chapter_does_unless_told_otherwise() -> None:
    recipe = make_recipe()
    assert (recipe.model, recipe.weights, recipe.trainable) == ("gpt2", "pretrained", "last-block")
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == (5, 8, 5e-5, 0.1)


def test_nano_has_its_own_defaults() -> None:
    assert (make_recipe(model="nano").weights, make_recipe(model="nano").trainable) == ("random", "all")


def test_only_nano_folds_its_texts_unless_told_otherwise() -> None:
    assert (make_recipe().fold, make_recipe(model="nano").fold) == ("none", "reader-1")
    assert make_recipe(model="nano", fold="none").fold == "none"


def test_defaults_of_nano_give_way_to_what_is_said() -> None:
    recipe = make_recipe(model="nano", trainable="last-block")
    assert (recipe.spelling, recipe.token_dropout, recipe.augment, recipe.disguise) == (False, 0.0, 0.0, 0.0)
    assert make_recipe(model="nano", padding="longest").token_dropout == 0.0
    assert make_recipe(model="nano", augment=0.0).disguise == 0.0 < make_recipe(model="nano").disguise
    with pytest.raises(TrainerError, match="--spelling"):
        make_recipe(model="nano", trainable="last-block", spelling=True)


def test_flags_go_before_the_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('model = "nano"\nepochs = 2\nbatch_size = 4\n')
    recipe = make_recipe(tmp_path / "r.toml", epochs=3)
    assert (recipe.model, recipe.epochs, recipe.batch_size, recipe.trainable) == ("nano", 3, 4, "all")


def test_a_written_recipe_reads_back_the_same(tmp_path: Path) -> None:
    recipe = make_recipe(model="nano", data='odd "näme"\\.tsv', compile=True, target_fpr=0.01)
    write_recipe(tmp_path / "r.toml", recipe)
    assert make_recipe(tmp_path / "r.toml") == recipe


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"epochs": 0}, "--epochs 0 is out of range"),
        ({"epochs": "many"}, "--epochs 'many': must be of type int"),
        ({"epochs": True}, "must be of type int"),
        ({"fold": "reader-9"}, "--fold 'reader-9': choose one of none, reader-1"),
        ({"padding": "none"}, "--padding 'none': choose one of batch, longest, context"),
        ({"model": "gpt3"}, "--model 'gpt3': choose one of"),
        ({"learning_rate": -1.0}, "--learning-rate -1.0 is out of range"),
        ({"model": "nano", "weights": "pretrained"}, "no pretrained weights for nano"),
        ({"weights": "random", "trainable": "lora"}, "--trainable lora adapts trained weights"),
        ({"trainable": "last-block", "distill": 100}, "--distill changes the messages every epoch"),
        ({"target_fpr": 1.5}, "--target-fpr 1.5 is out of range"),
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


def test_whole_numbers_stand_for_floats() -> None:
    assert asdict(Recipe(learning_rate=1))["learning_rate"] == 1.0
