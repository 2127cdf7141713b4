"""FASTA in: plain, gzip or bgzip, read by Biopython, as arrays of bytes."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from Bio.SeqIO.FastaIO import SimpleFastaParser
from jaxtyping import UInt8

from dnabert_jax.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"


def read_fasta(path: Path) -> Iterator[tuple[str, UInt8[np.ndarray, "n"]]]:
    """Yields the name (first word of the title) and the letters of each record, one record in memory at a time.

    Whether the file is compressed is seen from its first bytes, not from its name; bgzip is a kind of gzip.

    Raises:
        InputError: the file is missing, empty, no FASTA text, a broken gzip file, or has a record without a name.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file: name a FASTA file, plain, gzip or bgzip.")
    try:
        with path.open("rb") as file:
            compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        with gzip.open(path, "rt", encoding="ascii") if compressed else path.open(encoding="ascii") as text:
            first = text.read(1)
            if first != ">":
                what = "is empty" if not first else f"does not begin with '>' but with {first!r}"
                raise InputError(f"{path} {what}: it is no FASTA file.")
            text.seek(0)
            for title, letters in SimpleFastaParser(text):
                if not title.strip():
                    raise InputError(f"{path} has a record without a name (a line with '>' alone).")
                yield title.split()[0], np.frombuffer(letters.encode("ascii"), np.uint8)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} holds bytes that are no ASCII text: it is no FASTA file.") from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{path} is a broken or truncated gzip file ({error}).") from error


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes as they lie on disk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
