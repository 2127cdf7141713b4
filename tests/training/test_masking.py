"""Masks: the original's spans, the stated rate on real rows, 80/10/10, never a special token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnabert_jax.config import MaskingConfig, ModelConfig
from dnabert_jax.data.manifest import TRAIN
from dnabert_jax.data.rows import open_rows
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.model.dropout import row_keys
from dnabert_jax.sample import TRAIN_FASTA
from dnabert_jax.sequence.vocabulary import CLS, MASK, NUM_SPECIAL, PAD, SEP
from dnabert_jax.training.masking import (
    MaskedRows,
    MaskedTokens,
    centre_rate,
    mask_kmers,
    masked_capacity,
    masked_token_sums,
    span_offsets,
    widen_spans,
)

# MASK_LIST of the original's run_pretrain.py; a centre always masks itself as well (offset 0).
ORIGINAL_OFFSETS = {3: [-1, 1], 4: [-1, 1, 2], 5: [-2, -1, 1, 2], 6: [-2, -1, 1, 2, 3]}


@pytest.mark.parametrize("k", [3, 4, 5, 6])
def test_span_widening_equals_the_originals(k: int) -> None:
    assert sorted(span_offsets(k)) == sorted([0, *ORIGINAL_OFFSETS[k]])
    rng = np.random.default_rng(k)
    for _ in range(50):
        drawn = rng.random(40) < 0.1
        expected = drawn.copy()
        for centre in np.flatnonzero(drawn):
            for offset in ORIGINAL_OFFSETS[k]:
                if 0 <= centre + offset < 40:
                    expected[centre + offset] = True
        centres = np.zeros((1, 40 + k - 1), bool)
        centres[0, k // 2 : k // 2 + 40] = drawn
        assert np.array_equal(widen_spans(jnp.asarray(centres), k)[0], expected)


@pytest.fixture(scope="module", params=[3, 6])
def real_rows(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ModelConfig, jax.Array]:
    out = tmp_path_factory.mktemp("rows") / "rows"
    prepare_genome(GenomeJob((TRAIN_FASTA,), out, k=request.param))
    files = open_rows(out, TRAIN)
    return ModelConfig(k=request.param), jnp.asarray(files.read(np.arange(1600)).astype(np.int32))


def masked(model: ModelConfig, rows: jax.Array, rate: float, config: MaskingConfig | None = None) -> MaskedRows:
    return MaskedTokens(config or MaskingConfig(), model.tokenizer).hide(rows, jax.random.key(0), rate)


def chosen(rows: jax.Array, result: MaskedRows) -> np.ndarray:
    """Which positions are to be predicted, as a boolean array over the rows."""
    marks = np.zeros(rows.shape, bool)
    row, column = np.nonzero(np.asarray(result.weights))
    marks[row, np.asarray(result.predict_at)[row, column]] = True
    assert marks.sum() == result.weights.sum()
    return marks


@pytest.mark.parametrize("rate", [0.15, 0.20])
def test_the_masked_share_of_real_rows_is_the_stated_rate(
    real_rows: tuple[ModelConfig, jax.Array], rate: float
) -> None:
    model, rows = real_rows
    marks, kmers = chosen(rows, masked(model, rows, rate)), np.asarray(rows) >= NUM_SPECIAL
    spared = 1 - centre_rate(rate, model.k)
    variance = sum(spared ** (model.k + abs(d)) - spared ** (2 * model.k) for d in range(1 - model.k, model.k))
    # The room that rows with very many masks lack costs less than 1e-4.
    assert marks.sum() / kmers.sum() == pytest.approx(rate, abs=3 * (variance / kmers.sum()) ** 0.5 + 1e-4)


def test_the_rate_holds_at_the_ends_of_sequences_and_for_short_ones() -> None:
    model = ModelConfig(k=6)
    rows = jnp.tile(jnp.array([[CLS, 9, 10, 11, 12, 13, SEP, CLS, 14, 15, 16, 17, 18, SEP, PAD, PAD]]), (40_000, 1))
    share = chosen(rows, masked(model, rows, 0.15)).mean(axis=0)
    kmers = np.asarray(rows[0]) >= NUM_SPECIAL
    assert share[~kmers].max() == 0
    assert np.abs(share[kmers] - 0.15).max() < 4 * (0.15 * 0.85 / 40_000) ** 0.5


def test_special_tokens_and_padding_are_never_touched(real_rows: tuple[ModelConfig, jax.Array]) -> None:
    model, rows = real_rows
    result = masked(model, rows, 0.2)
    special = np.asarray(rows) < NUM_SPECIAL
    assert np.array_equal(np.asarray(result.input_ids)[special], np.asarray(rows)[special])
    assert not (chosen(rows, result) & special).any()


def test_chosen_kmers_become_mask_random_or_stay_in_the_stated_shares(real_rows: tuple[ModelConfig, jax.Array]) -> None:
    model, rows = real_rows
    result = masked(model, rows, 0.15)
    marks = chosen(rows, result)
    before, after = np.asarray(rows)[marks], np.asarray(result.input_ids)[marks]
    number, kmers = len(before), 4**model.k
    assert number > 50_000
    # A random k-mer is the same one again once in 4**k draws.
    for share, expected in (
        ((after == MASK).mean(), 0.8),
        (((after != MASK) & (after != before)).mean(), 0.1 * (1 - 1 / kmers)),
        ((after == before).mean(), 0.1 * (1 + 1 / kmers)),
    ):
        assert abs(share - expected) < 3 * (expected * (1 - expected) / number) ** 0.5
    assert (np.asarray(result.input_ids)[~marks] == np.asarray(rows)[~marks]).all()


def test_random_replacements_are_kmers_of_every_kind(real_rows: tuple[ModelConfig, jax.Array]) -> None:
    model, rows = real_rows
    result = masked(model, rows, 0.2, MaskingConfig(mask_share=0.0, random_share=1.0))
    after = np.asarray(result.input_ids)[chosen(rows, result)]
    assert after.min() == NUM_SPECIAL
    assert after.max() == model.vocabulary_size - 1
    counts = np.bincount(after)[NUM_SPECIAL:]
    expected = len(after) / len(counts)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    degrees = len(counts) - 1
    assert abs(chi_square - degrees) < 4 * (2 * degrees) ** 0.5


def test_random_replacements_may_be_of_all_other_kmers(real_rows: tuple[ModelConfig, jax.Array]) -> None:
    model, rows = real_rows
    result = masked(model, rows, 0.2, MaskingConfig(mask_share=0.0, random_share=1.0, random_from="others"))
    marks = chosen(rows, result)
    replaced, true = np.asarray(result.input_ids)[marks], np.asarray(rows)[marks]
    assert (replaced != true).all()
    assert (replaced.min(), replaced.max()) == (NUM_SPECIAL, model.vocabulary_size - 1)
    assert np.unique(replaced).size > 0.95 * (model.vocabulary_size - NUM_SPECIAL)


def test_labels_are_the_true_kmers(real_rows: tuple[ModelConfig, jax.Array]) -> None:
    model, rows = real_rows
    result = masked(model, rows, 0.2)
    truth = jnp.take_along_axis(rows, result.predict_at, axis=1)
    assert (jnp.where(result.weights > 0, truth == result.labels, True)).all()


def test_room_is_made_for_five_deviations_and_what_exceeds_it_stays_unmasked() -> None:
    assert masked_capacity(512, 6, 0.2) < 256
    model, rows = ModelConfig(k=3), jnp.full((4, 512), NUM_SPECIAL)
    assert int(masked(model, rows, 0.2).overflow) == 0
    crowded = masked(model, rows, 0.9)
    assert int(crowded.overflow) > 0
    assert int(crowded.weights.sum()) == 4 * masked_capacity(512, 3, 0.2)
    assert chosen(rows, crowded).sum() == crowded.weights.sum()


def test_kmers_that_regularise_are_masked_at_the_rate_and_special_tokens_never(
    real_rows: tuple[ModelConfig, jax.Array],
) -> None:
    rows = real_rows[1][:200]
    keys = row_keys(jax.random.key(0), len(rows))
    masked = np.asarray(mask_kmers(rows, 0.3, keys))
    kmers, changed = np.asarray(rows >= NUM_SPECIAL), masked != np.asarray(rows)
    assert not changed[~kmers].any()
    assert (masked[changed] == MASK).all()
    deviation = (0.3 * 0.7 / kmers.sum()) ** 0.5
    assert changed[kmers].mean() == pytest.approx(0.3, abs=3 * deviation)
    assert np.array_equal(mask_kmers(rows[:, None], 0.3, keys)[:, 0], masked)
    # Masks do not depend on how far the windows of a sequence are padded beside those of others.
    windows = rows[:, :100].reshape(-1, 2, 50)
    padded = mask_kmers(jnp.pad(windows, ((0, 0), (0, 1), (0, 14))), 0.3, keys)
    assert np.array_equal(padded[:, :2, :50], mask_kmers(windows, 0.3, keys))
    # Neighbours and rows are independent of one another.
    for other in np.roll(changed, 1, axis=1), np.roll(changed, 1, axis=0):
        assert (changed & other)[kmers].mean() == pytest.approx(0.09, abs=0.01)


def test_sums_are_of_log_softmax_and_of_the_first_largest_logit() -> None:
    random = np.random.default_rng(0)
    # Of few values, so that several logits of a token are the largest; the last columns are padding of the vocabulary.
    logits = jnp.asarray(random.integers(0, 3, (4, 50, 8)), jnp.float32).at[..., 6:].set(-jnp.inf)
    labels = jnp.asarray(random.integers(0, 6, (4, 50)))
    weights = jnp.asarray(random.integers(0, 2, (4, 50)), jnp.float32)
    labels = jnp.where(weights > 0, labels, 7)  # a filler may bear any label
    sums = masked_token_sums(logits, labels, weights)
    losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1)[..., 0]
    assert float(sums.loss) == pytest.approx(float(losses[weights > 0].sum()), rel=1e-5)
    assert sums.correct == ((logits.argmax(axis=-1) == labels) & (weights > 0)).sum()
    assert sums.tokens == weights.sum()
    gradient = jax.grad(lambda logits: masked_token_sums(logits, labels, weights).loss)(logits)
    assert np.isfinite(gradient).all()
