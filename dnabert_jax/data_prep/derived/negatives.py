"""Negatives drawn from the genome, or made from the positives' own sequence.

From the genome come windows of like GC content, with a motif, or with GT or AG that is no site.
"""

import re
from collections.abc import Sequence

import numpy as np
from Bio.Data.IUPACData import ambiguous_dna_complement, ambiguous_dna_values
from jaxtyping import Bool, Int64, UInt8

from dnabert_jax.data_prep.derived.contigs import Contig, Place, Regions
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes

PROPOSALS = 8192
"""Windows that are looked at together."""

PROPOSALS_PER_NEGATIVE = 2000
"""Windows that are looked at for each negative before it is given up."""


def motif_places(codes: UInt8[np.ndarray, " n"], motif: str) -> Int64[np.ndarray, " p"]:
    """Returns where an IUPAC motif begins."""
    first, *rest = (b"[" + base_codes(ambiguous_dna_values[letter].encode()).tobytes() + b"]" for letter in motif)
    # All but the first letter are looked ahead for, so that motifs that overlap are found too.
    places = re.finditer(first + b"(?=" + b"".join(rest) + b")", codes.data)
    return np.fromiter((place.start() for place in places), np.int64)


def _take(taken: dict[int, int], start: int, length: int) -> bool:
    """Takes a window unless it overlaps one that is taken; returns whether it did.

    Args:
        taken: starts of windows of this length, by start // length: two that share this number overlap.
    """
    place = start // length
    if any(near in taken and abs(start - taken[near]) < length for near in range(place - 1, place + 2)):
        return False
    taken[place] = start
    return True


def usable(
    contig: Contig, starts: Int64[np.ndarray, " w"], length: int, avoided: Sequence[Regions]
) -> Bool[np.ndarray, " w"]:
    """Returns which windows lie within the contig, hold only A, C, G, T, and touch nothing that is avoided."""
    fine = contig.inside(starts, length)
    for regions in avoided:
        fine &= ~regions.overlap(starts, length)
    rows = np.flatnonzero(fine)
    windows = contig.cut(starts[rows], np.zeros(len(rows), bool), length)
    fine[rows] = (windows < AMBIGUOUS).all(axis=1)
    return fine


def gc_windows(place: Place, templates: UInt8[np.ndarray, "t l"], tolerance: float) -> dict[int, int]:
    """Returns the start of a window for each template, of its length and, within tolerance * length, its C and G.

    Windows come from uniformly drawn places; each is given to a template of the nearest number that has none yet. They
    overlap neither one another nor what is avoided. Templates that have none after PROPOSALS_PER_NEGATIVE windows for
    each go without.
    """
    contig, (count, length) = place.contig, templates.shape
    reach = int(tolerance * length)
    waiting: list[list[int]] = [[] for _ in range(length + 1)]
    for template, gc in enumerate((templates >= 2).sum(axis=1).tolist()):
        waiting[gc].append(template)
    taken: dict[int, int] = {}
    chosen: dict[int, int] = {}
    for _ in range(0, PROPOSALS_PER_NEGATIVE * count if len(contig.codes) >= length else 0, PROPOSALS):
        starts = place.rng.integers(0, len(contig.codes) - length + 1, PROPOSALS)
        starts = starts[usable(contig, starts, length, place.avoided)]
        bases = (contig.cut(starts, np.zeros(len(starts), bool), length) >= 2).sum(axis=1)
        wanted = np.array([any(waiting[max(b - reach, 0) : b + reach + 1]) for b in range(length + 1)])
        rows = np.flatnonzero(wanted[bases])
        for start, gc in zip(starts[rows].tolist(), bases[rows].tolist(), strict=True):
            near = [n for n in range(max(gc - reach, 0), min(gc + reach, length) + 1) if waiting[n]]
            if near and _take(taken, start, length):
                chosen[waiting[min(near, key=lambda number: abs(number - gc))].pop()] = start
            if len(chosen) == count:
                return chosen
    return chosen


def motif_windows(
    place: Place, motif: str, offsets: Int64[np.ndarray, " t"], reverse: Bool[np.ndarray, " t"], length: int
) -> dict[int, int]:
    """Returns the start of a window for each template, on its strand, in which the motif begins where it has it.

    Args:
        offsets: of the motif in each template, 0-based in its direction.
    """
    chosen: dict[int, int] = {}
    taken: dict[int, int] = {}
    complement = "".join(ambiguous_dna_complement[letter] for letter in reversed(motif))
    for strand in (False, True):
        places = place.rng.permutation(motif_places(place.contig.codes, complement if strand else motif))
        waiting = np.flatnonzero(reverse == strand).tolist()
        # A place that does not suit one template, at its offset, goes to no other: places are many.
        for first in range(0, len(places), PROPOSALS):
            if not waiting:
                break
            block = places[first : first + PROPOSALS]
            turns = np.resize(np.array(waiting), len(block))
            # From the right end of the motif, on the reverse strand.
            starts = block + len(motif) + offsets[turns] - length if strand else block - offsets[turns]
            fine = usable(place.contig, starts, length, place.avoided)
            for template, start in zip(turns[fine].tolist(), starts[fine].tolist(), strict=True):
                if template not in chosen and _take(taken, start, length):
                    chosen[template] = start
            waiting = [template for template in waiting if template not in chosen]
    return chosen


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
    """Returns a sequence with 12 of its 20 equal parts, at random, replaced by bases drawn uniformly.

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
