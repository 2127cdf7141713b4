"""Which file is which split: the layouts in which labelled DNA is passed around; and the options of reading it.

A directory with train, dev and test as CSV, TSV or Parquet (DNABERT, GUE), whole or in shards, and perhaps in a folder
`data` (Hugging Face datasets); with train.data and test.data (the 690 ENCODE sets as they circulate); with train/ and
test/ folders of two .npy files each (these sets as the original cuts them); with one table (`dnabert-jax prepare`); a
table; or two, NAME_AC.seq and NAME_B.seq (DeepBind).
"""

import dataclasses
import re
from pathlib import Path
from typing import Literal

from dnabert_jax.config import Problem, require
from dnabert_jax.errors import InputError
from dnabert_jax.storage import visible, visible_files

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("dev", "eval", "val", "valid", "validation"),
    "test": ("test", "testing"),
}
ALIASES = {name: split for split, names in _NAMES.items() for name in names}
NPY_SEQUENCES, NPY_TARGETS = "sequences_alph.npy", "targets.npy"
_TABLE = re.compile(
    r"(\w+?)(-(\d{5})-of-(\d{5})(?:-[0-9a-f]{16})?)?\.(csv|tsv|txt|data|seq|parquet)(\.gz)?", re.IGNORECASE
)
_OF_PREPARE = "examples"
"""The table in the directory of each set that `dnabert-jax prepare` makes, without its endings."""
_DATA_FOLDER = "data"
_BINDING = ("data", "seq")
"""Endings of the files in which the 690 ENCODE sets circulate."""
_HALF = re.compile(r"(.+)_(AC|B)\.seq(?:\.gz)?")
_HALVES: dict[Split, str] = {"train": "AC", "test": "B"}
"""The letters of the folds with which the names of the two files of a DeepBind set end."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How a data set is read.

    Attributes:
        problem: What the labels are; inferred if not given.
        literal_labels: Take labels such as NA, None and - for names of classes, not for missing labels.
        positive: Of two classes, the one that precision, recall, F1, curves and later explanations are of; found by its
            name if not given, as 1 of 0 and 1 or bound of bound and unbound.
        dev: What a dev split is where there is no test split: the validation split, or the test split as in the
            original's data.
        test_share: Share of the training split to measure on, where there is no test split.
        validation_share: Share of the training split to choose the best epoch by, where there is no validation split.
        keep_duplicates: Keep sequences of the training split that are in validation or test too.
    """

    problem: Problem | None = None
    literal_labels: bool = False
    positive: str = ""
    dev: Literal["validation", "test"] = "validation"
    test_share: float = 0.2
    validation_share: float = 0.1
    keep_duplicates: bool = False


USUAL_OPTIONS = DataOptions()


def is_table(path: Path) -> bool:
    """Returns whether a file is called like a table that is a data set, or the first of the two files of one."""
    named = path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".data", ".seq", ".parquet"))
    return named and path == _halves(path).get("train", [path])[0]


def table_name(path: Path) -> str:
    """Returns the name of a table without its endings, as `CTCF.v2` of CTCF.v2.tsv.gz, or of two halves, as `CTCF`."""
    if _halves(path):
        return path.name[: path.name.rindex("_")]
    return path.name[: -len(".gz")].rpartition(".")[0] if path.name.lower().endswith(".gz") else path.stem


def _halves(path: Path) -> dict[Split, list[Path]]:
    """Returns both files of a set of DeepBind's, given either; nothing where there are not both."""
    if not (match := _HALF.fullmatch(path.name)):
        return {}
    names = {split: [f"{match[1]}_{half}.seq{end}" for end in ("", ".gz")] for split, half in _HALVES.items()}
    files = {split: [half for name in names[split] if (half := path.with_name(name)).is_file()] for split in names}
    return files if all(files.values()) else {}


def files_of(source: Path) -> list[Path]:
    """Returns all files of a data set, which is a directory, a table, or either of the two files of one."""
    if source.is_dir():
        return visible_files(source)
    return [file for half in _halves(source).values() for file in half] or [source]


