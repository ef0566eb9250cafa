"""A recipe: everything that decides how a model is trained."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from runtime.spec import Fold, Padding, Readout
from trainer.errors import TrainerError
from trainer.evaluation.protocols import Groups

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Model = Literal["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "nano"]
Trainable = Literal["head", "last-block", "all", "lora"]
FROZEN = ("head", "last-block")
"""Ways of training in which the blocks below are frozen, and what they make of a message is kept."""
FEWEST_ROWS, MOST_ROWS = 1 << 16, 1 << 24
"""Rows of the wide path's table: with fewer, a hash divided by their number does not fit into 16 bits."""
Balance = Literal["undersample", "weights", "none"]
Schedule = Literal["constant", "linear", "cosine"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Bounds:
    """The numbers that a field may hold."""

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def hold(self, value: float) -> bool:
        """Whether a number is within the bounds; infinity and what is not a number never are."""
        return self.least <= value <= self.most and self.above < value < self.below

    def __str__(self) -> str:
        limits = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return " and ".join(f"{name} {limit:g}" for name, limit in limits.items() if math.isfinite(limit))


ANY = Bounds()
SHARE = Bounds(least=0, most=1)
DECAY = Bounds(least=0, below=1)
POSITIVE = Bounds(least=1)
NOT_NEGATIVE = Bounds(least=0)


def setting(default: Any, what: str, bounds: Bounds = ANY, *, flag: bool = False) -> Any:
    """A field of a recipe.

    Args:
        default: the value where nothing is stated.
        what: the text that ``--help`` shows, in whole sentences.
        bounds: the numbers that the field may hold.
        flag: whether ``spam-train`` has a flag for the field; the others are given by ``--set`` or in a file.
    """
    return dataclasses.field(default=default, metadata={"help": what, "bounds": bounds, "flag": flag})


@dataclass(frozen=True)
class Recipe:
    """Everything that `spam-train` is asked for: flags, TOML file and defaults taken together."""

    data: tuple[str, ...] = setting(
        ("sms",),
        "Labelled messages: sms for the SMS Spam Collection, a TSV, CSV, JSONL or Parquet file (TSV, CSV and JSONL may "
        "be gzipped), or a folder with such files. Give the flag several times to read several, one after the other.",
        flag=True,
    )
    text_column: str = setting("text", "Name of the column that holds the message.", flag=True)
    label_column: str = setting("label", "Name of the column that holds the label.", flag=True)
    spam_label: str = setting("spam", "Label that means spam; the data must have exactly one other label.", flag=True)
    model: Model = setting("gpt2", "Shape of the model: one of GPT-2's four sizes, or nano.", flag=True)
    weights: str = setting(
        "pretrained",
        "Initial weights: pretrained, random, or the path of a safetensors file or checkpoint folder.",
        flag=True,
    )
    groups: Groups = setting(
        "none",
        "Messages that stay in one part of the split: none, or near-repeats (equal but for case, digits and spacing, "
        "or sharing more than half of their 9-character pieces).",
    )
    validation: float = setting(0.1, "Share of the messages to validate on.", Bounds(above=0, below=1))
    test: float = setting(0.2, "Share of the messages to test on.", Bounds(above=0, below=1))
    trainable: Trainable = setting(
        "last-block",
        "Part of the model that is trained: head, last-block (with the final norm and the head), all, or lora "
        "(low-rank adapters on every layer).",
        flag=True,
    )
    lora_rank: int = setting(16, "Rank of the LoRA adapters (Hu et al. 2021).", POSITIVE)
    lora_alpha: int = setting(16, "Scale of the LoRA adapters: their output is multiplied by alpha / rank.", POSITIVE)
    readout: Readout = setting("last", "Token whose logits are the message's: last or first.", flag=True)
    padding: Padding = setting(
        "batch",
        "How messages are padded. With batch the model never sees padding. With longest (to the longest training "
        "message) and context (to the whole context) padding counts as text.",
        flag=True,
    )
    balance: Balance = setting(
        "undersample",
        "How to treat more ham than spam: undersample leaves ham out, weights weighs the loss, none does nothing.",
        flag=True,
    )
    fold: Fold = setting(
        "none",
        "What is done to every message before it is tokenized, in training and in use: nothing (none), or disguises "
        "are undone so that it reads as it looks (reader-1).",
        flag=True,
    )
    wide: int = setting(
        0,
        "Number of n-grams in the table of a wide path, whose logits are added to the transformer's; 0 makes none.",
        Bounds(least=0, most=MOST_ROWS),
        flag=True,
    )
    wide_ridge: float = setting(0.1, "Penalty of the ridge regression that fits the wide path.", Bounds(above=0))
    epochs: int = setting(5, "Number of passes over the training messages.", POSITIVE, flag=True)
    batch_size: int = setting(8, "Number of messages in a batch.", POSITIVE, flag=True)
    accumulate: int = setting(1, "Number of batches whose gradients are summed before a step.", POSITIVE, flag=True)
    order: Literal["random", "length"] = setting(
        "random", "How messages are grouped into batches: at random, or by similar length, which is faster."
    )
    learning_rate: float = setting(5e-5, "Peak learning rate (AdamW).", Bounds(above=0), flag=True)
    weight_decay: float = setting(0.1, "Weight decay (AdamW).", NOT_NEGATIVE)
    schedule: Schedule = setting(
        "constant",
        "Learning rate after the warm-up: constant, linear (falls to 0 in a line) or cosine (in a half cosine).",
    )
    warmup: float = setting(0.0, "Share of all steps in which the learning rate rises from 0.", DECAY)
    clip: float = setting(0.0, "Clip the gradient norm to this value; 0 disables clipping.", NOT_NEGATIVE)
    decay: Literal["all", "matrices"] = setting(
        "all", "Tensors that the weight decay acts on: all, or matrices (no norms, biases or embeddings)."
    )
    beta2: float = setting(0.999, "Decay of AdamW's running mean of squared gradients.", DECAY)
    average: float = setting(
        0.0, "Decay of a running mean of the weights, which is what is kept; 0 keeps the last weights.", DECAY
    )
    spelling: bool = setting(
        False, "Compose token embeddings from the tokens' spelling during training; for random weights."
    )
    augment: float = setting(
        0.0,
        "Share of the messages altered in every epoch: words are left out, digits drawn anew, case changed and typing "
        "errors made.",
        SHARE,
    )
    disguise: float = setting(
        0.0,
        "Share of the altered messages that are also disguised as spam is to evade filters: look-alike or invisible "
        "characters, words spaced out, digits for letters.",
        SHARE,
    )
    distill: int = setting(
        0,
        "Number of messages remixed from the training messages in every epoch, which the model learns from the scores "
        "that several small models give them; 0 makes none.",
        NOT_NEGATIVE,
    )
    token_dropout: float = setting(0.0, "Share of a message's tokens left out, drawn anew in every epoch.", DECAY)
    dropout: float = setting(0.0, "Share of features zeroed during training, in the trained part.", DECAY)
    label_smoothing: float = setting(
        0.0, "Share of the target spread evenly over the labels (Szegedy et al. 2016).", DECAY
    )
    select: Literal["last", "best"] = setting(
        "last", "Epoch whose weights are kept: the last, or the one with the lowest validation loss."
    )
    patience: int = setting(
        0, "Stop after this many epochs without a lower validation loss; 0 never stops early.", NOT_NEGATIVE
    )
    precision: Precision = setting(
        "fp32", "Number format of the matrix products: fp32, or bf16 by autocast (weights stay fp32).", flag=True
    )
    compile: bool = setting(False, "Compile the model with torch.compile before training.")
    seed: int = setting(
        123, "Random seed for the split, initial weights, batch order and dropout.", Bounds(0, below=2**31), flag=True
    )
    threshold: float = setting(
        0.5, "Spam probability from which a message is called spam.", Bounds(above=0, below=1), flag=True
    )
    target_fpr: float = setting(
        0.0,
        "Share of ham that may be called spam: the threshold is chosen for it. With 0 the threshold is --threshold.",
        DECAY,
        flag=True,
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, with the reason; raises ``TrainerError``."""
        for field in fields():
            value = _checked(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        if self.validation + self.test >= 1:
            raise TrainerError(
                f"{as_flag('validation', self.validation)} {as_flag('test', self.test)}: nothing is left to train on"
            )
        if 0 < self.wide < FEWEST_ROWS:
            raise TrainerError(f"{as_flag('wide', self.wide)}: must be 0, or at least {FEWEST_ROWS}")
        for conflict in CONFLICTS:
            if conflict.why and conflict.when(self):
                for name in conflict.resets:
                    value = getattr(self, name)
                    if value != _FIELDS[name].default:
                        raise TrainerError(f"{as_flag(name, value)} {conflict.why.format(self)}")


class Conflict(NamedTuple):
    """Fields that a combination of others leaves no use for."""

    when: Callable[[Any], bool]
    """Whether the values of a recipe are such a combination."""
    resets: tuple[str, ...]
    """Fields that must then be what they are without a word: stated otherwise they are an error, and a model's own
    defaults for them are dropped."""
    why: str
    """What follows the flag in the error, formatted with the recipe; empty where the fields may well be stated."""


CONFLICTS = (
    Conflict(
        lambda r: r.model == "nano" and r.weights == "pretrained",
        ("model",),
        "has no pretrained weights: use --weights random or a path",
    ),
    Conflict(
        lambda r: r.trainable == "lora" and r.weights == "random",
        ("trainable",),
        "adapts trained weights and --weights random has none: use --trainable all",
    ),
    Conflict(
        lambda r: r.weights != "random" or r.trainable != "all",
        ("spelling",),
        "makes embeddings anew: it needs --weights random and --trainable all",
    ),
    Conflict(lambda r: r.weights != "random" or r.trainable != "all", ("token_dropout",), ""),
    Conflict(
        lambda r: r.trainable in FROZEN,
        ("token_dropout", "augment", "distill"),
        "changes the messages every epoch, and with --trainable {0.trainable} what the frozen blocks make of them is "
        "kept: use --trainable all or lora",
    ),
    Conflict(
        lambda r: r.padding != "batch",
        ("token_dropout",),
        "changes lengths and --padding {0.padding} fixes them: use --padding batch",
    ),
    Conflict(
        lambda r: not r.augment, ("disguise",), "is a share of the altered messages: it needs --set augment=SHARE"
    ),
)
"""The one list of what does not go together; a later row sees what the rows before it have reset."""

TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def fields() -> tuple[dataclasses.Field[Any], ...]:
    """The fields of a recipe."""
    return dataclasses.fields(Recipe)


_FIELDS = {field.name: field for field in fields()}


@functools.cache
def types() -> dict[str, Any]:
    """The type of each field of a recipe."""
    return get_type_hints(Recipe)


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    """A value as the field holds it. Raises ``TrainerError`` where it is of another type or out of bounds."""
    kind = types()[field.name]
    given = as_flag(field.name, value)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise TrainerError(f"{given}: choose one of {', '.join(get_args(kind))}")
    elif get_origin(kind) is tuple:
        value = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value
        if not isinstance(value, tuple) or not value or not all(isinstance(item, str) and item for item in value):
            raise TrainerError(f"{given}: must be text, or a list of texts")
    elif kind is float and type(value) is int:
        value = float(value)
    elif type(value) is not kind:
        raise TrainerError(f"{given}: must be {TYPE_NAMES[kind]}")
    bounds: Bounds = field.metadata["bounds"]
    if kind in (int, float) and not bounds.hold(value):
        raise TrainerError(f"{given} is out of range: it must be {str(bounds) or 'finite'}")
    return value


def flag(name: str) -> str:
    """The command-line flag of a field."""
    return "--" + name.replace("_", "-")


def as_flag(name: str, value: Any) -> str:
    """A field and its value as they are given to ``spam-train``."""
    if not _FIELDS[name].metadata["flag"]:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return f"--set {shlex.quote(f'{name}={text}')}"
    if isinstance(value, bool):
        return flag(name if value else f"no_{name}")
    items = value if isinstance(value, (tuple, list)) else (value,)
    return " ".join(f"{flag(name)} {shlex.quote(str(item))}" for item in items)


def unknown(name: str, known: Iterable[str]) -> str:
    """What is wrong with a name that is none of a recipe's fields."""
    known = list(known)
    near = difflib.get_close_matches(name, known)
    return f"there is no {name!r} in a recipe, but {', '.join(near or known)}"


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Fields out of ``NAME=VALUE`` texts, as ``--set`` takes them. Raises ``TrainerError``."""
    others = [field.name for field in fields() if not field.metadata["flag"]]
    parsed: dict[str, Any] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise TrainerError(f"--set {text}: must be NAME=VALUE")
        if name not in others:
            if name in _FIELDS:
                raise TrainerError(f"--set {text}: this field has a flag of its own, {flag(name)}")
            raise TrainerError(f"--set {text}: {unknown(name, others)}")
        parsed[name] = _parsed(name, value.strip())
    return parsed


def _parsed(name: str, text: str) -> Any:
    """A value out of its text; what the text cannot be stays text, which `Recipe` refuses with the reason."""
    kind = types()[name]
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text


@functools.cache
def model_defaults(model: str) -> Mapping[str, Any]:
    """Fields in which a model's defaults differ from those of `Recipe`: nano's are in ``nano.toml``."""
    return read_recipe(Path(__file__).with_name("nano.toml")) if model == "nano" else {}


def make_recipe(config: Path | None = None, **given: Any) -> Recipe:
    """Defaults of the model, then what a TOML file says, then what is given and not None.

    A model's defaults that do not go together with what is stated are dropped (see `CONFLICTS`).
    Raises ``TrainerError`` for a file that is not a recipe, and for what `Recipe` refuses.
    """
    stated = (read_recipe(config) if config else {}) | {
        name: value for name, value in given.items() if value is not None
    }
    plain = {field.name: field.default for field in fields()}
    defaults = dict(model_defaults(stated["model"])) if stated.get("model") == "nano" else {}
    for conflict in CONFLICTS:
        if conflict.when(SimpleNamespace(**(plain | defaults | stated))):
            for name in conflict.resets:
                defaults.pop(name, None)
    return Recipe(**(defaults | stated))


def read_recipe(path: Path) -> dict[str, Any]:
    """The fields that a TOML file states. Raises ``TrainerError`` where it is not a recipe."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainerError(f"--config {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise TrainerError(f"--config {path} is not TOML: {error}") from error
    for name in values:
        if name not in _FIELDS:
            raise TrainerError(f"--config {path}: {unknown(name, _FIELDS)}")
    return values


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write every field as TOML; ``--config`` reads it back."""
    lines = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in dataclasses.asdict(recipe).items()
    ]
    path.write_text("".join(lines), encoding="utf-8")
