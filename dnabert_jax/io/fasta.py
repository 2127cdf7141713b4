"""FASTA as a stream of blocks of letters, of the whole file or of some records by its samtools index.

Memory does not grow with a chromosome: Biopython's parser hands over whole records and takes about three bytes a base
to join their lines; this reader never holds more than a few blocks.

The index is PATH.fai, and PATH.gzi for bgzip. pyfaidx and pysam trust an index that belongs to another file, and then
return wrong bases; here each title is checked. Source: the manual pages faidx(5) of samtools and bgzip(1) of htslib.
"""

import functools
import os
import re
import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from Bio import bgzf
from jaxtyping import UInt8

from dnabert_jax.errors import InputError
from dnabert_jax.io.contigs import contig_key
from dnabert_jax.io.text import GZIP_MAGIC, open_bytes, valid_unicode

BLOCK_LETTERS = 1 << 20
"""Letters that are worked on together, at most. Windows do not cross from one block to the next."""

_READ_BYTES = 1 << 20
_SPACE = b" \t\r\n"
_ENTRY = re.compile(rb"(\S+)" + rb"\t(\d{1,12})" * 4)  # no file is so large that more digits are a place in it
_TITLE_BYTES = 1 << 20

_ReadAt = Callable[[int, int], bytes]
"""Where in the text, and how many bytes, of which there may be fewer at its end."""


class Block(NamedTuple):
    """Consecutive letters of a record.

    Attributes:
        record: its name, the first word of the title.
        number: 0 for the first block of the record; all blocks of a record but the last have the same length.
    """

    record: str
    number: int
    letters: UInt8[np.ndarray, " n"]


def read_fasta(path: Path, name: str | None = None, block_letters: int = BLOCK_LETTERS) -> Iterator[Block]:
    """Yields the blocks of each record in order; a record without letters gives one empty block."""
    with open_bytes(path, name) as stream:
        yield from _whole_blocks(_pieces(stream, name or str(path)), block_letters)


def _pieces(stream: BinaryIO, name: str) -> Iterator[tuple[str | None, bytes]]:
    """Yields (name, b"") at each title, and (None, letters without white space) for each piece of sequence."""
    # LF ends every line; where CR and LF are apart, there is an empty line more, which is nothing.
    chunks = (chunk.replace(b"\r", b"\n") for chunk in iter(functools.partial(stream.read, _READ_BYTES), b""))
    start = next((text for chunk in chunks if (text := chunk.lstrip())), b"")
    if not start.startswith(b">"):
        what = f"does not begin with '>' but with {start[:1].decode('latin-1')!r}" if start else "is empty"
        raise InputError(f"{name} {what}: it is not a FASTA file.")
    # A line end before the first title, so that every title is found as "\n>".
    pending = b"\n" + start
    while pending:
        title = pending.find(b"\n>")
        # What stands before a title, or all but a last "\n" that a title may follow in the next chunk, is sequence.
        letters = pending[:title] if title >= 0 else pending[:-1] if pending[-1:] == b"\n" else pending
        if letters:
            yield None, letters.translate(None, _SPACE)
        if title < 0:
            chunk = next(chunks, b"")
            if not chunk:
                return
            pending = pending[len(letters) :] + chunk
            continue
        while (end := pending.find(b"\n", title + 2)) < 0 and (chunk := next(chunks, b"")):
            pending += chunk
        line = pending[title + 2 : end if end >= 0 else None]
        words = line.decode("utf-8", "surrogateescape").split()
        if not words:
            raise InputError(f"{name} has a record without a name (a line with '>' alone).")
        yield words[0], b""
        pending = pending[end:] if end >= 0 else b""


def _whole_blocks(pieces: Iterator[tuple[str | None, bytes]], block_letters: int) -> Iterator[Block]:
    record, number, letters = "", 0, bytearray()
    for name, piece in pieces:
        if name is not None:
            if record:
                yield _block(record, number, letters)
            record, number, letters = name, 0, bytearray()
        letters += piece
        while len(letters) > block_letters:
            yield _block(record, number, letters[:block_letters])
            number, letters = number + 1, letters[block_letters:]
    yield _block(record, number, letters)


def _block(record: str, number: int, letters: bytearray) -> Block:
    return Block(record, number, np.frombuffer(bytes(letters), np.uint8))


