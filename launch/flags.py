"""How the command line reads flags."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from dnabert_jax.errors import InputError
from dnabert_jax.storage import Location, is_url, local_copy

SETTINGS = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
"""A switch has one flag, --resume, and no --no-resume; a value that may be missing is left out, not given as None."""

REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def _path_or_url(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """PATH is a local path, which a URL would silently become; PATH|URL may be either."""
    if info.type not in (Path, Location):
        return None

    return _paths(_local if info.type is Path else _location, "PATH" if info.type is Path else "PATH|URL")


def _location(text: str) -> Location:
    text = text.removeprefix("file://")
    if re.match("(gs|s3|az|abfs|http|https|memory):?/", text) and not is_url(text):
        # Not ValueError, of which tyro would make a page.
        raise InputError(f"{text} is not a URL: write {text.split('/')[0].rstrip(':')}://.")
    return text if is_url(text) else Path(text)


def _local(text: str) -> Path:
    location = _location(text)
    if isinstance(location, Path):
        return location
    raise InputError(f"{text} is a URL. Give a local path (docs/pods.md mounts a bucket as one).")


def _regular(text: str) -> Path:
    path = INPUT_COPIES.enter_context(local_copy(_local(text)))
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    return path


def _paths(read: Callable[[str], Location], metavar: str) -> PrimitiveConstructorSpec[Any]:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda arguments: read(arguments[0]),
        is_instance=lambda value: isinstance(value, (str, Path)),
        str_from_instance=lambda value: [str(value)],
    )


INPUT_COPIES = contextlib.ExitStack()
"""Copies of what came through pipes, which are removed when this closes."""

InputPath = Annotated[Path, _paths(_regular, "PATH|-")]
"""A local file to read: also - for standard input, or a pipe such as <(zcat x.gz), which is copied so that it can be
read as often as need be."""
