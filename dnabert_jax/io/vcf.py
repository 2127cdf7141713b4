"""VCF files, read and annotated line by line; what is not ours is kept to the byte, line ends too, but for blank lines.

htslib, on which pysam and cyvcf2 stand, ends the process or refuses to write where a header does not declare a contig
or a field that a record has, as in many files by hand. The columns needed here are plain text.
Source: The Variant Call Format Specification, VCFv4.3.
"""

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from Bio import bgzf

from dnabert_jax.errors import InputError
from dnabert_jax.output_file import output_file

_GZIP_MAGIC, _BCF_MAGIC = b"\x1f\x8b", b"BCF"
_COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
_MISSING = "."
_MOST_DIGITS = 18
"""Of a position, so that it is an int64."""
_INFO = _COLUMNS.index("INFO")


class VcfRecord(NamedTuple):
    """A line of a VCF file.

    Attributes:
        line: its number in the file, from 1.
        columns: as they stand in the file.
        position: of the first base of the reference allele, from 1; 0 is before the first base of the contig.
        end: of the line, LF or CR LF; empty if the file ends without.
    """

    line: int
    columns: list[str]
    position: int
    end: str

    @property
    def contig(self) -> str:
        return self.columns[0]

    @property
    def name(self) -> str:
        return self.columns[2]

    @property
    def reference(self) -> str:
        return self.columns[3]

    @property
    def alternatives(self) -> list[str]:
        """None where there is a dot."""
        return [] if self.columns[4] == _MISSING else self.columns[4].split(",")


class InfoField(NamedTuple):
    """A declaration in a VCF header, of one value for each alternative allele.

    Attributes:
        name: key in INFO.
        kind: Float or String.
        description: a sentence; quotes and backslashes in it are escaped in the header.
    """

    name: str
    kind: str
    description: str

    def __str__(self) -> str:
        text = " ".join(self.description.splitlines()).replace("\\", "\\\\").replace('"', '\\"')
        return f'##INFO=<ID={self.name},Number=A,Type={self.kind},Description="{text}">'


def check_vcf_name(path: Path) -> None:
    """Raises InputError unless the name of a VCF file to write says what it is."""
    if not path.name.endswith((".vcf", ".vcf.gz")):
        raise InputError(f"{path} is to be a VCF file: its name must end in .vcf or .vcf.gz.")


def read_header(path: Path) -> list[str]:
    """The lines that begin with ##, and that of the columns, each with its end.

    Raises:
        InputError: it cannot be read, or has no line of columns, as of VCF.
    """
    return next(_parts(path))


def read_records(path: Path) -> Iterator[VcfRecord]:
    """Yields the records in order.

    Raises:
        InputError: it cannot be read, or a line is no record.
    """
    parts = _parts(path)
    header = next(parts)
    count = len(header[-1].split("\t"))
    for number, (line,) in enumerate(parts, len(header) + 1):
        text, end = _text_and_end(line)
        if not text:
            continue
        columns = text.split("\t")
        place = f"Line {number:,} of {path}"
        if len(columns) != count:
            raise InputError(f"{place} has {len(columns)} columns, and the line #CHROM has {count}: {text[:60]!r}.")
        if not columns[1].isdecimal() or len(columns[1]) > _MOST_DIGITS:
            raise InputError(
                f"{place} has the position {columns[1]!r:.40}: it must be a whole number, of at most "
                f"{_MOST_DIGITS} digits."
            )
        if not (columns[0] and columns[3] and columns[4]):
            raise InputError(f"{place} has an empty CHROM, REF or ALT.")
        yield VcfRecord(number, columns, int(columns[1]), end)


def _text_and_end(line: str) -> tuple[str, str]:
    text = line.rstrip("\r\n")
    return text, line[len(text) :]


def _parts(path: Path) -> Iterator[list[str]]:
    """Yields the header, and then each line behind it, with their ends."""
    try:
        with path.open("rb") as raw:
            compressed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) if compressed else contextlib.nullcontext(raw) as plain:
                # A lone CR ends no line.
                text = io.TextIOWrapper(plain, "utf-8", newline="\n")
                header = []
                for line in text:
                    if not line.startswith("#"):
                        break
                    header.append(line)
                else:
                    line = ""
                if not header or tuple(_text_and_end(header[-1])[0].split("\t")[: len(_COLUMNS)]) != _COLUMNS:
                    raise InputError(f"{path} is no VCF file: its header must end with a line {' '.join(_COLUMNS)}.")
                yield header
                if line:
                    yield [line]
                for line in text:
                    yield [line]
    except UnicodeDecodeError as error:
        kind = "a BCF file: write it as VCF, by `bcftools view`" if _is_bcf(path) else f"no text: {error}"
        raise InputError(f"{path} is {kind}.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read as a VCF file: {error}.") from error


def _is_bcf(path: Path) -> bool:
    try:
        with gzip.open(path) as plain:
            return plain.read(len(_BCF_MAGIC)) == _BCF_MAGIC
    except gzip.BadGzipFile:
        return False


def check_not_annotated(header: Sequence[str], fields: Sequence[InfoField], path: Path) -> None:
    """Raises InputError if a header declares one of our fields already."""
    for field in fields:
        if any(line.startswith(f"##INFO=<ID={field.name},") for line in header):
            raise InputError(f"{path} has the field {field.name} already: annotate the file from which it was made.")


def annotated(record: VcfRecord, values: Mapping[str, Sequence[str]]) -> str:
    """The line of a record with these fields in INFO, one value for each alternative allele; without, as it is."""
    columns = list(record.columns)
    if values:
        own = ";".join(f"{name}={','.join(several)}" for name, several in values.items())
        there = columns[_INFO].rstrip(";")
        columns[_INFO] = own if there in ("", _MISSING) else f"{there};{own}"
    return "\t".join(columns) + record.end


@contextlib.contextmanager
def vcf_output(path: Path, header: Sequence[str], fields: Sequence[InfoField]) -> Iterator[Callable[[str], None]]:
    """Gives what writes the line of a record; the file has its name when the block ends well.

    Args:
        path: of the file, .vcf or, in blocks as of bgzip, .vcf.gz.
        header: of the file that is annotated; what is added ends as its last line.
        fields: to declare besides.

    Raises:
        InputError: the file exists, or its name is none of a VCF file.
    """
    check_vcf_name(path)
    with output_file(path) as file, contextlib.ExitStack() as ends:
        if path.name.endswith(".gz"):
            # The writer closes what it writes to, and `output_file` needs its file open.
            own = ends.enter_context(os.fdopen(os.dup(file.fileno()), "wb"))
            blocks = bgzf.BgzfWriter(fileobj=own)
            # Not if the block fails: then the file is removed, and what is open is closed by the stack.
            write, finish = blocks.write, blocks.close
        else:
            write, finish = file.write, file.flush

        def write_line(line: str) -> None:
            write(line.encode())

        _, end = _text_and_end(header[-1])
        for line in (*header[:-1], *(f"{field}{end}" for field in fields), header[-1]):
            write_line(line)
        yield write_line
        finish()
