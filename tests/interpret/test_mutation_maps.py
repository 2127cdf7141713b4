"""Changes against edits of strings, their outputs against predictions, and the original's file of mutations."""

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from dnabert_jax import DNAModel
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.interpret.changes import Change, Kind, apply, changes_of
from dnabert_jax.interpret.heat_map import draw_heat_map, effect_matrix, heat_map_name
from dnabert_jax.interpret.mutagenesis import Changed, Mutations, changed_outputs
from dnabert_jax.interpret.mutation_file import read_mutations, with_sequences
from dnabert_jax.interpret.mutation_table import change_effects
from dnabert_jax.interpret.target import choose_target
from dnabert_jax.sequence.bases import base_codes
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
    found: dict[str, set[str]] = {"substitution": set(), "deletion": set(), "insertion": set()}
    count = 0
    for change in changes_of(codes, ALL):
        found[change.kind].add("".join("ATCGN"[code] for code in apply(codes, change)))
        count += 1
    assert found == edits(text)
    assert count == 3 * len(text) + text.count("N") + len(text) + 4 * (len(text) + 1)
    assert {change.kind for change in changes_of(codes, ("deletions",))} == {"deletion"}


def test_effects_are_those_of_the_predictions(model: DNAModel, sequences: list[tuple[str, str]]) -> None:
    target = choose_target(model, "It", "acceptor", "log-odds")
    own = [coded(text, name) for name, text in sequences if len(text) == 7]
    pairs = [
        (one, [*changes_of(one.codes, ALL), Change(1, 4, "GTTAC"), Change(2, 2, ""), Change(0, 4, "")]) for one in own
    ]
    found = list(change_effects(changed_outputs(model, pairs, target), regression=False))
    assert [one.sequence.name for one in found] == [one.name for one in own]
    for row in found:
        text = dict(sequences)[row.sequence.name]
        changed = [text[: one.start] + one.alternative + text[one.end :] for one in row.changes]
        before, *after = model.predict([text, *changed])[:, 1].astype(np.float64)
        later = np.array(after)
        assert row.reference == pytest.approx(before, abs=1e-6)
        np.testing.assert_allclose(row.changed, later, atol=1e-6)
        np.testing.assert_allclose(row.difference, (later - before) * np.maximum(before, later), atol=1e-6)
        odds = np.log2(before / (1 - before)) - np.log2(later / (1 - later))
        assert row.log_odds_ratio is not None
        np.testing.assert_allclose(row.log_odds_ratio, odds, atol=1e-4)
        assert np.abs(odds).max() > 0.01


def test_the_same_sequence_is_computed_once(model: DNAModel) -> None:
    done: list[int] = []
    target = choose_target(model, "It", "donor")
    one = coded("AAAAC")
    (found,) = changed_outputs(model, [(one, list(changes_of(one.codes, ALL)))], target, done.append)
    texts = edits("AAAAC")
    assert sum(done) == len({"AAAAC"}.union(*texts.values())) < len(found.changes)
    deleted = [out for change, out in zip(found.changes, found.outputs, strict=True) if change.kind == "deletion"]
    assert len(set(deleted[:4])) == 1
    assert deleted[4] != deleted[0]


@pytest.mark.parametrize(
    ("text", "kind", "sentence"),
    [
        ("ACG", "deletions", r"sequence 1 \(a\) with \[0, 1\) replaced by nothing has 2 bases"),
        ("A" * 24, "insertions", r"sequence 1 \(a\) with \[0, 0\) replaced by A has 23 "),
    ],
)
def test_a_change_beyond_what_the_model_takes_is_named(model: DNAModel, text: str, kind: Kind, sentence: str) -> None:
    one = coded(text)
    with pytest.raises(InputError, match=sentence):
        next(changed_outputs(model, [(one, list(changes_of(one.codes, (kind,))))], choose_target(model, "It", "donor")))


def test_numbers_of_a_regression_are_subtracted_and_must_be_finite() -> None:
    changes = [Change(0, 1, "C"), Change(1, 1, "")]
    (row,) = change_effects([Changed(coded("ACG"), 2.0, changes, np.array([5, 1], np.float32))], regression=True)
    assert row.difference.tolist() == [3, -1]
    assert row.log_odds_ratio is None
    with pytest.raises(JobError, match="not finite"):
        next(change_effects([Changed(coded("ACG"), 2.0, changes, np.array([5, np.inf], np.float32))], regression=True))


