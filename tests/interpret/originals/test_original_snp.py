"""Differences and log-odds ratios of mutate_seqs.py and SNP.py, which are run as they are, on our predictions."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dnabert_jax import DNAModel
from dnabert_jax.interpret.changes import SUBSTITUTIONS, changes_of
from dnabert_jax.interpret.mutagenesis import changed_outputs
from dnabert_jax.interpret.mutation_table import change_effects
from dnabert_jax.interpret.target import choose_target
from dnabert_jax.interpret.variants.alleles import Allele
from dnabert_jax.interpret.variants.scoring import VariantScorer, VariantScoring
from dnabert_jax.io.genome import open_genome
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.stream import Coded

pytestmark = pytest.mark.by_hand
K = 3


def test_differences_and_log_odds_ratios(
    original: Path, model: DNAModel, sequences: list[tuple[str, str]], tmp_path: Path
) -> None:
    pandas = pytest.importorskip("pandas")
    texts = [text for _, text in sequences if len(text) == 24]

    def script(name: str, *flags: Any) -> None:
        own = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run([sys.executable, name, *map(str, flags)], cwd=original / "SNP", env=own, check=True)

    own, changed = tmp_path / "own.tsv", tmp_path / "dev.tsv"
    kmers = [" ".join(text[at : at + K] for at in range(len(text) - K + 1)) for text in texts]
    own.write_text("sequence\tlabel\n" + "".join(f"{one}\t0\n" for one in kmers))
    script("mutate_seqs.py", own, tmp_path, "--k", K)
    for table in (own, changed):
        rows = pandas.read_csv(table, sep="\t")["sequence"]
        predicted = model.predict("".join(word[0] for word in row.split()) + row[1 - K :] for row in rows)[:, 0]
        np.save(table.with_suffix(".npy"), predicted.astype(np.float64))
    files = {"orig_seq": own, "orig_pred": own.with_suffix(".npy")}
    files |= {"mut_seq": changed, "mut_pred": changed.with_suffix(".npy")}
    script("SNP.py", *(f"--{name}_file={path}" for name, path in files.items()), f"--save_file_dir={tmp_path}")
    found = {(row.idx, row.mut_seq): row for row in pandas.read_csv(tmp_path / "mutations.tsv", sep="\t").itertuples()}
    assert len(found) == len(texts) * (3 * 24 + 1)

    # `dnabert-jax mutations`
    target = choose_target(model, "It", "donor", "log-odds")
    coded = [Coded(str(row), "", base_codes(text.encode())) for row, text in enumerate(texts)]
    pairs = [(one, list(changes_of(one.codes, SUBSTITUTIONS))) for one in coded]
    effects = list(change_effects(changed_outputs(model, pairs, target), regression=False))
    # `dnabert-jax variants`: each sequence is a contig as long as the window.
    scorer = VariantScorer(model, VariantScoring(window=24, strands="forward", label="donor"))
    alleles = [
        Allele(one.name, change.start, 1, base_codes(change.alternative.encode()), change.alternative, "")
        for one, changes in pairs
        for change in changes
    ]
    contigs = tmp_path / "contigs.fa"
    contigs.write_text("".join(f">{row}\n{text}\n" for row, text in enumerate(texts)))
    with open_genome(contigs, map(str, range(len(texts)))) as genome:
        scored = [one.scores for one in scorer.score(alleles, genome)]

    changed_texts = [
        (row, text[: change.start] + change.alternative + text[change.end :])
        for row, (text, (_, changes)) in enumerate(zip(texts, pairs, strict=True))
        for change in changes
    ]
    for theirs, ours in {"diff": "difference", "logOR": "log_odds_ratio"}.items():
        expected = np.array([getattr(found[key], theirs) for key in changed_texts])
        np.testing.assert_allclose(np.concatenate([getattr(one, ours) for one in effects]), expected, atol=2e-5)
        np.testing.assert_allclose([one[ours] for one in scored], expected, atol=2e-5)
        assert np.abs(expected).max() > 0.01
