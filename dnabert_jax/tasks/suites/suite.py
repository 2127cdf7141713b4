"""A suite of labelled data sets: which there are, how each is trained, and which are trained together. No JAX here."""

import dataclasses
import fnmatch
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from dnabert_jax.config import require, require_in
from dnabert_jax.data.manifest import file_digest
from dnabert_jax.errors import InputError
from dnabert_jax.storage import visible
from dnabert_jax.tasks.datasets.layout import files_of, is_data_set, is_table, set_name, table_name
from dnabert_jax.tasks.finetuning.config import FinetuneConfig

SuiteName = Literal["tfbs690", "gue", "mouse", "suite"]
Method = Literal["finetuned", "probe", "probe-forest", "random", "kmer", "gapped-kmer", "cnn"]
METHODS: tuple[Method, ...] = get_args(Method)
"""The model fine-tuned, and probed by regression or a random forest; the same network fine-tuned from random weights;
and the baselines of `baselines.BASELINES`."""


_PAPER_METRICS = ("accuracy", "f1", "f1_macro", "mcc", "roc_auc")
"""Accuracy, F1, MCC and AUC are what Ji et al. 2021 average over the 690 sets; f1 is there for two classes only."""

# Epochs, warm-up and steps of finetune/scripts/run_dnabert1.sh of github.com/MAGICS-LAB/DNABERT_2; names of the sets
# are those of the folders in GUE's archive. The first pattern that fits a name holds.
_GUE_SETTINGS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("*EMP/*", {"epochs": 3, "warmup_steps": 50}),
    ("*prom/*_tata", {"epochs": 10, "warmup_steps": 50}),
    ("*prom/*", {"epochs": 4, "warmup_steps": 50}),
    ("*splice/*", {"epochs": 5, "warmup_steps": 50}),
    ("*virus/*", {"epochs": 9, "warmup_steps": 50}),
    ("*mouse/*", {"epochs": 5, "warmup_steps": 30, "max_steps": 1000}),
    ("*tf/*", {"epochs": 3, "warmup_steps": 30}),
)

# MCC of all, F1 of the classes of covid.
SUITES = dict.fromkeys(get_args(SuiteName), _PAPER_METRICS) | {"gue": ("mcc", "f1_macro", "accuracy", "roc_auc")}
"""The metrics that the paper of each suite averages over its sets."""


@dataclasses.dataclass(frozen=True)
class SuiteSize:
    """How much there is to do. The defaults are the paper's suite, as far as its size is published.

    GUE drew five of the 690 sets (Zhou et al. 2023, arXiv 2306.15006, and its files), of 32,378, 30,672, 19,000, 27,294
    and 19,000 training sequences, and validates and tests on 1,000 each.

    Attributes:
        sets: Data sets.
        seeds: Models of each data set.
        examples: Training sequences of a data set.
        validation: Sequences on which each epoch is evaluated.
        test: Sequences that each model is measured on.
        bases: Of a sequence.
        labels: Of a data set.
    """

    sets: int = 690
    seeds: int = 1
    examples: int = 25_669
    validation: int = 1_000
    test: int = 1_000
    bases: int = 101
    labels: int = 2

    def __post_init__(self) -> None:
        require_in(self, 1, math.inf, "sets", "seeds", "examples", "validation", "test", "bases")
        require_in(self, 2, math.inf, "labels")


@dataclasses.dataclass(frozen=True)
class LabelledSet:
    """A data set of a suite.

    Attributes:
        name: its path in the suite, without the endings of a file.
        path: a table, the first of two, or a directory, as `read_labelled` takes them.
        size: of its files in bytes.
    """

    name: str
    path: Path
    size: int

    @staticmethod
    def at(path: Path, name: str) -> "LabelledSet":
        return LabelledSet(name, path, sum(file.stat().st_size for file in files_of(path)))

    def digest(self) -> str:
        """Returns the SHA-256 of its files."""
        digests = b"".join(bytes.fromhex(file_digest(path)) for path in files_of(self.path))
        return hashlib.sha256(digests).hexdigest()


def find_sets(directory: Path) -> list[LabelledSet]:
    """Returns the data sets under a directory by name: tables, and directories of splits at any depth.

    A table, or a directory that is a data set, is a suite of one.
    """
    if directory.is_file() or (directory.is_dir() and is_data_set(directory)):
        return [LabelledSet.at(directory, set_name(directory))]
    require(directory.is_dir(), f"{directory} does not exist.")
    sets: dict[str, LabelledSet] = {}
    for path in _sets_under(directory):
        folder = path.relative_to(directory).parent
        name = (folder / (path.name if path.is_dir() else table_name(path))).as_posix()
        if name in sets:
            raise InputError(f"Both {sets[name].path} and {path} are data sets called {name}: rename one.")
        sets[name] = LabelledSet.at(path, name)
    if not sets:
        raise InputError(
            f"{directory} holds no data sets: a set is a table (.csv, .tsv, .parquet, .data, .seq) or a directory with "
            "train, dev and test."
        )
    return [sets[name] for name in sorted(sets)]


def _sets_under(directory: Path) -> Iterator[Path]:
    for path in visible(directory):
        if is_data_set(path) if path.is_dir() else is_table(path):
            yield path
        elif path.is_dir():
            yield from _sets_under(path)


def settings_of(suite: SuiteName, name: str, settings: FinetuneConfig) -> FinetuneConfig:
    """Returns the settings of a set: what the suite's protocol has otherwise for sets of that name."""
    for pattern, changes in _GUE_SETTINGS if suite == "gue" else ():
        if fnmatch.fnmatchcase(f"/{name}", pattern):
            return dataclasses.replace(settings, **changes)
    return settings


def groups_by_size(sets: Sequence[LabelledSet], together: int) -> list[list[LabelledSet]]:
    """Returns the sets in groups to train in lockstep, the largest first.

    A group takes as long as its largest set, so sets next to each other in size are together.
    """
    ordered = _by_size(sets)
    return [ordered[first : first + together] for first in range(0, len(ordered), together)]


def part_of(sets: Sequence[LabelledSet], process: int, processes: int) -> list[LabelledSet]:
    """Returns the sets of one of several processes, small and large ones alike.

    That depends on the suite alone, not on the devices of a process or on what is done, so that they need not talk.
    """
    return _by_size(sets)[process::processes]


def _by_size(sets: Sequence[LabelledSet]) -> list[LabelledSet]:
    return sorted(sets, key=lambda data: (-data.size, data.name))
