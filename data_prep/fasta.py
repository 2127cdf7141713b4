"""FASTA in, plain, gzip or bgzip, as a stream of blocks of letters, so that memory does not grow with a chromosome.

Biopython's parser hands over whole records and takes about three bytes a base to join their lines; this reader never
holds more than a few blocks.
"""

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
_READ_BYTES = 1 << 20
_SPACE = b" \t\r\n"
_BEFORE_FIRST_TITLE = b"\xef\xbb\xbf" + _SPACE
_OTHER_PACKERS = {b"BZh": "bzip2", b"PK\x03\x04": "zip", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}


class Block(NamedTuple):
    """Consecutive letters of a record.

    Attributes:
        record: its name, the first word of the title.
        number: 0 for the first block of the record; all blocks of a record but the last have the same length.
        letters: ASCII, as in the file.
    """

    record: str
    number: int
    letters: UInt8[np.ndarray, " n"]


def read_fasta(file: BufferedIOBase, name: str, block_letters: int) -> Iterator[Block]:
    """Yields the blocks of each record in order; a record without letters gives one empty block.

    Whether the file is compressed is seen from its first bytes, not from its name; bgzip is a kind of gzip.

    Args:
        file: at its start, and seekable.
        name: to call it by in errors.
        block_letters: letters of a block.

    Raises:
        InputError: the file is empty, no FASTA text, a broken gzip file, or has a record without a name.
    """
    compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    try:
        yield from _blocks(_pieces(gzip.GzipFile(fileobj=file) if compressed else file, name), block_letters)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{name} is a broken or truncated gzip file ({error}).") from error


def _pieces(stream: BufferedIOBase, name: str) -> Iterator[tuple[str | None, bytes]]:
    """Yields (name, b"") at each title, and (None, letters without white space) for each piece of sequence."""
    chunk = stream.read(_READ_BYTES)
    while chunk and not (text := chunk.lstrip(_BEFORE_FIRST_TITLE)):
        chunk = stream.read(_READ_BYTES)
    chunk = text if chunk else b""
    if chunk[:1] != b">":
        what = "is empty" if not chunk else f"does not begin with '>' but with {chunk[:1].decode('latin-1')!r}"
        kind = next((name for magic, name in _OTHER_PACKERS.items() if chunk.startswith(magic)), None)
        advice = f"it is packed with {kind}: unpack it, or use gzip or bgzip" if kind else "it is no FASTA file"
        raise InputError(f"{name} {what}: {advice}.")
    # A line end before the first title, so that every title is found as "\n>".
    pending = b"\n" + chunk
    while pending:
        title = pending.find(b"\n>")
        # What stands before a title, or all but a last "\n" that a title may follow in the next chunk, is sequence.
        letters = pending[:title] if title >= 0 else pending[:-1] if pending[-1:] == b"\n" else pending
        if letters:
            yield None, letters.translate(None, _SPACE)
        if title < 0:
            pending = pending[len(letters) :]
            chunk = stream.read(_READ_BYTES)
            if not chunk:
                return
            pending += chunk
            continue
        while (end := pending.find(b"\n", title + 2)) < 0 and (chunk := stream.read(_READ_BYTES)):
            pending += chunk
        line = pending[title + 2 : end if end >= 0 else None]
        words = line.decode("ascii", "replace").split()
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
