"""The command line of ``python -m server``: one option for each setting, and help that names them all."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from server import __version__
from server.settings import Settings, load_settings, variable

ABOUT = """\
Serve every model bundle of a folder over HTTP, with the attention behind each answer.

Every option can also be set by the variable named beside it; an option wins over its variable.
"""

EXAMPLES = """\
examples:
  python -m server                                     every bundle in model_repository, on port 8000
  python -m server --port 9000 --models dmn-plus-babi  one model, on another port
  ENGRAM_DEVICE=cuda python -m server                  refuse to start a model that would not run on CUDA

Then open http://127.0.0.1:8000/docs
"""

UNITS = {"_file": "FILE", "_bytes": "BYTES", "_ms": "MILLISECONDS", "_s": "SECONDS", "_hours": "HOURS"}
"""What a name ends in, and what its value then is."""


def read_settings(arguments: Sequence[str] | None = None) -> Settings:
    """Read the settings from the command line and the environment; an option wins over its variable.

    Raises:
        SettingsError: a value is not acceptable.
    """
    return load_settings(**_options(arguments))


def _options(arguments: Sequence[str] | None) -> dict[str, Any]:
    """Parse the command line, which has one option for each setting; only given ones are returned."""
    parser = argparse.ArgumentParser(
        prog="python -m server",
        usage="%(prog)s [options]",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"engram {__version__}")
    for name, field in Settings.model_fields.items():
        default = "none" if field.default in ((), {}, None) else field.default
        default = int(default) if isinstance(default, bool) else default
        parser.add_argument(
            "--" + name.replace("_", "-"),
            metavar=_form(name, field.annotation),
            help=f"{field.description} [{variable(name)}, default {default}]".replace("%", "%%"),
        )
    return vars(parser.parse_args(arguments))


def _form(name: str, annotation: Any) -> str:
    """Return what a setting of this name and type looks like on the command line."""
    if annotation is bool:
        return "0|1"
    if unit := next((form for end, form in UNITS.items() if name.endswith(end)), None):
        return unit
    choices = [
        choice for kind in get_args(annotation) or (annotation,) for choice in get_args(kind) or (kind,)
    ]
    if all(isinstance(choice, str) or choice is NoneType for choice in choices):
        return "|".join(choice for choice in choices if isinstance(choice, str))
    [kind, *_] = [kind for kind in get_args(annotation) or (annotation,) if kind is not NoneType]
    return {int: "NUMBER", float: "NUMBER", Path: "FOLDER"}.get(kind, "TEXT")
