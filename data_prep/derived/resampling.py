"""Negatives made from the positives' own sequence."""

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.errors import InputError

PARTS, KEPT_PARTS = 20, 8
"""Of DeePromoter (Oubounyt et al. 2019, doi 10.3389/fgene.2019.00286): 12 of 20 parts are replaced, 8 kept."""


def dinucleotide_shuffle(codes: UInt8[np.ndarray, " l"], rng: np.random.Generator) -> UInt8[np.ndarray, " l"]:
    """A sequence with the same number of each dinucleotide, and the same first and last base.

    Every such sequence is equally likely: it is a uniformly drawn Eulerian path of the graph whose edges are the
    dinucleotides (Altschul and Erickson 1985, doi 10.1093/oxfordjournals.molbev.a040370). Each base's last edge is
    drawn until these lead to the last base from everywhere; the others come in any order.
    """
    if len(codes) < 3:
        return codes.copy()
    last = int(codes[-1])
    edges = {int(base): codes[1:][codes[:-1] == base] for base in np.unique(codes[:-1])}
    while True:
        for ends in edges.values():
            rng.shuffle(ends)
        exits = {base: int(ends[-1]) for base, ends in edges.items() if base != last}
        if all(_leads_to(last, base, exits) for base in exits):
            break
    walks = {base: iter(ends.tolist()) for base, ends in edges.items()}
    path = [int(codes[0])]
    while len(path) < len(codes):
        path.append(next(walks[path[-1]]))
    return np.array(path, np.uint8)


def _leads_to(goal: int, base: int, exits: dict[int, int]) -> bool:
    for _ in range(len(exits)):
        base = exits[base]
        if base == goal:
            return True
    return False


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
