"""The JAX toolkit for DNA language models.

`from dnabert_jax import DNAModel` is the short way to embed and to predict. Importing this package imports no JAX, so
that data preparation and the command line start at once; for more than that class, import the part you need, for
example `from dnabert_jax.model.backbone import LanguageModel`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dnabert_jax.pretrained import DNABERT, DNAModel

__version__ = "0.1.0"

__all__ = ["DNABERT", "DNAModel", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dnabert_jax import pretrained

    return getattr(pretrained, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
