"""Negatives drawn from the genome, or made from the positives' own sequence.

From the genome come windows of like GC content, with a motif, or with GT or AG that is no site.
"""

import bisect
import functools
from collections.abc import Callable, Sequence

import numpy as np
from Bio.Data.IUPACData import ambiguous_dna_complement, ambiguous_dna_values
from jaxtyping import Bool, Int64, UInt8

from data_prep.derived.contigs import Contig, Regions
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes

PROPOSALS = 8192
"""Windows that are looked at together."""

PROPOSALS_PER_NEGATIVE = 2000
"""Windows that are looked at for each negative before it is given up."""

SCAN_BLOCK = 1 << 22
"""Bases that are searched for a motif together."""

Chosen = tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]
"""Numbers of the templates that a window was found for, and the windows' starts."""


def motif_places(codes: UInt8[np.ndarray, " n"], motif: str) -> Int64[np.ndarray, " p"]:
    """Where an IUPAC motif begins."""
    allowed = [np.isin(np.arange(AMBIGUOUS + 1), base_codes(ambiguous_dna_values[letter].encode())) for letter in motif]
    places = []
    for first in range(0, max(len(codes) - len(motif) + 1, 0), SCAN_BLOCK):
        block = codes[first : first + SCAN_BLOCK + len(motif) - 1]
        count = len(block) - len(motif) + 1
        hit = np.ones(count, bool)
        for offset, table in enumerate(allowed):
            hit &= table[block[offset : offset + count]]
        places.append(np.flatnonzero(hit) + first)
    return np.concatenate(places) if places else np.empty(0, np.int64)


class _Taken:
    """Windows of one length that do not overlap."""

    def __init__(self, length: int):
        self._length = length
        self._starts: list[int] = []

    def add(self, start: int) -> bool:
        """Takes a window unless it overlaps one that is taken: whether it did."""
        place = bisect.bisect_left(self._starts, start)
        neighbours = self._starts[max(place - 1, 0) : place + 1]
        if any(abs(start - other) < self._length for other in neighbours):
            return False
        self._starts.insert(place, start)
        return True


def usable(
    contig: Contig, starts: Int64[np.ndarray, " w"], length: int, avoided: Sequence[Regions]
) -> Bool[np.ndarray, " w"]:
    """Whether windows lie within the contig, hold only A, C, G, T, and touch nothing that is avoided."""
    fine = contig.inside(starts, length)
    for regions in avoided:
        fine &= ~regions.overlap(starts, length)
    rows = np.flatnonzero(fine)
    windows = contig.cut(starts[rows], np.zeros(len(rows), bool), length)
    fine[rows] = (windows < AMBIGUOUS).all(axis=1)
    return fine


def gc_bases(codes: UInt8[np.ndarray, "w l"]) -> Int64[np.ndarray, " w"]:
    """C and G of each sequence."""
    return (codes >= 2).sum(axis=1, dtype=np.int64)


def gc_windows(
    contig: Contig,
    templates: UInt8[np.ndarray, "t l"],
    tolerance: float,
    avoided: Sequence[Regions],
    rng: np.random.Generator,
) -> Chosen:
    """For each template a window of its length and, within tolerance * length bases, its number of C and G.

    Windows come from uniformly drawn places; each is given to a template of the nearest number that has none yet. They
    overlap neither one another nor what is avoided. Templates that have none after PROPOSALS_PER_NEGATIVE windows for
    each go without.
    """
    count, length = templates.shape
    reach = int(tolerance * length)
    waiting: list[list[int]] = [[] for _ in range(length + 1)]
    for template, bases in enumerate(gc_bases(templates).tolist()):
        waiting[bases].append(template)

    @functools.cache
    def near(own: int) -> list[int]:
        """Returns the numbers of C and G within reach of a window's, the nearest first."""
        numbers = dict.fromkeys(own + sign * step for step in range(reach + 1) for sign in (-1, 1))
        return [number for number in numbers if 0 <= number <= length]

    taken = _Taken(length)
    found: dict[int, int] = {}
    proposals = PROPOSALS_PER_NEGATIVE * count
    while proposals > 0 and len(found) < count and len(contig.codes) >= length:
        proposals -= PROPOSALS
        starts = rng.integers(0, len(contig.codes) - length + 1, PROPOSALS)
        starts = starts[usable(contig, starts, length, avoided)]
        bases = gc_bases(contig.cut(starts, np.zeros(len(starts), bool), length))
        wanted = np.array([any(waiting[max(b - reach, 0) : b + reach + 1]) for b in range(length + 1)])
        rows = np.flatnonzero(wanted[bases])
        for start, own in zip(starts[rows].tolist(), bases[rows].tolist(), strict=True):
            for nearest in near(own):
                if waiting[nearest]:
                    if taken.add(start):
                        found[waiting[nearest].pop()] = start
                    break
            if len(found) == count:
                break
    return _chosen(found)


def motif_windows(
    contig: Contig,
    motif: str,
    offsets: Int64[np.ndarray, " t"],
    reverse: Bool[np.ndarray, " t"],
    length: int,
    avoided: Sequence[Regions],
    rng: np.random.Generator,
) -> Chosen:
    """For each template a window, of its strand, in which the motif begins where it does in the template.

    Args:
        offsets: of the motif in each template, 0-based in its direction.
    """
    found: dict[int, int] = {}
    taken = _Taken(length)
    complement = "".join(ambiguous_dna_complement[letter] for letter in reversed(motif))
    for strand in (False, True):
        places = rng.permutation(motif_places(contig.codes, complement if strand else motif))
        waiting = np.flatnonzero(reverse == strand).tolist()
        # A place that does not suit one template, at its offset, goes to no other: places are many.
        for first in range(0, len(places), PROPOSALS):
            if not waiting:
                break
            block = places[first : first + PROPOSALS]
            turns = np.resize(np.array(waiting), len(block))
            # From the right end of the motif, on the reverse strand.
            starts = block + len(motif) + offsets[turns] - length if strand else block - offsets[turns]
            fine = usable(contig, starts, length, avoided)
            for template, start in zip(turns[fine].tolist(), starts[fine].tolist(), strict=True):
                if template not in found and taken.add(start):
                    found[template] = start
            waiting = [template for template in waiting if template not in found]
    return _chosen(found)


