"""``spam-train``: a labelled file becomes a checkpoint."""

from __future__ import annotations

import dataclasses
import inspect
import logging
from pathlib import Path
from typing import Annotated, Any, get_origin

import typer

from runtime import commands
from runtime.errors import SpamEdgeError


def main() -> None:
    """Entry point of ``spam-train``."""
    commands.require(
        "spam-train",
        "train",
        ("torch", "accelerate", "safetensors", "huggingface_hub", "pooch", "sklearn", "matplotlib"),
    )
    commands.run("spam-train", _with_recipe_flags(train))


def train(
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")] = Path("artifacts/checkpoint"),
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file that states fields of the recipe, by the names of the flags or others."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Device to train on: auto (a GPU where there is one), cpu or cuda.")
    ] = "auto",
    cache_gb: Annotated[
        float,
        typer.Option(
            help="Memory, in GB, for the outputs of the frozen blocks; what does not fit goes to a temporary file."
        ),
    ] = 2.0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run of the same recipe.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Set any other field of the recipe; they are listed above.",
            show_default=False,
        ),
    ] = None,
    **flags: Any,
) -> None:
    """Fine-tune GPT-2 into a spam classifier.

    Flags override the file given by --config, and that overrides the defaults of the model. Progress goes to stderr,
    the figures on the test set to stdout.
    """
    from trainer.pipeline import train_classifier
    from trainer.recipe import make_recipe, parse_settings

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    for noisy in ("httpx", "accelerate", "huggingface_hub"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if not 0 <= cache_gb < float("inf"):
        raise SpamEdgeError(f"--cache-gb {cache_gb} is out of range: it must be at least 0")
    recipe = make_recipe(config, **parse_settings(settings or ()), **flags)
    train_classifier(recipe, out, device=device, cache_bytes=int(cache_gb * 1e9), resume=resume)
    from accelerate import PartialState  # here, so that a mistake in the flags does not wait for it

    PartialState().destroy_process_group()


def _with_recipe_flags(function: Any) -> Any:
    """The function with a flag for each field of a recipe that has one in its signature, as typer reads it.

    The fields without one are listed at the end of its help.
    """
    from trainer.recipe import fields, flag, model_defaults, types

    def note(field: dataclasses.Field[Any]) -> str:
        defaults = [_shown(field.default)]
        if field.name in model_defaults("nano"):
            defaults.append(f"nano: {_shown(model_defaults('nano')[field.name])}")
        return f"{field.metadata['help']} (default: {'; '.join(defaults)})"

    parameters = [
        p for p in inspect.signature(function, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD
    ]
    others = []
    for field in fields():
        kind = types()[field.name]
        if not field.metadata["flag"]:
            others.append(f"{field.name}: {note(field)}")
            continue
        names = (flag(field.name), flag("no_" + field.name)) if kind is bool else (flag(field.name),)
        several = get_origin(kind) is tuple
        option = typer.Option(
            None, "/".join(names), help=note(field), show_default=False, metavar="<str>" if several else None
        )
        annotation = (list[str] if several else kind) | None
        parameters.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=annotation)
        )

    def command(**values: Any) -> None:
        function(**values)

    text = inspect.cleandoc(function.__doc__ or "")
    command.__doc__ = "\n\n".join([text, "Other fields of the recipe, for --set and --config:", *others])
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _shown(value: Any) -> str:
    """A default as help shows it."""
    return (
        " ".join(value) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else str(value)
    )