def set_name(path: Path) -> str:
    """Returns the name of a data set: that of its directory, or of its table if that has a name of its own."""
    if path.is_dir():
        return path.resolve().name
    return path.resolve().parent.name if table_name(path) == _OF_PREPARE else table_name(path)


def is_data_set(directory: Path) -> bool:
    """Returns whether a directory is a data set: something in it is called like a split, or as `prepare` calls it."""
    return any(
        _split_name(path) in ALIASES or (is_table(path) and table_name(path) == _OF_PREPARE)
        for path in _entries(directory)
    )


def _entries(directory: Path) -> list[Path]:
    entries = visible(directory)
    data = directory / _DATA_FOLDER
    return [*entries, *visible(data)] if data in entries and data.is_dir() else entries


def _split_name(path: Path) -> str:
    if path.is_dir():
        return path.name.lower() if (path / NPY_SEQUENCES).is_file() else ""
    match = _TABLE.fullmatch(path.name)
    return match[1].lower() if match else ""


def labelled_files(source: Path) -> Path | dict[Split, list[Path]]:
    """Returns the files of a data set: a table with all splits, or the tables or folder of .npy files of each split."""
    require(source.exists(), f"{source} is neither a file nor a directory.")
    files = _halves(source)
    for path in _entries(source) if source.is_dir() else ():
        if split := ALIASES.get(_split_name(path)):
            files.setdefault(split, []).append(path)
    _check_one_layout(source, [path for paths in files.values() for path in paths])
    for split, paths in files.items():
        _check_shards(split, paths)
    if files or not source.is_dir():
        return files or source
    tables = [path for path in visible(source) if is_table(path)]
    tables = [path for path in tables if table_name(path) == _OF_PREPARE] or tables
    if len(tables) == 1:
        return labelled_files(tables[0])
    several = f" It has the tables {', '.join(path.name for path in tables)}: name one of them." if tables else ""
    raise InputError(
        f"{source} holds no labelled data: train, dev and test are looked for as .csv, .tsv or .parquet, gzip or not, "
        f"or as folders with {NPY_SEQUENCES} and {NPY_TARGETS}; or one table.{several}"
    )


def _check_one_layout(source: Path, paths: list[Path]) -> None:
    """Raises InputError if splits, or another table of the 690 sets beside them, are in several layouts."""
    if not source.is_dir():
        return
    others = [path for path in visible(source) if is_table(path) and _layout(path) in _BINDING]
    layouts = {_layout(path): path.name for path in [*others, *paths]}
    if paths and len(layouts) > 1:
        raise InputError(
            f"{source} mixes layouts of data sets, as {' and '.join(sorted(layouts.values()))}: keep one of them."
        )


def _layout(path: Path) -> str:
    """Returns an ending that is a layout of its own, "npy" for a folder of arrays, and "table" for other tables."""
    ending = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    return "npy" if path.is_dir() else ending if ending in _BINDING else "table"


def _check_shards(split: Split, paths: list[Path]) -> None:
    """Raises InputError unless the paths are one file, or all shards of one table in their order."""
    shards = [match for path in paths if (match := _TABLE.fullmatch(path.name)) and match[2]]
    tables = {(path.parent, path.name.replace(match[2], "")) for path, match in zip(paths, shards, strict=False)}
    counts = {int(match[4]) for match in shards}
    if len(paths) > 1 and (len(shards) < len(paths) or len(tables) > 1 or len(counts) > 1):
        raise InputError(
            f"Both {paths[0].name} and {paths[1].name} of {paths[0].parent} could be the {split} split: move one away."
        )
    missing = set(range(max(counts, default=0))) - {int(match[3]) for match in shards}
    if missing:
        raise InputError(
            f"{paths[0].parent} has {len(shards)} of the {max(counts)} shards of the {split} split: "
            f"number {min(missing):05} is missing."
        )
