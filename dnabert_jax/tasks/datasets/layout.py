"""Which file is which split: the layouts in which labelled DNA is passed around.

A directory with train, dev and test as CSV, TSV or Parquet (DNABERT, GUE), or with train/ and test/ folders of two
.npy files each (the 690 ENCODE sets of the original), or one table.
"""

import re
from pathlib import Path
from typing import Literal

from dnabert_jax.errors import InputError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
ALIASES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "dev": "validation",
    "eval": "validation",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
NPY_SEQUENCES, NPY_TARGETS = "sequences_alph.npy", "targets.npy"
_TABLE = re.compile(r"(\w+)\.(csv|tsv|txt|parquet)(\.gz)?", re.IGNORECASE)


def is_table(path: Path) -> bool:
    """Whether a file is called like a table that may be a data set by itself."""
    return path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".parquet"))


def table_name(path: Path) -> str:
    """The name of a table without its endings, as `CTCF.v2` of CTCF.v2.tsv.gz."""
    return path.name[: -len(".gz")].rpartition(".")[0] if path.name.lower().endswith(".gz") else path.stem


def holds_splits(directory: Path) -> bool:
    """Whether a directory is a data set: something in it is called like a split."""
    return any(_split_name(path) in ALIASES for path in directory.iterdir())


def _split_name(path: Path) -> str:
    if path.is_dir():
        return path.name.lower() if (path / NPY_SEQUENCES).is_file() else ""
    match = _TABLE.fullmatch(path.name)
    return match[1].lower() if match else ""


def split_files(directory: Path) -> dict[Split, Path]:
    """The table, or the folder of .npy files, of each split that a directory has.

    Raises:
        InputError: there is no split in it, or a split more than once.
    """
    if not directory.is_dir():
        raise InputError(f"{directory} is neither a file nor a directory.")
    found: dict[Split, Path] = {}
    for path in sorted(directory.iterdir()):
        split = ALIASES.get(_split_name(path))
        if split and split in found:
            raise InputError(
                f"Both {found[split].name} and {path.name} of {directory} could be the {split} split: move one away."
            )
        if split:
            found[split] = path
    if not found:
        raise InputError(
            f"{directory} holds no labelled data: train, dev and test are looked for as .csv, .tsv or .parquet, gzip "
            f"or not, or as folders with {NPY_SEQUENCES} and {NPY_TARGETS}."
        )
    return found
