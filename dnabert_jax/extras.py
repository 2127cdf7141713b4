"""The libraries that only some commands need: `pyproject.toml` lists them as extras named for what they serve."""

import importlib.metadata
import importlib.util
import shlex

from dnabert_jax.errors import InputError

_DISTRIBUTION = "dnabert-jax"


def require_extra(extra: str, purpose: str, *modules: str, otherwise: str = "") -> None:
    """Raises InputError with the command that installs an extra, unless all of these modules of it are installed.

    Args:
        purpose: subject of the sentence, such as "A .bw file".
        otherwise: what to do instead of installing, if anything, such as "give --no-logos".
    """
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        instead = f", or {otherwise}" if otherwise else ""
        raise InputError(f"{purpose} needs {' and '.join(missing)}: {install_command(extra)}{instead}.")


def install_command(extra: str) -> str:
    """Returns the command that installs the libraries of an extra, by the metadata of the installed package.

    It names the libraries and not this project, which is not on a package index: anyone could take its name there.
    """
    try:
        requirements = importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []
    ending = f'; extra == "{extra}"'
    libraries = [requirement.removesuffix(ending) for requirement in requirements if requirement.endswith(ending)]
    if not libraries:
        return f"install the libraries that pyproject.toml lists as the extra {extra}"
    return f"{shlex.join(['pip', 'install', *libraries])} (the extra {extra})"
