"""The baselines by name, on the very splits that a model is fine-tuned and measured on."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.sequence.bases import AMBIGUOUS
from dnabert_jax.tasks.baselines.cnn import CnnBaselineConfig, fit_cnn_baseline
from dnabert_jax.tasks.baselines.kmer import KmerBaselineConfig, fit_kmer_baseline
from dnabert_jax.tasks.datasets.labelled import LabelledData
from dnabert_jax.tasks.datasets.sequences import Sequences
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
    seeds: Sequence[int],
    *,
    resamples: int = 1000,
    advance: Callable[[int], object] = lambda _: None,
) -> Result:
    """Fits a baseline to the training split, chooses by the validation split, and measures on the test split.

    Args:
        data: with the splits train, validation and test, of sequences of whatever length.
        seeds: one or several, one fit each; where nothing is random, in logistic and ridge regression, the first alone.

    Raises:
        JobError: a fit that does not come out.
    """
    config = BASELINES[name]
    rows = {str(split): (_padded(part.sequences), part.labels) for split, part in data.splits.items()}
    results = []
    for seed in seeds:
        begin = time.monotonic()
        fitted: Any
        if isinstance(config, CnnBaselineConfig):
            fitted = fit_cnn_baseline(data.task, config, rows["train"], rows["validation"], seed)
        else:
            fitted = fit_kmer_baseline(data.task, config, rows["train"], rows["validation"])
        codes, labels = rows["test"]
        scores = fitted.scores(codes)
        seconds = time.monotonic() - begin
        metrics = measure(data.task, scores, labels, resamples=resamples, seed=seed, advance=advance)
        results.append(SeedResult(seed, seconds, metrics))
        if isinstance(config, KmerBaselineConfig):
            break
    return new_result(set_name, fitted.description, data, tuple(results))


def _padded(sequences: Sequences) -> UInt8[np.ndarray, "n L"]:
    """Returns the codes of the bases of each sequence in a row, with AMBIGUOUS around them."""
    # At least one on either side, as [CLS] and [SEP] were once, so that the CNN's sums round as they always have.
    codes = np.full((len(sequences), sequences.lengths.max() + 2), AMBIGUOUS, np.uint8)
    for row in range(len(sequences)):
        codes[row, 1 : 1 + sequences.lengths[row]] = sequences[row]
    return codes