_MUTATIONS = b"1\t0\t1\tC\r\n0\t2\t2\tgg\n\n0\t1\t3\t\n0\t1\t2\n1\t0\t3\tAC\n"


@pytest.mark.parametrize(
    "content",
    [
        _MUTATIONS,
        b"\xef\xbb\xbf" + _MUTATIONS,
        _MUTATIONS.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
        gzip.compress(_MUTATIONS, mtime=0),
    ],
    ids=["mixed ends", "byte-order mark", "cr", "gzip"],
)
def test_a_file_of_mutations_is_read_in_its_order(write: Callable[..., Path], content: bytes) -> None:
    path = write("m.txt", content)
    pairs = list(with_sequences(read_mutations(path), [coded("ACGT", "a"), coded("AAA", "b"), coded("TTT", "c")], path))
    assert [own.name for own, _ in pairs] == ["b", "a", "b"]
    changes = list(itertools.chain.from_iterable(own for _, own in pairs))
    assert changes == [Change(0, 1, "C"), Change(2, 2, "GG"), Change(1, 3, ""), Change(1, 2, ""), Change(0, 3, "AC")]
    assert [change.kind for change in changes] == ["substitution", "insertion", "deletion", "deletion", "replacement"]
    made = ["".join("ATCG"[code] for code in apply(own.codes, change)) for own, all_ in pairs for change in all_]
    assert made == ["CAA", "ACGGGT", "AT", "AGT", "AC"]


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"", "m.txt"),
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
        ("0\t1\t2\tA\n".encode("utf-16"), "UTF-16"),
        (b"0\t1\t2\tA\n2\t1\t2\tA\n", "Row 2 of .*2"),
        (b"0\t1\t5\tA\n", r"\[1, 5\).*4"),
    ],
)
def test_a_bad_file_of_mutations_is_one_sentence(write: Callable[..., Path], content: bytes, value: str) -> None:
    path = write("m.txt", content)
    with pytest.raises(InputError, match=value):
        list(with_sequences(read_mutations(path), [coded("ACGT"), coded("AAA")], path))


def test_a_heat_map_has_each_effect_in_its_cell() -> None:
    changes = list(changes_of(base_codes(b"AC"), ALL))
    outputs = np.arange(len(changes), dtype=np.float32)
    (row,) = change_effects([Changed(coded("AC"), 0.0, changes, outputs)], regression=True)
    matrix = effect_matrix(row)
    assert matrix.shape == (5, 2)
    assert np.argwhere(np.isnan(matrix)).tolist() == [[0, 0], [1, 1]]
    for change, effect in zip(row.changes, outputs, strict=True):
        if change.kind != "insertion":
            assert matrix["ACGT".find(change.alternative) if change.alternative else 4, change.start] == effect
    assert heat_map_name(7, "chr1:5-9(+)/x") == "007_chr1_5-9_x.png"


def test_a_heat_map_names_its_label_and_has_bars_of_the_sign_of_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    changes = list(changes_of(base_codes(b"AC"), ("substitutions",)))
    outputs = np.array([3, 4, 5, -9, 0, 3], np.float32)
    (row,) = change_effects([Changed(coded("AC"), 1.0, changes, outputs)], regression=True)
    draw_heat_map(tmp_path / "x.png", row, "$level$", "difference")
    (figure,) = figures
    assert "$level$" in figure.get_suptitle()
    effects = np.nan_to_num(effect_matrix(row).T).astype(np.float32)
    scores = Mutations("a", 1.0, effects).scores(row.sequence.codes)
    assert [bar.get_height() for bar in figure.axes[0].patches] == scores.tolist() == [-3, 3]


def test_groups_are_closed_when_they_are_full() -> None:
    assert list(groups(range(6), lambda item: item, 4)) == [[0, 1, 2, 3], [4], [5]]
    assert list(groups([1, 1, 1], lambda item: item, 2)) == [[1, 1], [1]]
