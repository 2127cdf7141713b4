"""The baselines by name, on the very splits that a model is fine-tuned and measured on."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Num, UInt16

from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.tasks.baselines.cnn import fit_cnn_baseline
from dnabert_jax.tasks.baselines.kmer import KmerBaselineConfig, fit_kmer_baseline
from dnabert_jax.tasks.baselines.motif_cnn import CnnBaselineConfig
from dnabert_jax.tasks.datasets.labelled import LabelledData
from dnabert_jax.tasks.finetuning.encoding import encode_split
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.tasks.measures.results import Result, SeedResult, new_result

BASELINES: dict[str, KmerBaselineConfig | CnnBaselineConfig] = {
    "kmer": KmerBaselineConfig(longest=6),
    "gapped-kmer": KmerBaselineConfig(),
    "cnn": CnnBaselineConfig(),
}
"""What `run_baseline` runs, by name."""


def run_baseline(
    name: str,
    data: LabelledData,
    set_name: str,
    k: int,
    seeds: Sequence[int],
    *,
    resamples: int = 1000,
    advance: Callable[[int], object] = lambda _: None,
) -> Result:
    """Fits a baseline to the training split, chooses by the validation split, and measures on the test split.

    Args:
        data: with the splits train, validation and test, of sequences of whatever length.
        k: letters of the k-mers of the model that it is compared with: a base is known by them alone.
        seeds: one or several, one fit each; where nothing is random, in logistic and ridge regression, the first alone.

    Raises:
        JobError: a fit that does not come out.
    """
    config, encoded = BASELINES[name], _encoded(data, k)
    results = []
    for seed in seeds:
        begin = time.monotonic()
        fitted: Any
        if isinstance(config, CnnBaselineConfig):
            fitted = fit_cnn_baseline(data.task, config, k, encoded["train"], encoded["validation"], seed)
        else:
            fitted = fit_kmer_baseline(data.task, config, k, encoded["train"], encoded["validation"])
        ids, labels = encoded["test"]
        scores = fitted.scores(ids)
        seconds = time.monotonic() - begin
        metrics = measure(data.task, scores, labels, resamples=resamples, seed=seed, advance=advance)
        results.append(SeedResult(seed, seconds, metrics))
        if isinstance(config, KmerBaselineConfig):
            break
    return new_result(set_name, fitted.description, data, tuple(results))


def _encoded(data: LabelledData, k: int) -> dict[str, tuple[UInt16[np.ndarray, "n L"], Num[np.ndarray, "n ..."]]]:
    """Padded rows of ids and labels, by split."""
    longest = max(int(rows.sequences.lengths.max()) for rows in data.splits.values())
    found = {}
    for split, rows in data.splits.items():
        encoded = encode_split(rows, data.task, KmerTokenizer(k), max_positions=longest + 2)
        found[str(split)] = encoded.rows(np.arange(len(rows)), (int(encoded.lengths.max()),)), rows.labels
    return found
