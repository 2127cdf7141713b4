"""Windows of the genome as negatives, against brute force."""

import itertools
import re

import numpy as np
import pytest

from data_prep.derived import negatives
from data_prep.derived.contigs import Contig, Regions
from data_prep.derived.negatives import gc_windows, motif_places, motif_windows
from dnabert_jax.sequence.bases import base_codes

LENGTH = 50


@pytest.fixture
def text() -> str:
    """Its GC content rises from left to right; N in between."""
    rng = np.random.default_rng(0)
    parts = [
        "".join(rng.choice(list("ACGT"), 4000, p=[(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2]))
        for gc in (0.3, 0.5, 0.7)
    ]
    return "N".join(parts)


def contig_of(text: str) -> Contig:
    return Contig("a", base_codes(text.encode()))


def gc(text: str) -> int:
    return text.count("G") + text.count("C")


def test_windows_have_the_gc_content_of_their_templates(text: str) -> None:
    templates = ["G" * gc + "A" * (LENGTH - gc) for gc in range(15, 36)]
    codes = np.array([base_codes(template.encode()) for template in templates])
    avoided = [Regions([(500, 600)], 40), Regions([(9000, 9500)])]
    chosen, starts = gc_windows(contig_of(text), codes, 0.04, avoided, np.random.default_rng(1))
    assert sorted(chosen) == list(range(len(templates)))
    for template, start in zip(chosen, starts.tolist(), strict=True):
        window = text[start : start + LENGTH]
        assert abs(gc(window) - gc(templates[template])) <= 2
        assert "N" not in window
        assert start + LENGTH <= 460 or start >= 640
        assert start + LENGTH <= 9000 or start >= 9500
    assert min(b - a for a, b in itertools.pairwise(sorted(starts.tolist()))) >= LENGTH


def test_where_there_are_enough_the_gc_content_is_equal(text: str) -> None:
    codes = base_codes((("GC" * 12 + "A" * 26) * 20).encode()).reshape(20, LENGTH)
    _, starts = gc_windows(contig_of(text), codes, 0.0, [], np.random.default_rng(1))
    assert len(starts) == 20
    assert {gc(text[start : start + LENGTH]) for start in starts.tolist()} == {24}


def test_what_is_not_found_is_left(text: str) -> None:
    codes = np.array([base_codes(template.encode()) for template in ("G" * LENGTH, "GC" * 10 + "A" * 30)])
    chosen, _ = gc_windows(contig_of(text), codes, 0.02, [], np.random.default_rng(1))
    assert chosen.tolist() == [1]
    assert not len(gc_windows(contig_of(text[:40]), codes, 0.02, [], np.random.default_rng(1))[0])


@pytest.mark.parametrize("block", [64, negatives.SCAN_BLOCK])
@pytest.mark.parametrize("motif", ["TATAWA", "GRYN", "A"])
def test_motif_places(text: str, motif: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(negatives, "SCAN_BLOCK", block)
    pattern = motif.replace("W", "[AT]").replace("R", "[AG]").replace("Y", "[CT]").replace("N", "[ACGT]")
    assert motif_places(contig_of(text).codes, motif).tolist() == [
        m.start() for m in re.finditer(f"(?={pattern})", text)
    ]


def test_motif_windows_on_both_strands(text: str) -> None:
    offsets, reverse = np.array([3, 10, 20, 44, 0, 7]), np.array([True, False, True, False, True, False])
    avoided = [Regions([(0, 3000)])]
    contig = contig_of(text)
    chosen, starts = motif_windows(contig, "TATW", offsets, reverse, LENGTH, avoided, np.random.default_rng(0))
    assert chosen.tolist() == list(range(6))
    windows = contig.cut(starts, reverse[chosen], LENGTH)
    for window, offset in zip(windows, offsets[chosen].tolist(), strict=True):
        assert offset in motif_places(window, "TATW")
    assert starts.min() >= 3000
    assert min(b - a for a, b in itertools.pairwise(sorted(starts.tolist()))) >= LENGTH
    few, _ = motif_windows(contig, "TATATATATATATA", offsets, reverse, LENGTH, [], np.random.default_rng(0))
    assert not len(few)
