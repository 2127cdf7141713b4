"""Changes against edits of strings, their effects against predictions, files of mutations, and heat maps."""

import gzip
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from matplotlib.figure import Figure

from dnabert_jax import DNAModel, stream
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.interpret import mutagenesis
from dnabert_jax.interpret.heat_map import draw_heat_map, effect_matrix, heat_map_name
from dnabert_jax.interpret.mutagenesis import Change, Changed, Kind, Mutations, apply, changed_outputs, changes_of
from dnabert_jax.interpret.mutation_files import read_mutations, with_sequences
from dnabert_jax.interpret.target import choose_target
from dnabert_jax.sequence.bases import base_codes, decode_bases
from dnabert_jax.sequence.buckets import groups
from dnabert_jax.stream import Coded

ALL: tuple[Kind, ...] = ("substitutions", "deletions", "insertions")


def coded(text: str, name: str = "a") -> Coded:
    return Coded(name, f"sequence 1 ({name})", base_codes(text.encode()))


def edits(text: str) -> dict[str, set[str]]:
    """What every change of a kind makes of a text, by letters alone."""
    places = range(len(text))
    substituted = {text[:place] + base + text[place + 1 :] for place in places for base in "ACGT"}
    return {
        "substitution": substituted - {text},
        "deletion": {text[:place] + text[place + 1 :] for place in places},
        "insertion": {text[:place] + base + text[place:] for place in range(len(text) + 1) for base in "ACGT"},
    }


@pytest.mark.parametrize("text", ["ACGTACG", "AAAA", "GCNTA"])
def test_every_change_is_an_edit_of_the_text(text: str) -> None:
    codes = base_codes(text.encode())
    changes = list(changes_of(codes, ALL))
    for kind, edited in edits(text).items():
        assert {decode_bases(apply(codes, change)) for change in changes if change.kind == kind} == edited
    assert len(changes) == 3 * len(text) + text.count("N") + len(text) + 4 * (len(text) + 1)
    assert {change.kind for change in changes_of(codes, ("deletions",))} == {"deletion"}


