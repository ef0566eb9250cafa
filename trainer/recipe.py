"""A recipe: everything that decides how a model is trained."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from runtime.spec import Fold, Padding, Readout
from trainer.errors import TrainerError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Model = Literal["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "nano"]
Trainable = Literal["head", "last-block", "all", "lora"]
FROZEN = ("head", "last-block")
"""Ways of training in which the blocks below are frozen, and what they make of a message is kept."""
Balance = Literal["undersample", "weights", "none"]
Schedule = Literal["constant", "linear", "cosine"]
Precision = Literal["fp32", "bf16"]


def setting(default: Any, what: str) -> Any:
    """A field of a recipe with the text that ``--help`` shows for it."""
    return dataclasses.field(default=default, metadata={"help": what})


@dataclass(frozen=True)
class Recipe:
    """What `spam-train` is told, flags, TOML file and defaults taken together."""

    model: Model = setting("gpt2", "Shape: one of the four sizes of the paper, or nano.")
    weights: str = setting(
        "pretrained", "Starting weights: pretrained, random, or the path of a safetensors file or checkpoint directory."
    )
    data: str = setting(
        "sms", "Labelled messages: sms for the SMS Spam Collection, or a TSV, CSV, JSONL or Parquet file."
    )
    also: str = setting(
        "", "A second labelled file, of the same columns and labels, to learn from and not to be measured on."
    )
    text_column: str = setting("text", "Column that holds the message.")
    label_column: str = setting("label", "Column that holds the label.")
    spam_label: str = setting("spam", "The label that means spam; there must be one other.")
    balance: Balance = setting(
        "undersample", "What to do about more ham than spam: leave some out, weigh the loss, or nothing."
    )
    trainable: Trainable = setting(
        "last-block",
        "What is trained: head, last-block (with the final norm and the head), all, or lora (adapters on every layer).",
    )
    lora_rank: int = setting(16, "Rank of the adapters (Hu et al. 2021, 'LoRA').")
    lora_alpha: int = setting(16, "Scale of the adapters: their output is multiplied by alpha / rank.")
    readout: Readout = setting("last", "Token whose logits count: last or first.")
    padding: Padding = setting(
        "batch",
        "Whether padding counts as text: not at all (batch), to the longest training message, or to the whole context.",
    )
    fold: Fold = setting(
        "none",
        "What is done to every message before it is tokenized, in training and in use: nothing (none), or disguises "
        "are undone so that it reads as it looks (reader-1).",
    )
    epochs: int = setting(5, "Passes over the training messages.")
    batch_size: int = setting(8, "Messages in a batch.")
    accumulate: int = setting(1, "Batches whose gradients are added up before a step.")
    order: Literal["random", "length"] = setting(
        "random", "How messages come into batches: at random, or with others of about their length, which is faster."
    )
    learning_rate: float = setting(5e-5, "Of AdamW (Loshchilov & Hutter 2019), at its highest.")
    weight_decay: float = setting(0.1, "Of AdamW, on every trained tensor.")
    schedule: Schedule = setting(
        "constant",
        "How the learning rate goes on after the warm-up: constant, or down to 0 in a line or a half cosine.",
    )
    warmup: float = setting(0.0, "Share of all steps in which the learning rate rises from 0.")
    clip: float = setting(0.0, "Largest norm of the gradients of a step; 0: any.")
    decay: Literal["all", "matrices"] = setting(
        "all", "What the weight decay acts on: all, or no norms, biases and embeddings."
    )
    beta2: float = setting(0.999, "Of AdamW: decay of its running mean of squared gradients.")
    average: float = setting(0.0, "Decay of a running mean of the weights, which is what is kept; 0: no mean.")
    spelling: bool = setting(False, "Make token embeddings from spelling while training; for random weights.")
    augment: float = setting(
        0.0, "Share of the messages altered in an epoch: words left out, digits drawn anew, case, typing errors."
    )
    disguise: float = setting(
        0.0,
        "Share of the altered messages that are also disguised as filters are evaded: look-alike or invisible "
        "characters, words spaced out, digits for letters.",
    )
    distill: int = setting(
        0,
        "Messages remixed from the training messages in every epoch, judged by several small models and learned too; "
        "0: none.",
    )
    token_dropout: float = setting(0.0, "Share of a message's tokens left out, drawn anew every epoch.")
    dropout: float = setting(0.0, "Share of features zeroed in training, in the parts that are trained.")
    label_smoothing: float = setting(0.0, "Share of the target spread evenly over the labels (Szegedy et al. 2016).")
    select: Literal["last", "best"] = setting(
        "last", "Which epoch's weights are kept: the last, or the one with the lowest validation loss."
    )
    patience: int = setting(0, "Stop after this many epochs without a lower validation loss; 0: never.")
    threshold: float = setting(0.5, "Probability from which on a message is called spam.")
    target_fpr: float = setting(
        0.0, "Share of ham that may be called spam: the threshold is chosen for it; 0: it is --threshold."
    )
    precision: Precision = setting(
        "fp32", "Number format of the matrix products: fp32, or bf16 by autocast (the weights stay fp32)."
    )
    compile: bool = setting(False, "Compile the model with torch.compile before training.")
    seed: int = setting(123, "Of the split, the random weights, the order of the messages, and the dropout.")

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, with the reason; raises ``TrainerError``."""
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value, hint = getattr(self, field.name), hints[field.name]
            if get_origin(hint) is Literal:
                if value not in get_args(hint):
                    raise TrainerError(f"{flag(field.name)} {value!r}: choose one of {', '.join(get_args(hint))}")
            elif hint is float and isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, field.name, float(value))
            elif type(value) is not hint:
                raise TrainerError(f"{flag(field.name)} {value!r}: must be of type {hint.__name__}")
        ranges = {
            "lora_rank": self.lora_rank >= 1,
            "lora_alpha": self.lora_alpha >= 1,
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 1,
            "accumulate": self.accumulate >= 1,
            "learning_rate": self.learning_rate > 0,
            "weight_decay": self.weight_decay >= 0,
            "warmup": 0 <= self.warmup < 1,
            "clip": self.clip >= 0,
            "beta2": 0 <= self.beta2 < 1,
            "average": 0 <= self.average < 1,
            "augment": 0 <= self.augment <= 1,
            "disguise": 0 <= self.disguise <= 1,
            "distill": self.distill >= 0,
            "threshold": 0 < self.threshold < 1,
            "token_dropout": 0 <= self.token_dropout < 1,
            "dropout": 0 <= self.dropout < 1,
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "patience": self.patience >= 0,
            "target_fpr": 0 <= self.target_fpr < 1,
            "seed": 0 <= self.seed < 2**31,
        }
        for name, fine in ranges.items():
            if not fine:
                raise TrainerError(f"{flag(name)} {getattr(self, name)} is out of range")
        if self.model == "nano" and self.weights == "pretrained":
            raise TrainerError("there are no pretrained weights for nano: use --weights random or a path")
        if self.spelling and (self.weights != "random" or self.trainable != "all"):
            raise TrainerError("--spelling makes embeddings anew: it needs --weights random and --trainable all")
        for name in ("token_dropout", "augment", "distill"):
            if getattr(self, name) and self.trainable in FROZEN:
                raise TrainerError(
                    f"{flag(name)} changes the messages every epoch, and with --trainable {self.trainable} what the "
                    "frozen blocks make of them is kept: use --trainable all or lora"
                )
        if self.disguise and not self.augment:
            raise TrainerError("--disguise is a share of the altered messages: it needs --augment")
        if self.token_dropout and self.padding != "batch":
            raise TrainerError("--token-dropout changes lengths and --padding fixes them: use --padding batch")
        if self.trainable == "lora" and self.weights == "random":
            raise TrainerError(
                "--trainable lora adapts trained weights and --weights random has none: use --trainable all"
            )


