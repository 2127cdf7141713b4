"""Regions, p-values, words kept and windows of motif_utils.py."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dnabert_jax.interpret.motifs.config import MotifSearch
from dnabert_jax.interpret.motifs.enrichment import enrichment
from dnabert_jax.interpret.motifs.regions import candidate_words, decode_bases, high_score_runs
from dnabert_jax.interpret.motifs.search import find_motifs
from tests.interpret.motifs.conftest import sequences_of

pytestmark = pytest.mark.by_hand


def benjamini_hochberg(p: list[float], alpha: float, method: str) -> tuple[None, np.ndarray]:
    """In place of statsmodels' multipletests, which the original calls."""
    assert method == "fdr_bh"
    values = np.array(p)
    adjusted = [min(1, *(q * len(p) / (values <= q).sum() for q in values[values >= own])) for own in values]
    return None, np.array(adjusted)


@pytest.fixture(scope="session")
def motif_utils(original: Path) -> dict[str, Any]:
    """What motif_utils.py defines, mended where docs/motifs.md says that it differs from ours."""
    pytest.importorskip("pandas")
    source = (original / "motif" / "motif_utils.py").read_text()
    for theirs, mended, times in (
        # Ends of alignments cost nothing, as with the Biopython of 2021.
        ("Align.PairwiseAligner()", "Align.PairwiseAligner(end_gap_score=0.0)", 1),
        # Ties by score; Biopython's comparison of alignments is of sequences and coordinates.
        ("if score == best_score]", "if score.score == best_score.score]", 1),
        # Windows that end where the sequence ends.
        ("new_coord[1] < len(", "new_coord[1] <= len(", 2),
        ("import statsmodels.stats.multitest as multi", "pass", 1),
    ):
        assert source.count(theirs) == times, theirs
        source = source.replace(theirs, mended)
    defined: dict[str, Any] = {"multi": SimpleNamespace(multipletests=benjamini_hochberg)}
    exec(compile(source, "motif_utils.py", "exec"), defined)  # noqa: S102
    return defined


def mutated_sites(seed: int) -> tuple[list[str], list[np.ndarray], list[str]]:
    """Positives with sites of two motifs, some at an end and with another base; noisy scores, high there; negatives."""
    rng = np.random.default_rng(seed)

    def dna(length: int) -> str:
        return "".join(rng.choice(list("ACGT"), length))

    positives, scores = [], []
    for _ in range(150):
        text, own = dna(int(rng.integers(45, 61))), rng.uniform(0.01, 0.15, 61)
        for motif in rng.permutation(["TGAGTCATCG", "CCACTAGGGG"])[: rng.integers(1, 3)]:
            site = motif
            if rng.random() < 0.4:
                place = int(rng.integers(len(motif)))
                site = motif[:place] + dna(1) + motif[place + 1 :]
            start = int(np.clip(rng.integers(-9, len(text)), 0, len(text) - len(site)))
            text = text[:start] + site + text[start + len(site) :]
            high = slice(max(0, start + int(rng.integers(-2, 4))), start + len(site) + int(rng.integers(-3, 2)))
            own[high] = rng.uniform(0.09, 1, len(own[high]))
        positives.append(text)
        scores.append(own[: len(text)])
    return positives, scores, [dna(60) for _ in range(150)]


@pytest.mark.parametrize("ties", ["all", "first"])
@pytest.mark.parametrize(("seed", "min_len"), [(0, 4), (1, 5), (2, 5)])
def test_regions_p_values_words_and_windows(
    motif_utils: dict[str, Any], monkeypatch: pytest.MonkeyPatch, seed: int, min_len: int, ties: Any
) -> None:
    positives, scores, negatives = mutated_sites(seed)
    search = MotifSearch(window_size=12, min_len=min_len, pval_cutoff=0.05, min_n_motif=2, ties=ties)
    own, others = sequences_of(positives), sequences_of(negatives)
    for one in scores:
        regions = motif_utils["find_high_attention"](one, min_len=min_len)
        assert high_score_runs(one, min_len).tolist() == regions.tolist()

    words = list(candidate_words(own, scores, min_len, 10.0, both_strands=False).places)
    tested = enrichment(words, own, others, both_strands=False)
    for method, p in ((None, tested.p), ("fdr_bh", tested.adjusted_p)):
        theirs = motif_utils["motifs_hypergeom_test"](positives, negatives, words, p_adjust=method)
        np.testing.assert_allclose(p, theirs, rtol=1e-9)

    kept: list[str] = []
    merge = motif_utils["merge_motifs"]
    monkeypatch.setitem(motif_utils, "merge_motifs", lambda own, **flags: kept.extend(own) or merge(own, **flags))
    theirs = motif_utils["motif_analysis"](positives, negatives, scores, 12, min_len, 0.05, 2, ties == "all")
    assert kept == [word for word, p in zip(words, tested.adjusted_p, strict=True) if p < 0.05]
    found = {
        motif.seed: {
            "seq_idx": motif.windows.sequence.tolist(),
            "atten_region_pos": [(start, start + 12) for start in motif.windows.start.tolist()],
            "seqs": [decode_bases(codes) for codes in motif.windows.codes],
        }
        for motif in find_motifs(own, scores, others, search).motifs
    }
    assert found == theirs
    assert len(found) > 2
    assert len(kept) > 3 * len(found)
