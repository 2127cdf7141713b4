"""DNABERT rebuilt for JAX: a k-mer BERT for DNA.

`from dnabert_jax import DNABERT` is the short way to embed and to predict. Importing this package imports no JAX, so
that data preparation and the command line start at once; for more than that class, import the part you need, for
example `from dnabert_jax.model.bert import BertForMaskedLM`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dnabert_jax.pretrained import DNABERT

__version__ = "0.1.0"

__all__ = ["DNABERT", "__version__"]


def __getattr__(name: str) -> Any:
    if name != "DNABERT":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dnabert_jax.pretrained import DNABERT

    return DNABERT


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
