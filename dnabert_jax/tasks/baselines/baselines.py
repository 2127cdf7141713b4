"""The baselines by name, on the very splits that a model is fine-tuned and measured on."""

import numpy as np
from jaxtyping import Float, UInt8

from dnabert_jax.sequence.bases import AMBIGUOUS
from dnabert_jax.tasks.baselines.cnn import CnnBaselineConfig, fit_cnn_baseline
from dnabert_jax.tasks.baselines.kmer import KmerBaselineConfig, fit_kmer_baseline, kmer_features
from dnabert_jax.tasks.baselines.linear import model_scores
from dnabert_jax.tasks.datasets.labelled import LabelledData
from dnabert_jax.tasks.datasets.layout import SPLITS
from dnabert_jax.tasks.datasets.sequences import Sequences

BASELINES: dict[str, KmerBaselineConfig | CnnBaselineConfig] = {
    "kmer": KmerBaselineConfig(longest=6),
    "gapped-kmer": KmerBaselineConfig(),
    "cnn": CnnBaselineConfig(),
}
"""What `baseline_scores` fits, by name."""


def baseline_scores(name: str, data: LabelledData, seed: int) -> Float[np.ndarray, "n C"]:
    """Fits a baseline to the training split, chooses by the validation split, and returns scores of the test split.

    Args:
        data: with the splits train, validation and test, of sequences of whatever length.
        seed: has no effect on logistic and ridge regression, where nothing is random.

    Raises:
        JobError: a fit that does not come out.
    """
    config = BASELINES[name]
    splits = (data.splits[split] for split in SPLITS)
    train, validation, (test, _) = ((_padded(rows.sequences), rows.labels) for rows in splits)
    if isinstance(config, CnnBaselineConfig):
        return fit_cnn_baseline(data.task, config, train, validation, seed).scores(test)
    fit = fit_kmer_baseline(data.task, config, train, validation)
    return model_scores(data.task, fit.models, kmer_features(test, config))


def _padded(sequences: Sequences) -> UInt8[np.ndarray, "n L"]:
    """Returns the codes of the bases of each sequence in a row, with AMBIGUOUS around them."""
    # At least one on either side, as [CLS] and [SEP] were once, so that the CNN's sums round as they always have.
    codes = np.full((len(sequences), sequences.lengths.max() + 2), AMBIGUOUS, np.uint8)
    for row in range(len(sequences)):
        codes[row, 1 : 1 + sequences.lengths[row]] = sequences[row]
    return codes
