"""``spam-train``: a labelled file becomes a checkpoint."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import logging
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from runtime import commands
from runtime.errors import SpamEdgeError


def require(command: str, extra: str, modules: tuple[str, ...]) -> None:
    """End the command with one line where what an extra brings is not installed."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        commands.fail(
            command, f"needs packages that are not installed ({', '.join(missing)}): pip install 'spam-edge[{extra}]'"
        )


def main() -> None:
    """Entry point of ``spam-train``."""
    require(
        "spam-train",
        "train",
        ("torch", "accelerate", "safetensors", "huggingface_hub", "pooch", "sklearn", "matplotlib"),
    )
    commands.run("spam-train", _with_recipe_flags(train))


def train(
    out: Annotated[Path, typer.Option(help="Checkpoint directory to write.")] = Path("artifacts/checkpoint"),
    config: Annotated[Path | None, typer.Option(help="TOML file with any of the flags below.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda; auto takes a GPU where there is one.")] = "auto",
    cache_gb: Annotated[
        float,
        typer.Option(
            help="Memory for what the frozen blocks make of the messages, in GB; the rest goes to a temporary file."
        ),
    ] = 2.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a run of the same recipe was interrupted.")
    ] = False,
    **recipe_flags: Any,
) -> None:
    """Fine-tune GPT-2 into a spam classifier.

    Flags go before what --config says, and that before the defaults of the model. Progress goes to stderr, the figures
    on the test set to stdout.
    """
    from trainer.pipeline import train_classifier
    from trainer.recipe import make_recipe

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    for noisy in ("httpx", "accelerate", "huggingface_hub"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if cache_gb < 0:
        raise SpamEdgeError(f"--cache-gb {cache_gb} is out of range")
    recipe = make_recipe(config, **recipe_flags)
    train_classifier(recipe, out, device=device, cache_bytes=int(cache_gb * 1e9), resume=resume)
    from accelerate import PartialState  # here, so that a mistake in the flags does not wait for it

    PartialState().destroy_process_group()


def _with_recipe_flags(function: Any) -> Any:
    """The function with a flag for every field of a recipe in its signature, as typer reads it."""
    from trainer.recipe import NANO, Recipe, flag

    hints = get_type_hints(Recipe)
    parameters = [
        p for p in inspect.signature(function, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD
    ]
    for field in dataclasses.fields(Recipe):
        note = f" (default: {field.default}" + (f"; nano: {NANO[field.name]})" if field.name in NANO else ")")
        names = (flag(field.name), flag("no_" + field.name)) if hints[field.name] is bool else (flag(field.name),)
        option = typer.Option(None, "/".join(names), help=field.metadata["help"] + note, show_default=False)
        parameters.append(
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=hints[field.name] | None
            )
        )

    def command(**values: Any) -> None:
        function(**values)

    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
