"""How the command line reads flags."""

import re
from pathlib import Path
from typing import Any

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from dnabert_jax.errors import InputError
from dnabert_jax.storage import Location, is_url

SETTINGS = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
"""A switch has one flag, --resume, and no --no-resume; a value that may be missing is left out, not given as None."""

REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def _path_or_url(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """PATH is a local path, which a URL would silently become; PATH|URL may be either."""
    if info.type not in (Path, Location):
        return None

    def read(arguments: list[str]) -> Location:
        text = arguments[0].removeprefix("file://")
        if re.match("(gs|s3|az|abfs|http|https|memory):?/", text) and not is_url(text):
            raise ValueError(f"{text} is no URL: write {text.split('/')[0].rstrip(':')}://")
        if not is_url(text):
            return Path(text)
        if info.type is Path:
            # Not ValueError, of which tyro would make a page.
            raise InputError(f"{text} is a URL: this must be a local path (docs/pods.md mounts a bucket as one).")
        return text

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH" if info.type is Path else "PATH|URL",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, (str, Path)),
        str_from_instance=lambda value: [str(value)],
    )
