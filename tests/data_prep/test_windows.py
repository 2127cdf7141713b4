"""Windows are those of the paper: half cut, half sampled, 5 to 510 k-mers, the last k-mer kept."""

import numpy as np
import pytest
from numpy.random import default_rng

from dnabert_jax.data_prep.windows import certain_runs, cut_windows, sampled_windows, windows_of_runs
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.sequence.six_mers import SixMerTokenizer

SIX = KmerTokenizer(6)


@pytest.mark.parametrize(
    ("sequence", "runs"),
    [("", []), ("NN", []), ("ACGT", [[0, 4]]), ("NACNNGTN", [[1, 3], [5, 7]]), ("ARA", [[0, 1], [2, 3]])],
)
def test_runs_end_at_ambiguous_bases(sequence: str, runs: list[list[int]]) -> None:
    assert certain_runs(base_codes(sequence.encode())).tolist() == runs


@pytest.mark.parametrize("k", [1, 3, 6])
def test_cut_windows_share_no_base_and_leave_none_between_them(k: int) -> None:
    for num_bases in (4 + k, 5 + k, 300, 509 + k, 510 + k, 5000, 100_000):
        for seed in range(20):
            starts, counts = cut_windows(num_bases, KmerTokenizer(k), 510, 0.5, default_rng(seed))
            ends = starts + counts + k - 1
            assert starts[0] == 0
            assert np.array_equal(starts[1:], ends[:-1])
            assert counts.min() >= 5
            assert counts.max() <= 510
            # Only a last piece that is too short for five k-mers is left.
            assert 0 <= num_bases - ends[-1] < 5 + k - 1


def test_half_of_the_cut_windows_are_full_and_the_others_uniform() -> None:
    _, counts = cut_windows(20_000_000, SIX, 510, 0.5, default_rng(0))
    number, full = len(counts), (counts == 510).mean()
    # A uniform draw is 510 itself once in 506 times.
    assert abs(full - (0.5 + 0.5 / 506)) < 3 * 0.5 / number**0.5
    others = counts[counts < 510]
    deviation = (504**2 / 12) ** 0.5
    assert abs(others.mean() - (5 + 509) / 2) < 3 * deviation / len(others) ** 0.5
    assert others.min() == 5


def test_sampled_windows_lie_anywhere_in_their_run() -> None:
    starts, counts = sampled_windows(20_000, 1000, SIX, 510, default_rng(0))
    assert (starts.min(), (starts + counts + 5).max(), counts.min(), counts.max()) == (0, 1000, 5, 510)
    assert set(sampled_windows(2000, 15, SIX, 510, default_rng(0))[1].tolist()) == {5, 6, 7, 8, 9, 10}


def test_each_run_gives_as_many_sampled_as_cut_windows_inside_it() -> None:
    runs = np.array([[0, 7], [10, 20], [50, 2000], [3000, 90_000]])
    starts, counts, uncut = windows_of_runs(runs, SIX, 510, "mixed", default_rng(0))
    assert 7 <= uncut < 7 + 3 * 10
    for first, end in runs.tolist():
        inside = (starts >= first) & (starts + counts + 5 <= end)
        cut, _ = cut_windows(end - first, SIX, 510, 0.5, default_rng(5)) if end - first >= 10 else ([], [])
        assert (inside.sum() > 0) == (len(cut) > 0)
        assert inside.sum() % 2 == 0
    assert len(starts) == sum(((starts >= f) & (starts + counts + 5 <= e)).sum() for f, e in runs.tolist())


def test_full_windows_of_tokens_without_overlap_begin_anywhere() -> None:
    runs = np.array([[0, 20], [100, 5000], [6000, 20_000]])
    firsts = set()
    for seed in range(30):
        starts, counts, uncut = windows_of_runs(runs, SixMerTokenizer(), 100, "full", default_rng(seed))
        ends = starts + 6 * counts
        firsts.add(int(starts[0]))
        assert counts.max() == 100
        assert (counts < 100).sum() <= 2
        assert (starts[1:] - ends[:-1] >= 0).all()
        assert uncut == 20 + 18_900 - 6 * counts.sum() <= 20 + 2 * (5 + 6 * 5)
    assert firsts == set(range(100, 106))
