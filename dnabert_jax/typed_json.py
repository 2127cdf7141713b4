"""JSON to frozen dataclasses, every field of the right type and none unknown."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import dacite

from dnabert_jax.errors import InputError

_Record = TypeVar("_Record")

_SETTINGS = dacite.Config(
    strict=True,
    cast=[tuple],
    # JSON does not tell 1 from 1.0; nothing else is converted.
    type_hooks={float: lambda value: float(value) if type(value) is int else value},
)


def from_json(cls: type[_Record], text: str, source: Path) -> _Record:
    """The dataclass that `to_json` wrote.

    Raises:
        InputError: no JSON, an unknown or missing field, or a value of another type; the message names `source`.
    """
    try:
        return dacite.from_dict(cls, json.loads(text), _SETTINGS)
    except (json.JSONDecodeError, dacite.DaciteError, TypeError, AttributeError) as error:
        raise InputError(f"{source} cannot be read as {cls.__name__}: {error}.") from error


def to_json(record: Any) -> str:
    """Indented JSON of a dataclass."""
    return json.dumps(dataclasses.asdict(record), indent=2) + "\n"
