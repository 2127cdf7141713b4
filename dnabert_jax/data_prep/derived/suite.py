"""`prepare tfbs` on a folder of peak files: a labelled set of each, with one reading of the genome.

The genome is copied into a file of base codes, which processes map into memory, so that each holds one set and pages of
that file. A set is what `derive` makes of its peak file alone, so a finished one stays when the command is run again.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnabert_jax.data.manifest import FILE_NAME, file_digest
from dnabert_jax.data_prep.derived.contigs import Contigs, copy_contigs
from dnabert_jax.data_prep.derived.derive import (
    Background,
    DerivedManifest,
    Progress,
    choices,
    derive,
    known_contig,
    read_background,
)
from dnabert_jax.data_prep.derived.tasks import Tfbs, TfbsJob
from dnabert_jax.data_prep.ordered_map import ordered_map
from dnabert_jax.errors import InputError
from dnabert_jax.io.contigs import ContigNames
from dnabert_jax.io.left_out import BEYOND
from dnabert_jax.io.peak_index import INDEX_FILE, PeakFile, is_peak_file, peak_set_name, read_peak_index
from dnabert_jax.outputs import kept_directory
from dnabert_jax.storage import is_url, visible
from dnabert_jax.typed_json import read_json, to_json

SUITE_FILE = "suite.json"
_SCRATCH = ".unfinished"
"""The folder of what is not finished; the first thing that a later run removes."""


@dataclasses.dataclass(frozen=True)
class SuiteSet:
    """A finished set.

    Attributes:
        splits: examples of each split.
        left_out: positives that are no example, and duplicates, by reason.
        beyond: whether most windows reach beyond the ends of their contigs, as those of another build do.
    """

    file: str
    sha256: str
    splits: dict[str, int]
    left_out: dict[str, int]
    beyond: bool
    remarks: tuple[str, ...]

    @classmethod
    def of(cls, manifest: DerivedManifest) -> "SuiteSet":
        """Returns the set of a manifest."""
        peaks, left_out = manifest.sources[0], manifest.left_out
        splits = {name: sum(counts["label"].values()) for name, counts in manifest.splits.items()}
        beyond = 2 * left_out.get(BEYOND, 0) >= manifest.read["distinct windows"]
        return cls(peaks["name"], peaks["sha256"], splits, left_out, beyond, manifest.remarks)


@dataclasses.dataclass(frozen=True)
class SuiteRecord:
    """Records the choices, sources and sets of a suite, and the files that gave no set.

    Attributes:
        choices: every setting in force, by its flag's name.
        sources: name, size and SHA-256 of the files of the blacklist and the genome.
        failed: why each peak file that gave no set gave none, by the name of the set.
        absent: files that the index lists and the folder lacks.
    """

    choices: dict[str, Any]
    sources: list[dict[str, Any]]
    sets: dict[str, SuiteSet]
    failed: dict[str, str]
    absent: tuple[str, ...]


def prepare_suite(
    job: TfbsJob, processes: int = 1, progress: Progress = lambda _phase, _done, _total: None
) -> tuple[SuiteRecord, int]:
    """Makes a set in the directory `job.out` of each peak file in the folder `job.peaks`.

    Args:
        processes: that make sets; the result does not depend on it.
        progress: told of the phases "download" and "read", as `derive` tells it, and "sets".

    Returns:
        The record of the suite, and how many of its sets were there before.

    Raises:
        InputError: `job.out` has something else than this job makes, a peak file of a finished set has another MD5 than
            is listed, or the genome lacks a contig of a split.
    """
    if is_url(job.out):
        raise InputError(f"The sets of a folder of peaks are made on local disk: --out cannot be {job.out}.")
    folder, out = Path(job.peaks), Path(job.out)
    files = _peak_files(folder)
    index = read_peak_index(folder / INDEX_FILE) if (folder / INDEX_FILE).is_file() else {}
    settled = json.loads(json.dumps(choices(Tfbs(job))))
    scratch = out / _SCRATCH
    with kept_directory(out), contextlib.ExitStack() as stack:
        shutil.rmtree(scratch, ignore_errors=True)
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        scratch.mkdir()
        background = stack.enter_context(read_background(job, scratch, progress))
        manifests = _finished(out, files, index, settled, [source["sha256"] for source in background.sources])
        before, failed = len(manifests), {}
        # The longest first, so that no process is left with one at the end.
        waiting = sorted(files.keys() - manifests.keys(), key=lambda name: (-files[name].stat().st_size, name))
        if waiting:
            contigs = copy_contigs(
                background.files, None, scratch / "genome", lambda done: progress("read", done, None)
            )
            for contig in (*job.validation_contigs, *job.test_contigs):
                known_contig(ContigNames(contigs.places), contig)
            make = functools.partial(_make, job=job, genome=(background, contigs))
            progress("sets", before, len(files))
            tasks = [(name, files[name], index.get(name)) for name in waiting]
            for (name, *_), result in ordered_map(make, tasks, min(processes, len(tasks))):
                if isinstance(result, str):
                    failed[name] = result
                else:
                    manifests[name] = result
                progress("sets", 1, len(files))
        record = SuiteRecord(
            choices=settled,
            sources=background.sources,
            sets={name: SuiteSet.of(manifests[name]) for name in sorted(manifests)},
            failed=dict(sorted(failed.items())),
            absent=tuple(listed.file for name, listed in index.items() if name not in files),
        )
        if index:
            shutil.copyfile(folder / INDEX_FILE, scratch / INDEX_FILE)
            (scratch / INDEX_FILE).replace(out / INDEX_FILE)
        (scratch / SUITE_FILE).write_text(to_json(record), "utf-8")
        (scratch / SUITE_FILE).replace(out / SUITE_FILE)
    return record, before


def _peak_files(folder: Path) -> dict[str, Path]:
    """Returns the peak files in a folder by the names of their sets."""
    files: dict[str, Path] = {}
    for path in visible(folder):
        if path.is_file() and is_peak_file(path.name):
            name = peak_set_name(path.name)
            if name in files:
                raise InputError(f"Both {files[name].name} and {path.name} of {folder} are the set {name}: rename one.")
            files[name] = path
    if not files:
        raise InputError(
            f"{folder} has no peak files. They are called .narrowPeak, .broadPeak or .bed, perhaps with .gz."
        )
    return files


def _finished(
    out: Path, files: Mapping[str, Path], index: Mapping[str, PeakFile], settled: dict[str, Any], sources: list[str]
) -> dict[str, DerivedManifest]:
    """Returns the manifests of the sets that are there; raises InputError if one is not what would be made.

    Args:
        sources: SHA-256 of the files of the blacklist and the genome.
    """
    manifests = {}
    for path in visible(out):
        if path.name in (SUITE_FILE, INDEX_FILE):
            continue
        if path.name not in files or not (path / FILE_NAME).is_file():
            raise InputError(
                f"{out} has {path.name}, which is not a set of these peaks: remove it, or choose another --out."
            )
        _check_md5(files[path.name], index.get(path.name))
        manifest = manifests[path.name] = read_json(DerivedManifest, path / FILE_NAME)
        other = [
            f"{name} {_in_words(manifest.choices.get(name))} (now {_in_words(value)})"
            for name, value in settled.items()
            if manifest.choices.get(name) != value
        ]
        digests = [file_digest(files[path.name]), *sources]
        if not other and digests != [source["sha256"] for source in manifest.sources]:
            other = ["other peaks" if digests[0] != manifest.sources[0]["sha256"] else "another genome or blacklist"]
        if other:
            raise InputError(f"{path} was made with {', '.join(other)}: choose another --out, or remove {path}.")
    return manifests


def _in_words(choice: Any) -> str:
    """Returns a choice as people read it: gc-windows for {"-": ["gc-windows"]}."""
    if isinstance(choice, dict):
        return "; ".join(f"{key} {_in_words(value)}".removeprefix("- ") for key, value in choice.items())
    return " ".join(map(str, choice)) if isinstance(choice, list) else str(choice)


def _make(
    task: tuple[str, Path, PeakFile | None], job: TfbsJob, genome: tuple[Background, Contigs]
) -> DerivedManifest | str:
    """Makes the set of a peak file; returns its manifest, or what is wrong with the file."""
    name, path, listed = task
    unfinished = Path(job.out) / _SCRATCH / name
    try:
        _check_md5(path, listed)
        manifest = derive(Tfbs(dataclasses.replace(job, peaks=path, out=unfinished)), genome=genome)
    except InputError as error:
        return str(error)
    except OSError as error:
        if error.filename != str(path):
            raise
        return f"{path} cannot be read: {error.strerror}."
    unfinished.rename(Path(job.out) / name)
    return manifest


def _check_md5(path: Path, listed: PeakFile | None) -> None:
    """Raises InputError if a file under the name that the index lists is another."""
    if listed is not None and listed.md5 and listed.file == path.name:
        with path.open("rb") as file:
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if md5 != listed.md5:
            raise InputError(f"{path} has the MD5 {md5}, but {INDEX_FILE} says {listed.md5}: download it again.")
