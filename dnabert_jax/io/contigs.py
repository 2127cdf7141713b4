"""Which contig of a genome a name in another file stands for: the same one is chr22 to UCSC and 22 to Ensembl."""

import itertools
from collections.abc import Iterable, Iterator

_MITOCHONDRION = ("m", "mt")


def contig_key(name: str) -> str:
    """Returns what all names of one contig share, so that a stream can tell which records may be meant.

    chr22 and 22 share a key, and so do chrM, MT and Mt. Different contigs may share one too: chrM and chrMT of UCSC's
    hg19 do. `ContigNames` tells these apart.
    """
    plain = _plain(name).lower()
    return _MITOCHONDRION[0] if plain in _MITOCHONDRION else plain


def _plain(name: str) -> str:
    return name[3:] if name[:3].lower() == "chr" else name


class ContigNames:
    """The contigs of a genome, found by the names of other files."""

    def __init__(self, names: Iterable[str] = ()):
        self._by_key: dict[str, list[str]] = {}
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Takes up the name of one more contig."""
        self._by_key.setdefault(contig_key(name), []).append(name)

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self._by_key.values())

    def candidates(self, name: str) -> list[str]:
        """Returns the contigs that a name may stand for; it is ambiguous if there are several.

        The contig of the very same name is the only candidate, else those that differ in the prefix chr alone (MT is
        chrMT even where there is a chrM), else those that differ in case, or in M for MT.
        """
        alike = self._by_key.get(contig_key(name), [])
        if name in alike:
            return [name]
        return [other for other in alike if _plain(other) == _plain(name)] or list(alike)

    def find(self, name: str) -> str | None:
        """Returns the contig that a name stands for, or None if there is none or the name is ambiguous."""
        candidates = self.candidates(name)
        return candidates[0] if len(candidates) == 1 else None

    def why_not(self, name: str) -> str:
        """Returns why `find` gives None, as the reason of a `LeftOut`."""
        candidates = self.candidates(name)
        if not candidates:
            return "the genome has no such contig"
        return f"the genome has {' and '.join(candidates)}, either of which may be meant"
