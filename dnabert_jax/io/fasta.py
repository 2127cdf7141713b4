"""FASTA as a stream of blocks of letters, so that memory does not grow with a chromosome.

Biopython's parser hands over whole records and takes about three bytes a base to join their lines; this reader never
holds more than a few blocks.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.errors import InputError
from dnabert_jax.io.text import open_bytes

BLOCK_LETTERS = 1 << 20
"""Letters that are worked on together, at most. Windows do not cross from one block to the next."""

_READ_BYTES = 1 << 20
_SPACE = b" \t\r\n"


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
        yield from _blocks(_pieces(stream, name or str(path)), block_letters)


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


def _blocks(pieces: Iterator[tuple[str | None, bytes]], block_letters: int) -> Iterator[Block]:
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
