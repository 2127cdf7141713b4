"""Modules apart from their parameters: their structure follows from a configuration, and parameters are bound to it.

`make` is the class of a module, or a function that returns one; it is called with the other arguments and `rngs`.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from flax import nnx
from jaxtyping import Array

_Module = TypeVar("_Module", bound=nnx.Module)


def bind(make: Callable[..., _Module], parameters: dict[str, Any], *arguments: Any) -> _Module:
    """Returns a module with these parameters."""
    module = abstract(make, *arguments)
    nnx.update(module, parameters)
    return module


def abstract(make: Callable[..., _Module], *arguments: Any) -> _Module:
    """Returns a module with shapes in place of parameters; nothing is computed."""
    return nnx.eval_shape(lambda: make(*arguments, rngs=nnx.Rngs(0)))


def parameter_shapes(make: Callable[..., nnx.Module], *arguments: Any) -> dict[str, Any]:
    """Returns the shapes of a module's parameters, in nested dictionaries."""
    return _parameters(abstract(make, *arguments))


def random_parameters(make: Callable[..., nnx.Module], key: Array, *arguments: Any) -> dict[str, Any]:
    """Returns the parameters that a module starts with: the same for the same key, on any mesh."""
    return _parameters(make(*arguments, rngs=nnx.Rngs(params=key)))


def _parameters(module: nnx.Module) -> dict[str, Any]:
    return nnx.to_pure_dict(nnx.state(module, nnx.Param))
