"""A missing extra is one sentence with a command that installs the libraries that pyproject.toml lists."""

import importlib.metadata
import re
import shlex
import sys
import tomllib
from pathlib import Path
from unittest.mock import Mock

import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.extras import install_command, require_extra

EXTRAS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - {"test"}))
def test_the_command_installs_the_libraries_of_the_extra_by_their_own_names(extra: str) -> None:
    (libraries,) = re.fullmatch(rf"pip install (.*) \(the extra {extra}\)", install_command(extra)).groups()
    assert shlex.split(libraries) == EXTRAS[extra]
    assert "dnabert" not in libraries


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extra("finetune", "A test", "sklearn", "matplotlib")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r"sklearn.*pip install") as error:
        require_extra("finetune", "A test", "sklearn", "matplotlib")
    assert "and matplotlib" not in str(error.value)


def test_no_command_is_made_up_where_the_package_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", Mock(side_effect=importlib.metadata.PackageNotFoundError))
    assert "pip" not in install_command("finetune")