def drawn_windows(
    contig: Contig,
    count: int,
    length: int,
    propose: Callable[[int], Int64[np.ndarray, " w"]],
    suits: Callable[[UInt8[np.ndarray, "w l"]], Bool[np.ndarray, " w"]],
    avoided: Sequence[Regions],
) -> Int64[np.ndarray, " m"]:
    """Starts of up to `count` different windows, the first of those that `propose` gives which suit.

    Args:
        propose: gives a number of starts, at random.
        suits: of windows of the forward strand, which are wanted.
    """
    found: dict[int, None] = {}
    proposals = PROPOSALS_PER_NEGATIVE * count
    while proposals > 0 and len(found) < count:
        proposals -= PROPOSALS
        starts = propose(PROPOSALS)
        starts = starts[usable(contig, starts, length, avoided)]
        windows = contig.cut(starts, np.zeros(len(starts), bool), length)
        found |= dict.fromkeys(starts[suits(windows)].tolist())
    return np.array(list(found)[:count], np.int64)


def _chosen(found: dict[int, int]) -> Chosen:
    templates = np.array(sorted(found), np.int64)
    return templates, np.array([found[template] for template in templates.tolist()], np.int64)


_SHUFFLED = 4096
"""Sequences that are shuffled together."""

PARTS, KEPT_PARTS = 20, 8
"""DeePromoter (Oubounyt et al. 2019, doi 10.3389/fgene.2019.00286) replaces 12 of 20 parts and keeps 8."""


def dinucleotide_shuffle(codes: UInt8[np.ndarray, "n l"], rng: np.random.Generator) -> UInt8[np.ndarray, "n l"]:
    """Returns for each sequence of A, C, G, T one with the same dinucleotides, first base and last base.

    Every such sequence is equally likely: it is a uniformly drawn Eulerian path of the graph whose edges are the
    dinucleotides (Altschul and Erickson 1985, doi 10.1093/oxfordjournals.molbev.a040370). The edges that leave a base
    are put in random order, until the last ones lead to the last base from everywhere; the path takes them in this
    order. The last one is drawn from those that lead elsewhere, since no other would do: few tries are enough.
    """
    blocks = [_shuffled(codes[row : row + _SHUFFLED], rng) for row in range(0, len(codes), _SHUFFLED)]
    return np.concatenate(blocks) if blocks else codes.copy()


def _shuffled(codes: UInt8[np.ndarray, "n l"], rng: np.random.Generator) -> UInt8[np.ndarray, "n l"]:
    count, length = codes.shape
    if length < 3:
        return codes.copy()
    # Edges lie by the base that they leave: those of base b from first[b] to first[b] + edges[b] - 1.
    leaves, targets, last = codes[:, :-1], codes[:, 1:], codes[:, -1:]
    edges = np.stack([(leaves == base).sum(axis=1) for base in range(AMBIGUOUS)], axis=1)
    first = np.cumsum(edges, axis=1) - edges
    # The last base may leave itself by any edge.
    may_be_last = (leaves != targets) & (leaves != last)
    drawn = np.empty_like(targets)
    waiting = np.arange(count)
    while len(waiting):
        keys = rng.random((2, len(waiting), length - 1))
        lasts, keys = np.where(may_be_last[waiting], keys[0], -1), keys[1]
        for letter in range(AMBIGUOUS):
            of_letter = np.where(leaves[waiting] == letter, lasts, -1)
            chosen, some = of_letter.argmax(axis=1), of_letter.max(axis=1) >= 0
            keys[some, chosen[some]] = 1
        order = np.argsort(2 * leaves[waiting] + keys, axis=1)
        ends = np.take_along_axis(targets[waiting], order, axis=1)
        exits = np.take_along_axis(ends, np.maximum((first + edges)[waiting] - 1, 0), axis=1)
        np.put_along_axis(exits, last[waiting].astype(np.int64), last[waiting], axis=1)
        for _ in range(2):  # Four steps; the longest way to the last base has three.
            exits = np.take_along_axis(exits, exits.astype(np.int64), axis=1)
        fits = ((exits == last[waiting]) | (edges[waiting] == 0)).all(axis=1)
        drawn[waiting[fits]] = ends[fits]
        waiting = waiting[~fits]
    result, following, rows = codes.copy(), first.copy(), np.arange(count)
    for step in range(1, length):
        base = result[:, step - 1]
        result[:, step] = drawn[rows, following[rows, base]]
        following[rows, base] += 1
    return result


def substitute_parts(codes: UInt8[np.ndarray, " l"], rng: np.random.Generator) -> UInt8[np.ndarray, " l"]:
    """A sequence of whose 20 equal parts 8, at random, are kept, and 12 replaced by bases drawn uniformly.

    Where 20 does not divide the length, the parts' lengths differ by one. (Public code for it drops or keeps a rest.)
    """
    length = len(codes)
    if length < PARTS:
        raise InputError(f"A sequence of {length} bases has no {PARTS} parts to replace some of.")
    part = np.arange(length) * PARTS // length
    replaced = ~np.isin(part, rng.permutation(PARTS)[:KEPT_PARTS])
    result = codes.copy()
    result[replaced] = rng.integers(0, 4, int(replaced.sum()), np.uint8)
    return result
