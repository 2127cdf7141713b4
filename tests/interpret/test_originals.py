"""The original's own code and ours on the same random inputs.

    git clone https://github.com/jerryji1993/DNABERT /tmp/dnabert-original
    DNABERT_ORIGINAL=/tmp/dnabert-original pytest -m by_hand tests/interpret/test_originals.py

Nothing of it is in this repository. Its functions are taken out of its files, as these import packages that are old or
not there (transformers 2.5, seaborn, statsmodels); what a test replaces, and why, it says.
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

from dnabert_jax import DNABERT
from dnabert_jax.interpret.attention import attention_scores
from dnabert_jax.interpret.changes import SUBSTITUTIONS, changes_of
from dnabert_jax.interpret.motifs.config import MotifSearch
from dnabert_jax.interpret.motifs.enrichment import enrichment
from dnabert_jax.interpret.motifs.regions import candidate_words, high_score_runs, text_of
from dnabert_jax.interpret.motifs.search import find_motifs
from dnabert_jax.interpret.mutagenesis import changed_outputs
from dnabert_jax.interpret.mutation_table import change_effects
from dnabert_jax.interpret.target import choose_target
from dnabert_jax.interpret.variants.alleles import Allele
from dnabert_jax.interpret.variants.scoring import VariantScorer, VariantScoring
from dnabert_jax.sequence.kmers import base_codes
from dnabert_jax.stream import Coded
from dnabert_jax.tasks.datasets.genome_records import genome_records
from tests.interpret.motifs.conftest import sequences_of

pytestmark = pytest.mark.by_hand
K, HEADS = 3, 12
pd = pytest.importorskip("pandas", reason="the original's code needs pandas: pip install pandas")


@pytest.fixture(scope="session")
def original() -> Path:
    folder = os.environ.get("DNABERT_ORIGINAL")
    if not folder:
        pytest.skip("DNABERT_ORIGINAL names no checkout of github.com/jerryji1993/DNABERT")
    return Path(folder)


def benjamini_hochberg(p: list[float], alpha: float, method: str) -> tuple[None, np.ndarray]:
    """In place of statsmodels' multipletests, which the original calls."""
    assert method == "fdr_bh"
    values = np.array(p)
    adjusted = [min(1, *(q * len(p) / (values <= q).sum() for q in values[values >= own])) for own in values]
    return None, np.array(adjusted)


@pytest.fixture(scope="session")
def motif_utils(original: Path) -> dict[str, Any]:
    """What motif_utils.py defines, mended where docs/motifs.md says that it differs from ours."""
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


def function_of(path: Path, name: str, **names: Any) -> Any:
    """One function of a file, which sees these names and numpy alone."""
    [found] = [node for node in ast.parse(path.read_text()).body if getattr(node, "name", "") == name]
    defined = {"np": np, "os": os, **names}
    exec(compile(ast.Module([found], []), str(path), "exec"), defined)  # noqa: S102
    return defined[name]


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
@pytest.mark.parametrize("min_len", [4, 5])
@pytest.mark.parametrize("seed", range(3))
def test_regions_p_values_words_and_windows(motif_utils: dict[str, Any], seed: int, min_len: int, ties: Any) -> None:
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

    seen: list[list[str]] = []
    merge = motif_utils["merge_motifs"]
    watched = {**motif_utils, "merge_motifs": lambda kept, **flags: seen.append(list(kept)) or merge(kept, **flags)}
    analysis = type(merge)(motif_utils["motif_analysis"].__code__, watched, argdefs=(24, 4, 0.005, 3, True, None))
    theirs = analysis(positives, negatives, scores, 12, min_len, 0.05, 2, ties == "all")
    assert seen == [[word for word, p in zip(words, tested.adjusted_p, strict=True) if p < 0.05]]
    found = {
        motif.seed: {
            "seq_idx": motif.windows.sequence.tolist(),
            "atten_region_pos": [(start, start + 12) for start in motif.windows.start.tolist()],
            "seqs": [text_of(codes) for codes in motif.windows.codes],
        }
        for motif in find_motifs(own, scores, others, search).motifs
    }
    assert found == theirs
    assert len(found) > 2
    assert len(seen[0]) > 3 * len(found)


def cls_scores(model: DNABERT, sequences: list[tuple[str, str]]) -> list[np.ndarray]:
    return [scores for _, scores in attention_scores(model, sequences)]


def test_scores_of_bases_of_visualize_py(
    original: Path, model: DNABERT, sequences: list[tuple[str, str]], matrices: list[np.ndarray]
) -> None:
    """The attention is of our network; what is compared is what is made of it."""
    get_real_score = function_of(original / "examples" / "visualize.py", "get_real_score")
    for own, whole in zip(cls_scores(model, sequences), matrices, strict=True):
        real = get_real_score(whole[-1][:, 0, 1:-1].sum(axis=0), K, "mean")
        np.testing.assert_allclose(own, real / np.linalg.norm(real), atol=1e-5)