class _Entry(NamedTuple):
    name: str
    length: int
    offset: int
    line_bases: int
    line_bytes: int

    def place(self, base: int) -> int:
        return self.offset + base // self.line_bases * self.line_bytes + base % self.line_bases

    def end(self, bases: int) -> int:
        """Behind so many bases of the record, and before the end of their line."""
        return self.place(bases - 1) + 1 if bases else self.offset


def indexed_blocks(path: Path, keys: Collection[str]) -> Iterator[Block] | None:
    """Returns the blocks of some records of a FASTA file that has an index, and None if it has none.

    Args:
        keys: of the records, as `contig_key` gives them.

    Raises:
        InputError: while the blocks are read: the index is damaged, or that of another file.
    """
    if not path.is_file() or not Path(f"{path}.fai").is_file():
        return None
    with path.open("rb") as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return None if compressed and not Path(f"{path}.gzi").is_file() else _by_index(path, keys, compressed)


def _by_index(path: Path, keys: Collection[str], compressed: bool) -> Iterator[Block]:
    index = Path(f"{path}.fai")
    with path.open("rb") as file:
        try:
            entries = [_entry(line) for line in index.read_bytes().splitlines()]
            read_at: _ReadAt = lambda place, size: os.pread(file.fileno(), size, place)  # noqa: E731
            if compressed:
                read_at = _packed_text(file, Path(f"{path}.gzi"))
            _check(entries, read_at)
            for entry in entries:
                if contig_key(entry.name) in keys:
                    yield from _indexed_blocks(entry, read_at)
        except (ValueError, ZeroDivisionError, RuntimeError, struct.error, zlib.error) as error:
            raise InputError(
                f"{path} cannot be read by its index {index} ({error}): make the index anew, or remove it."
            ) from error


def _entry(line: bytes) -> _Entry:
    found = _ENTRY.fullmatch(line)
    if not found:
        raise ValueError(f"{line[:60]!r} is no line of an index")
    return _Entry(found[1].decode("utf-8", "surrogateescape"), *map(int, found.groups()[1:]))


def _packed_text(file: BinaryIO, index: Path) -> _ReadAt:
    """Returns a reader of the text of a bgzip file.

    Its index says where all blocks but the first begin, in the file and in the text.
    """
    _, *pairs = np.frombuffer(index.read_bytes(), "<i8")
    starts = np.array([0, 0, *pairs]).reshape(-1, 2)
    blocks = bgzf.BgzfReader(fileobj=file, mode="rb", max_cache=1)

    def read_at(place: int, size: int) -> bytes:
        start, first = map(int, starts[np.searchsorted(starts[:, 1], place, "right") - 1])
        blocks.seek(bgzf.make_virtual_offset(start, place - first))
        return blocks.read(size)

    return read_at


def _check(entries: Sequence[_Entry], read_at: _ReadAt) -> None:
    """Raises ValueError unless the titles stand between the records, and nothing else does."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        between = max(entry.offset - end, 0)
        text = read_at(end, min(between, _TITLE_BYTES))
        *_, title = _titles(text) or [b""]
        name = entry.name.encode("utf-8", "surrogateescape")
        if len(text) < between or not text.endswith(b"\n") or title[1:].split()[:1] != [name]:
            raise ValueError(f"the bases of {valid_unicode(entry.name)} do not begin where it says")
        end = entry.end(entry.length)
    if _titles(read_at(end, _TITLE_BYTES)) is None:
        raise ValueError("the last record ends elsewhere")


def _titles(text: bytes) -> list[bytes] | None:
    """Returns the titles of a text: several if records lack bases, which samtools passes over; None if it has bases."""
    lines = [line for line in text.split(b"\n") if line.strip()]
    return lines if all(line.startswith(b">") for line in lines) else None


def _indexed_blocks(entry: _Entry, read_at: _ReadAt) -> Iterator[Block]:
    for number, first in enumerate(range(0, max(entry.length, 1), BLOCK_LETTERS)):
        last = min(first + BLOCK_LETTERS, entry.length)
        place = entry.place(first) if last else entry.offset
        letters = read_at(place, entry.end(last) - place).translate(None, _SPACE)
        if len(letters) != last - first:
            raise ValueError(f"{entry.name} has another length")
        yield Block(entry.name, number, np.frombuffer(letters, np.uint8))
