"""The one way to open a text file, under the readers of every text format.

Files come as people have them: plain, gzip or bgzip; with a byte-order mark; with lines that end in LF, CR LF or CR;
in UTF-8 or, in old names and comments, in some other encoding.
"""

import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from dnabert_jax.errors import InputError

WHOLE = re.compile("[0-9]{1,18}")
"""Matches a whole number that fits into an int64; digits of other scripts are not taken for it."""

GZIP_MAGIC = b"\x1f\x8b"
_UTF8_MARK = b"\xef\xbb\xbf"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_OTHER_PACKERS = {
    b"BZh": "bzip2", b"PK\x03\x04": "zip", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstandard",
}  # fmt: skip


@contextlib.contextmanager
def open_bytes(path: Path, name: str | None = None) -> Iterator[BinaryIO]:
    """Opens a file to read its bytes once: decompressed, and without the byte-order mark of UTF-8.

    The file may be a pipe. Whether it is compressed is read from its first bytes, not from its name.

    Args:
        name: what errors call it; the path if not given.

    Raises:
        InputError: the file does not exist, is a directory, is packed with another program, is UTF-16 text, or is a
            damaged or truncated gzip file, also where the damage is found only inside the block.
    """
    name = name or str(path)
    with contextlib.ExitStack() as files:
        try:
            stream = files.enter_context(path.open("rb"))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise InputError(f"{name} {'is a directory' if path.is_dir() else 'does not exist'}.") from error
        try:
            if stream.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC):
                unpacked = files.enter_context(gzip.GzipFile(fileobj=stream))
                stream = files.enter_context(io.BufferedReader(unpacked, io.DEFAULT_BUFFER_SIZE << 3))
            head = stream.peek(8)
            for magic, packer in _OTHER_PACKERS.items():
                if head.startswith(magic):
                    raise InputError(f"{name} is packed with {packer}. Unpack it, or pack it with gzip or bgzip.")
            if head.startswith(_WIDE_MARKS):
                raise InputError(f"{name} is UTF-16 text. Save it as UTF-8.")
            if head.startswith(_UTF8_MARK):
                stream.read(len(_UTF8_MARK))
            yield stream
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise InputError(f"{name} is a damaged or truncated gzip file ({error}).") from error


@contextlib.contextmanager
def open_text(path: Path, name: str | None = None, newline: str | None = None) -> Iterator[TextIO]:
    """Opens a text file to read it once: decompressed, without a byte-order mark.

    CR, LF and CR LF each end a line. Text is UTF-8; a byte that is not becomes a surrogate, as in names of files, so
    that different names stay different and `encode("utf-8", "surrogateescape")` gives the bytes back.

    Args:
        newline: as for `open`; with "" lines keep the ends that they have in the file.
    """
    with open_bytes(path, name) as stream:
        if b"\0" in stream.peek(512)[:512]:  # type: ignore[attr-defined]
            raise InputError(f"{name or path} is not a text file.")
        yield io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline)


def line_error(number: int, name: object, problem: str) -> InputError:
    """Returns the error of a line of a file, whose `problem` begins with a verb."""
    return InputError(f"Line {number:,} of {name} {problem}")


def numbered_lines(path: Path, name: str | None = None) -> Iterator[tuple[int, str]]:
    """Yields the number of each line, from 1, and the line without its end; raises InputError as `open_text` does."""
    with open_text(path, name) as text:
        for number, line in enumerate(text, 1):
            yield number, line.removesuffix("\n")


def first_few(names: Iterable[str], most: int) -> str:
    """Returns the first names with commas between, and dots if there are more."""
    names = list(names)
    return ", ".join([*names[:most], *["..."] * (len(names) > most)])


def valid_unicode(name: str) -> str:
    r"""Returns a name with each byte that was not UTF-8 in its file written as \xNN, for files that must be UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