@pytest.mark.parametrize("more", [0, 8])
def test_scores_of_bases_of_run_finetune_py(
    original: Path,
    model: DNABERT,
    sequences: list[tuple[str, str]],
    matrices: list[np.ndarray],
    tmp_path: Path,
    more: int,
) -> None:
    """The same; its model of 12 heads is one that gives our attention in the first two and none in the others."""
    torch = pytest.importorskip("torch")
    data = pytest.importorskip("torch.utils.data")
    rows = [row for row, (_, text) in enumerate(sequences) if len(text) == 24]
    length = 24 + more
    attention = np.zeros((len(rows), HEADS, length, length))
    for place, row in enumerate(rows):
        whole = matrices[row][-1]
        attention[place, : len(whole), : whole.shape[1], : whole.shape[1]] = whole

    class Model:
        def eval(self) -> None: ...

        def __call__(self, input_ids: Any, **inputs: Any) -> tuple[Any, ...]:
            return 0.0, torch.zeros(len(input_ids), 2), (torch.tensor(attention[input_ids.numpy()]),)

    numbers = torch.arange(len(rows))
    visualize = function_of(
        original / "examples" / "run_finetune.py",
        "visualize",
        torch=torch,
        tqdm=lambda batches, desc: batches,
        logger=logging.getLogger(__name__),
        DataLoader=data.DataLoader,
        SequentialSampler=data.SequentialSampler,
        TOKEN_ID_GROUP=(),
        load_and_cache_examples=lambda *_, **__: data.TensorDataset(*[numbers] * 4),
    )
    settings = {"task_name": "dnaprom", "predict_dir": str(tmp_path), "visualize_train": False, "local_rank": -1}
    settings |= {"per_gpu_pred_batch_size": 1, "n_gpu": 0, "max_seq_length": length, "device": "cpu", "model_type": ""}
    theirs, _ = visualize(SimpleNamespace(**settings), Model(), None, K)
    # Padded, the k-mers that cover the last bases are said to be k.
    share = np.minimum(1, (24 - np.arange(24)) / K) if more else np.ones(24)
    for found, own in zip(theirs, cls_scores(model, [sequences[row] for row in rows]), strict=True):
        expected = own * share
        np.testing.assert_allclose(found[:24], expected / np.linalg.norm(expected), atol=1e-5)
        assert not found[24:].any()


def test_mutations_and_variants_of_snp_py(
    original: Path, model: DNABERT, sequences: list[tuple[str, str]], tmp_path: Path
) -> None:
    """mutate_seqs.py and SNP.py as they are, on our predictions."""
    texts = [text for _, text in sequences if len(text) == 24]

    def script(name: str, *flags: Any) -> None:
        own = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run([sys.executable, name, *map(str, flags)], cwd=original / "SNP", env=own, check=True)

    def predict(table: Path) -> Any:
        frame = pd.read_csv(table, sep="\t")
        whole = ["".join(word[0] for word in text.split()) + text[1 - K :] for text in frame["sequence"]]
        np.save(table.with_suffix(".npy"), model.predict(whole)[:, 0].astype(np.float64))

    kmers = [" ".join(text[at : at + K] for at in range(len(text) - K + 1)) for text in texts]
    table = tmp_path / "own.tsv"
    table.write_text("sequence\tlabel\n" + "".join(f"{one}\t0\n" for one in kmers))
    script("mutate_seqs.py", table, tmp_path, "--k", K)
    changed = tmp_path / "dev.tsv"
    for one in (table, changed):
        predict(one)
    files = {"orig_seq": table, "orig_pred": table.with_suffix(".npy")}
    files |= {"mut_seq": changed, "mut_pred": changed.with_suffix(".npy")}
    script("SNP.py", *(f"--{name}_file={path}" for name, path in files.items()), f"--save_file_dir={tmp_path}")
    theirs = {(row.idx, row.mut_seq): row for row in pd.read_csv(tmp_path / "mutations.tsv", sep="\t").itertuples()}

    target = choose_target(model, "It", "donor", "log-odds")
    coded = [Coded(str(row), "", base_codes(text.encode())) for row, text in enumerate(texts)]
    mutated = changed_outputs(model, [(one, list(changes_of(one.codes, SUBSTITUTIONS))) for one in coded], target)
    scorer = VariantScorer(model, VariantScoring(window=24, strands="forward", label="donor"))
    blocks = [(one.name, 0, np.frombuffer(text.encode(), np.uint8)) for one, text in zip(coded, texts, strict=True)]
    with genome_records(iter(blocks), "g.fa", [one.name for one in coded]) as genome:
        for row, (effects, text) in enumerate(zip(change_effects(mutated, regression=False), texts, strict=True)):
            alleles = [
                Allele(str(row), one.start, 1, base_codes(one.alternative.encode()), one.alternative, "")
                for one in effects.changes
            ]
            expected = [theirs[row, text[: one.start] + one.alternative + text[one.end :]] for one in effects.changes]
            scored = [one.scores for one in scorer.score(alleles, genome)]
            for name, column, own in (
                ("diff", "difference", effects.difference),
                ("logOR", "log_odds_ratio", effects.log_odds_ratio),
            ):
                numbers = [getattr(one, name) for one in expected]
                np.testing.assert_allclose(own, numbers, atol=2e-5)
                np.testing.assert_allclose([one[column] for one in scored], numbers, atol=2e-5)
                assert np.abs(numbers).max() > 0.01
    assert len(theirs) == len(texts) * (3 * 24 + 1)
