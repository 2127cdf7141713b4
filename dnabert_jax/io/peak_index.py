"""UCSC's `files.txt`: cell, factor, treatment and MD5 of each peak file, such as the 690 uniform sets of ENCODE."""

import dataclasses
from pathlib import Path

from dnabert_jax.io.text import line_error, numbered_lines

INDEX_FILE = "files.txt"
"""The name that UCSC gives it, in the folder of the files that it lists."""

_PEAKS = (".narrowpeak", ".broadpeak", ".bed")
_NONE = ("", "none", "n/a", "na")


@dataclasses.dataclass(frozen=True)
class PeakFile:
    """An experiment; what the index does not say is an empty text.

    Attributes:
        treatment: empty for cells that were not treated.
        md5: of the file as it was published, in lower case.
    """

    file: str
    cell: str = ""
    factor: str = ""
    treatment: str = ""
    lab: str = ""
    md5: str = ""


def peak_set_name(file: str) -> str:
    """Returns the name of the set of a peak file: `X` of X.narrowPeak.gz."""
    for ending in (".gz", *_PEAKS):
        if file.lower().endswith(ending):
            file = file[: -len(ending)]
    return file


def is_peak_file(file: str) -> bool:
    """Returns whether a file is called like one of peaks, plain or gzip."""
    return file.lower().removesuffix(".gz").endswith(_PEAKS)


def read_peak_index(path: Path) -> dict[str, PeakFile]:
    """Returns the experiments in a file such as UCSC's `files.txt`, by the name of their set.

    A line is the name of a file, a tab, and `key=value; ...`, whose keys may come in any order; without `factor`, the
    antibody stands for it. Lines that begin with # and empty ones are skipped.

    Raises:
        InputError: a line has no tab or a field without `=`, or two lines are of one set.
    """
    experiments: dict[str, PeakFile] = {}
    for number, line in numbered_lines(path):
        if not line.strip() or line.startswith("#"):
            continue
        file, tab, rest = line.partition("\t")
        pairs = [field.strip().partition("=") for field in rest.split(";") if field.strip()]
        if not tab or not file.strip() or any(not equals for _, equals, _ in pairs):
            raise line_error(number, path, f"is not a file name, a tab and key=value pairs: {line[:60]!r}.")
        values = {key.strip().lower(): value.strip() for key, _, value in pairs}
        known = {key: "" if value.lower() in _NONE else value for key, value in values.items()}
        name = peak_set_name(Path(file.strip()).name)
        if name in experiments:
            raise line_error(number, path, f"lists {file.strip()} a second time.")
        fields = {key: known.get(key, "") for key in ("cell", "factor", "treatment", "lab")}
        fields["factor"] = fields["factor"] or known.get("antibody", "")
        experiments[name] = PeakFile(Path(file.strip()).name, **fields, md5=known.get("md5sum", "").lower())
    return experiments
