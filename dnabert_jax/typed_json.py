"""JSON files to frozen dataclasses, every field of the right type and none unknown; or to what they say."""

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


def read_json(cls: type[_Record], path: Path) -> _Record:
    """Returns the dataclass that `to_json` wrote into a file.

    Raises:
        InputError: no such file, no JSON, an unknown field, a missing one without a default, a value of another type,
            or one that the dataclass itself refuses; the message names the file.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file.")
    return parse_json(cls, path.read_bytes(), str(path))


def parse_json(cls: type[_Record], text: bytes, name: str) -> _Record:
    """Returns the dataclass in the text of a file; raises InputError, which calls it by name, if it is none."""
    try:
        return dacite.from_dict(cls, json.loads(text), _SETTINGS)
    except (ValueError, dacite.DaciteError, TypeError, AttributeError, InputError) as error:
        raise InputError(f"{name} cannot be used as {cls.__name__}: {str(error).rstrip('.')}.") from error


def read_object(path: Path) -> dict[str, Any]:
    """Returns the object in another program's JSON file; raises InputError if it holds none."""
    try:
        values = json.loads(path.read_bytes())
    # The latter for what is nested too deep.
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}).") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no values by name.")
    return values


def to_json(record: Any) -> str:
    """Returns indented JSON of a dataclass."""
    return json.dumps(dataclasses.asdict(record), indent=2) + "\n"
