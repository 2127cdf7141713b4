"""DNABERT rebuilt for JAX: a k-mer BERT for DNA.

Importing this package imports no JAX, so that data preparation and the command line start at once;
import the part you need, for example `from dnabert_jax.model.bert import BertForMaskedLM`.
"""

__version__ = "0.1.0"
