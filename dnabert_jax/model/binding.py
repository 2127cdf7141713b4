"""Modules apart from their parameters: their structure follows from a configuration, and parameters are bound to it.

`make` is the class of a module, or a function that returns one; it is called with the other arguments and `rngs`.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from flax import nnx
from jaxtyping import Array

from dnabert_jax.numerics import fixed_settings

_Module = TypeVar("_Module", bound=nnx.Module)


def bind(make: Callable[..., _Module], parameters: dict[str, Any], *arguments: Any) -> _Module:
    """Returns a module with these parameters."""
    return nnx.merge(_split(make, *arguments)[0], parameters)


def abstract_parameters(make: Callable[..., nnx.Module], *arguments: Any) -> nnx.State:
    """Returns shapes in place of a module's parameters, with the names of their axes; nothing is computed."""
    return _split(make, *arguments)[1]


def parameter_shapes(make: Callable[..., nnx.Module], *arguments: Any) -> dict[str, Any]:
    """Returns the shapes of a module's parameters, in nested dictionaries."""
    return nnx.to_pure_dict(abstract_parameters(make, *arguments))


def random_parameters(make: Callable[..., nnx.Module], key: Array, *arguments: Any) -> dict[str, Any]:
    """Returns the parameters that a module starts with: the same for the same key, on any mesh."""
    return nnx.to_pure_dict(nnx.state(make(*arguments, rngs=nnx.Rngs(params=key)), nnx.Param))


@functools.lru_cache(maxsize=64)
@fixed_settings()
def _split(make: Callable[..., Any], *arguments: Any) -> tuple[Any, nnx.State]:
    """Returns structure and shapes, which take tenths of a second, and stay in memory as they are small."""
    return nnx.split(nnx.eval_shape(lambda: make(*arguments, rngs=nnx.Rngs(0))), nnx.Param)
