"""VCF files, read and annotated line by line; what is not ours comes back byte for byte.

htslib, which pysam and cyvcf2 use, ends the process or refuses a record whose contig, filter or field the header does
not declare, as in many hand-made files. The columns needed here are plain text.
Source: The Variant Call Format Specification, VCFv4.3.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from Bio import bgzf

from dnabert_jax.errors import InputError
from dnabert_jax.io.text import WHOLE, line_error, open_bytes, open_text

_BCF_MAGIC = b"BCF"
_COLUMNS = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"]
_MISSING = "."
_INFO = _COLUMNS.index("INFO")


class VcfRecord(NamedTuple):
    """A line of a VCF file.

    Attributes:
        position: of the first base of the reference allele, from 1; 0 is before the first base of the contig.
        end: of the line: LF, CR or CR LF; empty if the file ends without.
    """

    line: int
    columns: list[str]
    position: int
    end: str

    @property
    def contig(self) -> str:
        return self.columns[0].strip()

    @property
    def name(self) -> str:
        return self.columns[2]

    @property
    def reference(self) -> str:
        return self.columns[3].strip()

    @property
    def alternatives(self) -> list[str]:
        """None where there is a dot."""
        alternatives = [text.strip() for text in self.columns[4].split(",")]
        return [] if alternatives == [_MISSING] else alternatives


class InfoField(NamedTuple):
    """A declaration in a VCF header.

    Attributes:
        number: of its values: A for one value for each alternative allele, or a dot.
        description: a sentence; quotes and backslashes in it are escaped in the header.
    """

    name: str
    number: str
    kind: str
    description: str

    def __str__(self) -> str:
        text = " ".join(self.description.splitlines()).replace("\\", "\\\\").replace('"', '\\"')
        return f'##INFO=<ID={self.name},Number={self.number},Type={self.kind},Description="{text}">'


def check_vcf_name(path: Path) -> None:
    """Raises InputError unless the name of a VCF file to write ends in .vcf or .vcf.gz."""
    if not path.name.endswith((".vcf", ".vcf.gz")):
        raise InputError(f"The name of {path} must end in .vcf or .vcf.gz, as a VCF file is written.")


def read_vcf(path: Path) -> Iterator[str | VcfRecord]:
    """Yields the lines of the header, each with its end, and the records, in the order of the file.

    Where files were joined by `cat`, the header of each comes where it stands, without the lines that came before.
    Blank lines between records are left out, since htslib cannot read them.
    """
    with open_bytes(path) as stream:
        if stream.read(len(_BCF_MAGIC)) == _BCF_MAGIC:
            raise InputError(f"{path} is a BCF file: write it as VCF with `bcftools view`.")
    names: list[str] = []
    header: set[str] = set()
    with open_text(path, newline="") as lines:
        number, text = 0, ""
        for number, line in enumerate(lines, 1):
            text = line.rstrip("\r\n")
            if not names and text.strip() and not line.startswith("#"):
                break
            columns = _column_names(text) if line.startswith("#") else []
            if columns and names:
                if columns != names:
                    last = f"{len(columns)} and {len(names)}, the last one {columns[-1]!r} and {names[-1]!r}"
                    problem = f"begins a part with other columns than the first part ({last})."
                    raise line_error(number, path, f"{problem} Score the parts one by one.")
            elif columns:
                names = columns
                yield line
            elif not names or (line.startswith("##") and text not in header):
                header.add(text)
                yield line
            elif text.strip() and not line.startswith("##"):
                yield _record(text, line[len(text) :], number, len(names), path)
    if not names:
        raise InputError(
            f"{path} is not a VCF file: line {number:,}, {text[:60]!r}, comes before a line {' '.join(_COLUMNS)}."
            if number
            else f"{path} is empty."
        )


def _column_names(text: str) -> list[str]:
    """Returns the columns that a line of the header names; none if it is another line."""
    names = text.rstrip("\t ").split("\t" if "\t" in text else None)
    return names if [name.strip().upper() for name in names[: len(_COLUMNS)]] == _COLUMNS else []


def _record(text: str, end: str, number: int, count: int, path: Path) -> VcfRecord:
    """Returns the record of a line, of which the header says how many columns it has."""
    columns = text.split("\t")
    # Some programs end each line with a tab.
    if len(columns) != count and (len(columns) < count or "".join(columns[count:]).strip()):
        hint = "" if "\t" in text else " The columns of a VCF file have tabs between them."
        problem = f"has {len(columns)} columns, and the line #CHROM has {count}: {text[:60]!r}.{hint}"
        raise line_error(number, path, problem)
    if not WHOLE.fullmatch(columns[1]):
        problem = f"has the position {columns[1]!r:.40}: it must be a whole number of at most 18 digits"
        raise line_error(number, path, f"{problem}, without separators.")
    if not (columns[0].strip() and columns[3].strip() and columns[4].strip()):
        raise line_error(number, path, "has an empty CHROM, REF or ALT.")
    return VcfRecord(number, columns, int(columns[1]), end)


def annotated(record: VcfRecord, values: Mapping[str, Sequence[str]]) -> str:
    """Returns the line of a record with these fields in INFO, one value for each alternative allele."""
    columns = list(record.columns)
    if values:
        added = ";".join(f"{name}={','.join(several)}" for name, several in values.items())
        info = columns[_INFO].rstrip(";")
        columns[_INFO] = added if info in ("", _MISSING) else f"{info};{added}"
    return "\t".join(columns) + record.end


@contextlib.contextmanager
def vcf_writer(
    file: BinaryIO, path: Path, header: Sequence[str], fields: Sequence[InfoField]
) -> Iterator[Callable[[str], None]]:
    """Yields a function that writes the line of a record to a file that is open; it is complete after the block.

    Args:
        path: its final name: .vcf, or .vcf.gz for the blocks of bgzip.
        header: of the file that is annotated; the line of columns is the last one.
        fields: to declare in addition, in lines that end as the last one does.
    """
    with contextlib.ExitStack() as opened:
        if path.name.endswith(".gz"):
            # The writer closes what it writes to, and the file must stay open.
            copy = opened.enter_context(os.fdopen(os.dup(file.fileno()), "wb"))
            blocks = bgzf.BgzfWriter(fileobj=copy)
            # Not if the block fails: then the file is removed, and what is open is closed by the stack.
            write, finish = blocks.write, blocks.close
        else:
            write, finish = file.write, file.flush

        def write_line(line: str) -> None:
            write(line.encode("utf-8", "surrogateescape"))

        end = header[-1][len(header[-1].rstrip("\r\n")) :]
        for line in (*header[:-1], *map(str, fields), header[-1]):
            write_line(line if line.endswith(("\r", "\n")) else line + end)
        yield write_line
        finish()
