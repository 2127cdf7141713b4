"""Reads the flags of a command: a dataclass, whose fields may start from a preset or a saved configuration."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from dnabert_jax.config import PretrainConfig
from dnabert_jax.errors import InputError
from dnabert_jax.families import DEFAULT_PRESET
from dnabert_jax.storage import Location, is_url, local_copy
from dnabert_jax.typed_json import read_json

_Job = TypeVar("_Job")

_SETTINGS = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
"""A switch has one flag, --resume, and no --no-resume; a value that may be missing is left out, not given as None."""

_REGISTRY = ConstructorRegistry()


def parse(job: type[_Job], name: str, arguments: Sequence[str]) -> _Job:
    """Returns the job that the flags of a command describe."""
    return tyro.cli(job, args=list(arguments), prog=f"dnabert-jax {name}", config=_SETTINGS, registry=_REGISTRY)


@dataclasses.dataclass(frozen=True)
class _StartingPoint:
    """The flags that say which settings the others override."""

    preset: str | None = None
    config: Path | None = None
    resume: bool = False
    out: Path | None = None


def parse_from_preset(job: type[Any], name: str, words: Sequence[str], presets: Mapping[str, Any], **given: Any) -> Any:
    """Returns a job whose `settings` come from --preset, --config or --resume, overridden by the other flags.

    If the job has no default preset, the user must choose, and --help shows the settings of the default one.

    Args:
        presets: settings by name.
        given: fields that no flag sets.
    """
    prog = f"dnabert-jax {name}"
    scanned = [word for word in words if word not in ("-h", "--help")]
    start, _ = tyro.cli(
        _StartingPoint, args=scanned, return_unknown_args=True, prog=prog, config=_SETTINGS, registry=_REGISTRY
    )
    saved = start.config if job.preset is None else None
    if saved and start.preset:
        raise InputError("Give --preset or --config, not both: each is a whole configuration to start from.")
    if job.preset is None and start.resume and start.out and not (saved or start.preset):
        run = start.out / "config.json"
        saved = run if run.is_file() else None
    preset = start.preset or job.preset or DEFAULT_PRESET
    if preset not in presets:
        raise InputError(f"There is no preset {preset!r}: choose one of {', '.join(presets)}.")
    settings = read_json(PretrainConfig, saved) if saved else presets[preset]
    required = [
        field.name for field in dataclasses.fields(job) if field.default is field.default_factory is dataclasses.MISSING
    ]
    default = job(**dict.fromkeys(required, tyro.MISSING) | {"settings": settings} | given)
    parsed = tyro.cli(job, args=list(words), default=default, prog=prog, config=_SETTINGS, registry=_REGISTRY)
    if not (saved or start.preset or job.preset):
        raise InputError(f"Choose a configuration: --preset {'|'.join(presets)}, or --config RUN/config.json.")
    return parsed


@_REGISTRY.primitive_rule
def _path_or_url(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """PATH is a local path, which a URL would silently become; PATH|URL may be either."""
    if info.type is Path:
        return _paths(_local, "PATH")
    return _paths(_location, "PATH|URL") if info.type == Location else None


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