NANO: dict[str, Any] = {
    "weights": "random",
    "trainable": "all",
    "spelling": True,
    "fold": "reader-1",
    "epochs": 12,
    "batch_size": 16,
    "order": "length",
    "learning_rate": 3e-3,
    "beta2": 0.99,
    "decay": "matrices",
    "schedule": "cosine",
    "warmup": 0.1,
    "clip": 1.0,
    "augment": 0.4,
    "disguise": 0.2,
    "dropout": 0.2,
    "token_dropout": 0.2,
    "label_smoothing": 0.05,
    "average": 0.99,
}
"""What nano trains with unless told otherwise: all of it, from random weights."""


def flag(name: str) -> str:
    """The command-line flag of a field."""
    return "--" + name.replace("_", "-")


def make_recipe(config: Path | None = None, **given: Any) -> Recipe:
    """Defaults of the model, then what a TOML file says, then what is given and not None.

    Defaults of nano that do not go together with what is said are left out.
    Raises ``TrainerError`` for a file that is not a recipe, and for what `Recipe` refuses.
    """
    stated = (read_recipe(config) if config else {}) | {
        name: value for name, value in given.items() if value is not None
    }
    defaults = NANO if stated.get("model") == "nano" else {}
    chosen = defaults | stated
    unfit: set[str] = set()
    if chosen.get("weights") != "random" or chosen.get("trainable") != "all":
        unfit |= {"spelling", "token_dropout"}
    if chosen.get("padding", "batch") != "batch":
        unfit |= {"token_dropout"}
    if chosen.get("trainable") in FROZEN:
        unfit |= {"augment", "disguise"}
    if not chosen.get("augment"):
        unfit |= {"disguise"}
    return Recipe(**({name: value for name, value in defaults.items() if name not in unfit} | stated))


def read_recipe(path: Path) -> dict[str, Any]:
    """The fields that a TOML file states. Raises ``TrainerError`` where it is not a recipe."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainerError(f"--config {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise TrainerError(f"--config {path} is not TOML: {error}") from error
    known = [field.name for field in dataclasses.fields(Recipe)]
    for name in values:
        if name not in known:
            raise TrainerError(f"--config {path}: there is no {name!r} in a recipe, but {', '.join(known)}")
    return values


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write every field as TOML; ``--config`` reads it back."""
    lines = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in dataclasses.asdict(recipe).items()
    ]
    path.write_text("".join(lines), encoding="utf-8")
