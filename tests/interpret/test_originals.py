"""The original's own code, run on the random inputs on which ours is run.

    git clone https://github.com/jerryji1993/DNABERT /tmp/dnabert-original
    DNABERT_ORIGINAL=/tmp/dnabert-original pytest -m by_hand tests/interpret/test_originals.py

Nothing of it is in this repository. Where it imports what is old or not there (transformers 2.5, seaborn, statsmodels),
functions are taken out of its files; what a test replaces, it says.
"""

import ast
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from dnabert_jax import DNAModel
from dnabert_jax.interpret.attention import attention_scores
from dnabert_jax.interpret.motifs.config import MotifSearch
from dnabert_jax.interpret.motifs.search import find_motifs
from dnabert_jax.interpret.motifs.words import candidate_words, enrichment, high_score_runs
from dnabert_jax.interpret.mutagenesis import change_effects, changed_outputs, changes_of
from dnabert_jax.interpret.target import choose_target
from dnabert_jax.interpret.variants.alleles import Allele
from dnabert_jax.interpret.variants.scoring import VariantScorer
from dnabert_jax.io.genome import open_genome
from dnabert_jax.io.vcf import VcfRecord
from dnabert_jax.sequence.bases import base_codes, decode_bases
from dnabert_jax.stream import Coded
from tests.interpret.motifs.conftest import sequences_of

pytestmark = pytest.mark.by_hand
K = 3


@pytest.fixture(scope="session")
def original() -> Path:
    folder = os.environ.get("DNABERT_ORIGINAL")
    if not folder:
        pytest.skip("DNABERT_ORIGINAL names no checkout of github.com/jerryji1993/DNABERT")
    return Path(folder)


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
    # In place of statsmodels.
    multi = SimpleNamespace(
        multipletests=lambda p, alpha, method: (None, false_discovery_control(p, method=method[-2:]))
    )
    defined: dict[str, Any] = {"multi": multi}
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

    words = list(candidate_words(own, scores, min_len, 10.0, both_strands=False)[0])
    *_, p, adjusted_p = enrichment(words, own, others, both_strands=False)
    for method, ours in ((None, p), ("fdr_bh", adjusted_p)):
        theirs = motif_utils["motifs_hypergeom_test"](positives, negatives, words, p_adjust=method)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)

    kept: list[str] = []
    merge = motif_utils["merge_motifs"]
    monkeypatch.setitem(motif_utils, "merge_motifs", lambda own, **flags: kept.extend(own) or merge(own, **flags))
    theirs = motif_utils["motif_analysis"](positives, negatives, scores, 12, min_len, 0.05, 2, ties == "all")
    assert kept == [word for word, p in zip(words, adjusted_p, strict=True) if p < 0.05]
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


def function_of(path: Path, name: str, **names: Any) -> Any:
    """One function of a file, which sees these names and numpy alone."""
    [found] = [node for node in ast.parse(path.read_text()).body if getattr(node, "name", "") == name]
    defined = {"np": np, "os": os, **names}
    exec(compile(ast.Module([found], []), str(path), "exec"), defined)  # noqa: S102
    return defined[name]


def test_scores_of_bases_of_visualize_py(
    original: Path, model: DNAModel, sequences: list[tuple[str, str]], matrices: list[np.ndarray]
) -> None:
    get_real_score = function_of(original / "examples" / "visualize.py", "get_real_score")
    for (_, own), whole in zip(attention_scores(model, sequences), matrices, strict=True):
        real = get_real_score(whole[-1][:, 0, 1:-1].sum(axis=0), K, "mean")
        np.testing.assert_allclose(own, real / np.linalg.norm(real), atol=1e-5)


@pytest.mark.parametrize("more", [0, 8])
def test_scores_of_bases_of_run_finetune_py(
    original: Path,
    model: DNAModel,
    sequences: list[tuple[str, str]],
    matrices: list[np.ndarray],
    tmp_path: Path,
    more: int,
) -> None:
    """Its model of 12 heads is one that gives our attention in the first two and none in the others."""
    torch = pytest.importorskip("torch")
    data = pytest.importorskip("torch.utils.data")
    rows = [row for row, (_, text) in enumerate(sequences) if len(text) == 24]
    length = 24 + more
    attention = np.zeros((len(rows), 12, length, length))
    for place, row in enumerate(rows):
        whole = matrices[row][-1]
        attention[place, : len(whole), : whole.shape[1], : whole.shape[1]] = whole

    class Model:
        def eval(self) -> None: ...

        def __call__(self, input_ids: Any, **inputs: Any) -> tuple[Any, ...]:
            return 0.0, torch.zeros(len(input_ids), 2), (torch.tensor(attention[input_ids.numpy()]),)

    numbers = torch.arange(len(rows))
    names = {"torch": torch, "tqdm": lambda batches, desc: batches, "logger": logging.getLogger(__name__)}
    names |= {name: getattr(data, name) for name in ("DataLoader", "SequentialSampler")} | {"TOKEN_ID_GROUP": ()}
    names["load_and_cache_examples"] = lambda *_, **__: data.TensorDataset(*[numbers] * 4)
    visualize = function_of(original / "examples" / "run_finetune.py", "visualize", **names)
    settings = {"task_name": "dnaprom", "predict_dir": str(tmp_path), "visualize_train": False, "local_rank": -1}
    settings |= {"per_gpu_pred_batch_size": 1, "n_gpu": 0, "max_seq_length": length, "device": "cpu", "model_type": ""}
    theirs, _ = visualize(SimpleNamespace(**settings), Model(), None, K)
    # Padded, the k-mers that cover the last bases are said to be k.
    share = np.minimum(1, (24 - np.arange(24)) / K) if more else np.ones(24)
    for found, (_, own) in zip(theirs, attention_scores(model, [sequences[row] for row in rows]), strict=True):
        expected = own * share
        np.testing.assert_allclose(found[:24], expected / np.linalg.norm(expected), atol=1e-5)
        assert not found[24:].any()


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
    pairs = [(one, list(changes_of(one.codes))) for one in coded]
    effects = list(change_effects(changed_outputs(model, pairs, target), regression=False))
    # `dnabert-jax variants`: each sequence is a contig as long as the window.
    scorer = VariantScorer(model, window=24, strands="forward", label="donor")
    alleles = [
        Allele(VcfRecord(0, [row, "", "", "N"], start + 1, ""), alternative, row)
        for (row, *_), changes in pairs
        for start, _, alternative in changes
    ]
    contigs = tmp_path / "contigs.fa"
    contigs.write_text("".join(f">{row}\n{text}\n" for row, text in enumerate(texts)))
    with open_genome(contigs, map(str, range(len(texts)))) as genome:
        scored = [scores for _, scores in scorer.score(alleles, genome)]

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