def test_effects_of_substitutions_are_differences_of_predictions(
    model: DNAModel, sequences: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that the sequences are not all in memory at once.
    monkeypatch.setattr(mutagenesis, "_VARIANTS_TOGETHER", 90)
    target = choose_target(model, "It", "acceptor", "probability")
    mutated = list(mutagenesis.mutation_effects(model, iter(sequences), target))
    assert [sequence.name for sequence, *_ in mutated] == [name for name, _ in sequences]
    for (_, reference, effects), (_, text) in zip(mutated, sequences, strict=True):
        mutants = [text[:place] + base + text[place + 1 :] for place in range(len(text)) for base in "ACGT"]
        predicted = model.predict([text, *mutants])[:, 1]
        assert reference == pytest.approx(predicted[0], abs=1e-6)
        np.testing.assert_allclose(effects.ravel(), predicted[1:] - predicted[0], atol=1e-5)
        assert all(effects[place, "ACGT".index(base)] == 0 for place, base in enumerate(text) if base != "N")
    assert max(np.abs(effects).max() for *_, effects in mutated) > 0.01


def test_effect_sizes_are_those_of_the_originals_arithmetic(model: DNAModel, sequences: list[tuple[str, str]]) -> None:
    target = choose_target(model, "It", "acceptor", "log-odds")
    chosen = [coded(text, name) for name, text in sequences if len(text) == 7]
    others = [Change(1, 4, "GTTAC"), Change(2, 2, ""), Change(0, 4, "")]
    pairs = [(sequence, [*changes_of(sequence.codes, ALL), *others]) for sequence in chosen]
    rows = list(mutagenesis.change_effects(changed_outputs(model, pairs, target), regression=False))
    assert [row.sequence.name for row in rows] == [sequence.name for sequence in chosen]
    for row in rows:
        text = dict(sequences)[row.sequence.name]
        changed = [text[:start] + alternative + text[end:] for start, end, alternative in row.changes]
        before, *later = model.predict([text, *changed])[:, 1].astype(np.float64)
        after = np.array(later)
        assert row.reference == pytest.approx(before, abs=1e-6)
        np.testing.assert_allclose(row.changed, after, atol=1e-6)
        # SNP/SNP.py, the lines that fill `diff` and `logOR`.
        np.testing.assert_allclose(row.difference, (after - before) * np.maximum(before, after), atol=1e-6)
        odds = np.log2(before / (1 - before)) - np.log2(after / (1 - after))
        assert row.log_odds_ratio is not None
        np.testing.assert_allclose(row.log_odds_ratio, odds, atol=1e-4)
        assert np.abs(odds).max() > 0.01
    # A probability of 1 in float32 has no odds.
    assert np.isfinite(mutagenesis.log_odds_ratio(np.array([90.0]), np.array([-90.0]))).all()


def test_identical_sequences_are_computed_once(model: DNAModel, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = Mock(side_effect=model.ids_within_limit)
    monkeypatch.setattr(model, "ids_within_limit", computed)
    texts = ["AAAAC", "AAAAC", "AAAAG"]
    done: list[int] = []
    pairs = [(coded(text), list(changes_of(coded(text).codes, ALL))) for text in texts]
    first, second, third = changed_outputs(model, pairs, choose_target(model, "It", "donor"), done.append)
    encoded = [call.args[0].tobytes() for call in computed.call_args_list]
    distinct = set(texts).union(*(own for text in texts for own in edits(text).values()))
    assert len(encoded) == len(set(encoded)) == sum(done) == len(distinct)
    np.testing.assert_array_equal(first.outputs, second.outputs)
    outputs = dict(zip(first.changes, first.outputs, strict=True))
    assert outputs[Change(4, 5, "G")] == np.float32(third.reference)
    deletions = [outputs[Change(place, place + 1, "")] for place in range(5)]
    assert len(set(deletions[:4])) == 1
    assert deletions[4] != deletions[0]


def test_a_change_beyond_what_the_model_takes_is_named(model: DNAModel) -> None:
    too_short, too_long = r"sequence 1 \(a\).*\[0, 1\).* 2 ", r"sequence 1 \(a\).* A .*23 "
    for text, kind, words in (("ACG", "deletions", too_short), ("A" * 24, "insertions", too_long)):
        pairs = [(coded(text), list(changes_of(coded(text).codes, (kind,))))]
        with pytest.raises(InputError, match=words):
            next(changed_outputs(model, pairs, choose_target(model, "It", "donor")))


def test_variants_of_a_sequence_are_not_padded_on_a_cpu(model: DNAModel, monkeypatch: pytest.MonkeyPatch) -> None:
    target, whole = choose_target(model, "It", "donor"), model.encoder.last_of_cls
    # 9 k-mers, [CLS] and [SEP]; 34 sequences.
    for on_cpu, width in ((True, 11), (False, 16)):
        monkeypatch.setattr(stream, "_on_cpu", lambda on_cpu=on_cpu: on_cpu)
        computed = Mock(side_effect=whole)
        monkeypatch.setattr(model.encoder, "last_of_cls", computed)
        next(mutagenesis.mutation_effects(model, [("", "ACGTACGTACG")], target))
        assert {call.args[0].shape[1] for call in computed.call_args_list} == {width}


def test_numbers_of_a_regression_are_subtracted_and_must_be_finite() -> None:
    changes = [Change(0, 1, "C"), Change(1, 1, "")]
    rows = [Changed(coded("ACG"), 2.0, changes, np.array([5, last], np.float32)) for last in (1, np.inf)]
    effects = mutagenesis.change_effects(rows, regression=True)
    row = next(effects)
    assert (row.difference.tolist(), row.log_odds_ratio) == ([3, -1], None)
    with pytest.raises(JobError, match="sequence 1"):
        next(effects)


_MUTATIONS = b"1\t0\t1\tC\r\n0\t2\t2\tgg\n\n0\t1\t3\t\n0\t1\t2\n1\t0\t3\tAC\n"


def test_a_file_of_mutations_is_read_in_its_order(write: Callable[..., Path]) -> None:
    for content in (_MUTATIONS, gzip.compress(_MUTATIONS)):
        path = write("m.txt", content)
        sequences = [coded("ACGT", "a"), coded("AAA", "b"), coded("TTT", "c")]
        pairs = list(with_sequences(read_mutations(path), sequences, path))
        assert [sequence.name for sequence, _ in pairs] == ["b", "a", "b"]
        made = [
            (*change, change.kind, decode_bases(apply(sequence.codes, change)))
            for sequence, several in pairs
            for change in several
        ]
        assert made == [
            (0, 1, "C", "substitution", "CAA"), (2, 2, "GG", "insertion", "ACGGGT"), (1, 3, "", "deletion", "AT"),
            (1, 2, "", "deletion", "AGT"), (0, 3, "AC", "replacement", "AC"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"\n \n", "m.txt"),
        (b"0\t1\t2\n0\t2\t3\n", "m.txt"),
        (b"index\tstart\tend\tallele\n0\t1\t2\tA\n", "Row 1 of .*'index'"),
        (b"0\t1\t2\tA\n-1\t1\t2\tA\n", "Row 2 of .*'-1'"),
        (b"0\t1.5\t2\tA\n", "'1.5'"),
        (b"0\t%s\t2\tA\n" % (b"9" * 5000), "'99"),
        (b"0\t3\t2\tA\n", "2.*3"),
        (b"0 1 2 A\n", "Row 1 of"),
        (b"0\t1\t2\tA\tB\n", "Row 1 of"),
        (b"0\t1\t2\tNA\n", "NA"),
        (b"0\t1\t2\tARC\n", "ARC"),
        (b"0\t1\t2\tAXC\n", "'X'"),
        (b"0\t1\t2\tA\n0\t1\t2\t\xff\n", "Row 2 of"),
        (b"0\t1\t2\tA\n2\t1\t2\tA\n", "Row 2 of .*2"),
        (b"0\t1\t5\tA\n", r"\[1, 5\).*4"),
    ],
)
def test_a_bad_file_of_mutations_is_one_sentence(write: Callable[..., Path], content: bytes, value: str) -> None:
    path = write("m.txt", content)
    with pytest.raises(InputError, match=value):
        list(with_sequences(read_mutations(path), [coded("ACGT"), coded("AAA")], path))


def test_a_heat_map_has_each_effect_in_its_cell_and_bars_of_the_sign_of_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    changes = list(changes_of(base_codes(b"AC"), ALL))
    outputs = np.random.default_rng(0).normal(size=len(changes)).astype(np.float32)
    (row,) = mutagenesis.change_effects([Changed(coded("AC"), 1.0, changes, outputs)], regression=True)
    matrix = effect_matrix(row)
    assert matrix.shape == (5, 2)
    assert np.argwhere(np.isnan(matrix)).tolist() == [[0, 0], [1, 1]]
    for change, effect in zip(changes, outputs - 1, strict=True):
        if change.kind != "insertion":
            cell = matrix["ACGT".find(change.alternative) if change.alternative else 4, change.start]
            assert cell == pytest.approx(effect, abs=1e-6)
    draw_heat_map(tmp_path / "x.png", row, "$level$", "difference")
    (figure,) = figures
    assert "$level$" in figure.get_suptitle()
    # The score of a base is what its substitutions take away, on average.
    effects = np.array([[0, -3, -1, -2], [0.5, 0, 0.5, 0.5], [4, -2, 1, 1]], np.float32)
    assert Mutations(coded("ACN", "a"), 0.0, effects).scores.tolist() == [2, -0.5, -1]
    scores = Mutations(row.sequence, 1.0, np.nan_to_num(matrix[:4].T).astype(np.float32)).scores
    assert [bar.get_height() for bar in figure.axes[0].patches] == pytest.approx(scores.tolist(), abs=1e-6)
    assert heat_map_name(7, "chr1:5-9(+)/x") == "007_chr1_5-9_x.png"


def test_groups_are_closed_when_they_are_full() -> None:
    assert list(groups(range(6), lambda item: item, 4)) == [[0, 1, 2, 3], [4], [5]]
    assert list(groups([1, 1, 1], lambda item: item, 2)) == [[1, 1], [1]]
