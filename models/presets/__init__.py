"""Presets: named sets of options per family, in one TOML file each, and their way into dataclasses."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import fields
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

TABLES = ("data", "network", "learning", "training")

Options = TypeVar("Options", bound="DataclassInstance")


def presets(family: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the family's presets by name, each a table of tables."""
    return tomllib.loads(resources.files("models.presets").joinpath(f"{family}.toml").read_text())


def load_preset(family: str, name: str, changes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return one preset with ``table.field=value`` changes applied; values are TOML, or a bare word.

    Raises:
        ValueError: no such preset, or a change is not of that form.
    """
    known = presets(family)
    if name not in known:
        raise ValueError(f"{family} has no preset {name!r}; it has {', '.join(known)}")
    preset = {table: dict(known[name].get(table, {})) for table in TABLES}
    for change in changes:
        path, equals, value = change.partition("=")
        table, dot, key = path.strip().partition(".")
        if not equals or not dot or table not in preset:
            raise ValueError(f"{change!r} is not of the form table.field=value (tables: {', '.join(TABLES)})")
        preset[table][key] = _value(value)
    return preset


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()  # a shell takes the quotes off a string


def options_from(kind: type[Options], table: str, values: dict[str, Any], **given: Any) -> Options:
    """Make options of a dataclass ``kind`` from the fields of a preset's table and those already ``given``.

    Raises:
        ValueError: a field is unknown or has a value it cannot have.
    """
    accepted = [field.name for field in fields(kind) if field.name not in given]
    unknown = [name for name in values if name not in accepted]
    if unknown:
        raise ValueError(f"{table} has no field {unknown[0]!r}; it has {', '.join(accepted)}")
    try:
        return msgspec.convert(values | given, kind)
    except msgspec.ValidationError as error:
        raise ValueError(str(error).replace("$.", f"{table}.")) from error
