"""What the commands have in common: one line and exit code 2 for a user's mistake, quiet ends otherwise."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from runtime.errors import SpamEdgeError

_ClickError: Any = typer.BadParameter.__mro__[2]  # click's ClickException; some versions of typer bring their own click


def fail(command: str, message: str) -> NoReturn:
    """Print one line to stderr and exit with code 2."""
    print(f"{command}: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)


def require(command: str, extra: str, modules: tuple[str, ...]) -> None:
    """End the command with one line where what an extra brings is not installed."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        fail(command, f"needs packages that are not installed ({', '.join(missing)}): pip install 'spam-edge[{extra}]'")


def run(command: str, main: Callable[..., object]) -> NoReturn:
    """Run ``main`` as a command of that name, with its typer annotations as flags, and exit.

    Exit codes: 0, what ``main`` raised as ``typer.Exit``, 2 for a mistake of the user (`SpamEdgeError`, a wrong
    flag, a file that the system refuses), 130 after Ctrl-C. A reader that went away ends the command quietly.
    """
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command(name=command)(_guarded(main))
    try:
        code = typer.main.get_command(app).main(prog_name=command, standalone_mode=False)
        sys.stdout.flush()
    except (_ReaderGoneError, BrokenPipeError):
        _close_stdout()
        raise SystemExit(0) from None
    except (typer.Abort, KeyboardInterrupt):
        print(file=sys.stderr)
        raise SystemExit(130) from None
    except _ClickError as error:
        fail(command, error.format_message() + f" (see {command} --help)")
    except SpamEdgeError as error:
        fail(command, str(error))
    except OSError as error:
        _close_stdout()
        fail(command, f"{error.filename or 'input or output'}: {error.strerror or error}")
    raise SystemExit(code if isinstance(code, int) else 0)


class _ReaderGoneError(Exception):
    """Stands for ``BrokenPipeError``, which click would turn into exit code 1."""


def _guarded(main: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(main)
    def call(*arguments: object, **named: object) -> object:
        try:
            return main(*arguments, **named)
        except BrokenPipeError as error:
            raise _ReaderGoneError from error

    return call


def _close_stdout() -> None:
    """Send what is still buffered nowhere, so that Python's last flush does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
