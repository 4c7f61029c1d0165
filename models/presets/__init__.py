"""Presets: named sets of options per family, in one TOML file each."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any


def presets(family: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the family's presets by name, each a table of tables."""
    return tomllib.loads(resources.files("models.presets").joinpath(f"{family}.toml").read_text())


def load_preset(family: str, name: str, changes: list[str]) -> dict[str, dict[str, Any]]:
    """Return one preset with ``table.field=value`` changes applied; values are TOML.

    Raises:
        ValueError: no such preset, or a change is not of that form.
    """
    known = presets(family)
    if name not in known:
        raise ValueError(f"{family} has no preset {name!r}; it has {', '.join(known)}")
    preset = {
        table: dict(known[name].get(table, {})) for table in ("data", "network", "learning", "training")
    }
    for change in changes:
        path, equals, value = change.partition("=")
        table, dot, key = path.strip().partition(".")
        if not equals or not dot or table not in preset:
            raise ValueError(f"{change!r} is not of the form table.field=value (tables: {', '.join(preset)})")
        try:
            preset[table][key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{change!r}: the value must be TOML (strings in quotes)") from error
    return preset
