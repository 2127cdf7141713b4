"""From a genome and what a task says of it to a labelled data set: the engine of `prepare promoters`, `splice` and `tfbs`.

The sequence is read once, a contig at a time. Positives are cut and negatives found while their contig is in memory;
of what came before only examples are kept.
"""

import contextlib
import dataclasses
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int8

from data_prep.derived.contigs import Contig, ContigNames, plain_name, read_contigs
from data_prep.derived.examples import Examples, first_of_each, joined, smallest_keys
from data_prep.derived.introns import AssemblyCheck
from data_prep.derived.manifest import FILE_NAME, TABLE, DerivedManifest
from data_prep.derived.regions import Regions, read_bed, regions_of
from data_prep.derived.splits import SPLITS, loci, split_contigs, split_loci
from data_prep.derived.table import Names, write_array_record, write_table
from data_prep.derived.task import ContigSites, Notes, Task
from data_prep.sources import sequence_files
from dnabert_jax.data.manifest import file_digest
from dnabert_jax.errors import InputError
from dnabert_jax.output_directory import output_directory
from dnabert_jax.sequence.kmers import AMBIGUOUS
from dnabert_jax.storage import Location, file_name, local_copy
from dnabert_jax.typed_json import to_json

Progress = Callable[[str, int, int | None], object]
"""Is told of a phase, what was done of it since the last call, and its whole if known: "download" and "upload", in bytes,
"read", in letters, and "write", in examples."""

_LEAK = (
    "models are chosen on validation and measured once on test; the paper's code measures on dev.tsv, by which it also chose "
    "(run_finetune.py, process_690.py)"
)


class Derivation:
    """The work on one task.

    Args:
        task: what to derive.
        blacklist: intervals that no example may touch, by contig.
        sites: positives, by contig as the annotation names it.
        notes: of what is read and left out.
    """

    def __init__(
        self, task: Task, sites: dict[str, ContigSites], blacklist: dict[str, list[tuple[int, int]]], notes: Notes
    ):
        self._task, self._notes = task, notes
        self._sites, self._blacklist = sites, blacklist
        self._by_plain = {plain_name(name): name for name in sites}
        self._blacklist_of = {plain_name(name): name for name in blacklist}
        if len(self._by_plain) < len(sites):
            raise InputError(f"{task.annotation} names one contig in two ways, with and without chr: use one of them.")
        self.names = ContigNames()
        self.check = AssemblyCheck()
        self.contigs: list[str] = []
        self.examples: list[Examples] = []

    @property
    def wanted(self) -> set[str]:
        """Contigs with positives, as `plain_name` gives them."""
        return set(self._by_plain)

    def add(self, contig: Contig) -> None:
        """Cuts the positives of a contig and finds their negatives."""
        sites = self._sites[self._by_plain[plain_name(contig.name)]]
        self.check.add(contig, sites.dinucleotides)
        blacklist = regions_of(self._blacklist.get(self._blacklist_of.get(plain_name(contig.name), ""), []))
        # Of the contig's own name, so that other contigs do not change what is drawn.
        rng = np.random.default_rng([self._task.job.seed, zlib.crc32(contig.name.encode())])
        positives = self._positives(contig, sites, blacklist, rng)
        parts = [positives]
        for group, kinds in enumerate(self._task.kinds):
            own = positives.take(positives.group == group)
            for kind in kinds if len(own) else ():
                templates = own.take(_repeated(len(own), self._task.ratio, rng))
                found = self._task.negatives(kind, contig, sites, templates, [sites.avoided, blacklist], rng)
                self._notes.missing[kind] += len(templates) - len(found)
                parts.append(
                    dataclasses.replace(
                        found,
                        label=np.zeros(len(found), np.int8),
                        origin=np.full(len(found), self._task.origins.index(kind), np.int8),
                        key=rng.random(len(found)),
                    )
                )
        self.contigs.append(contig.name)
        self.examples = [joined([*self.examples, *parts])]
        if self._task.maximum is not None:
            self.examples = [smallest_keys(self.examples[0], self._task.maximum)]

    def _positives(self, contig: Contig, sites: ContigSites, blacklist: Regions, rng: np.random.Generator) -> Examples:
        length, left_out = self._task.length, self._notes.left_out
        inside = contig.inside(sites.start, length)
        left_out["windows beyond an end of their contig"] += int((~inside).sum())
        start, reverse, label = (column[inside] for column in (sites.start, sites.reverse, sites.label))
        codes = contig.cut(start, reverse, length)
        out = np.zeros(len(start), bool)
        reasons = {
            "windows with N or another ambiguity letter": (codes >= AMBIGUOUS).any(axis=1),
            "windows in the blacklist": blacklist.overlap(start, length),
            **self._task.unfit(codes, label),
        }
        for reason, rows in reasons.items():
            left_out[reason] += int((rows & ~out).sum())
            out |= rows
        count = int((~out).sum())
        return Examples(
            contig=np.full(count, len(self.contigs), np.int16),
            start=start[~out],
            reverse=reverse[~out],
            label=label[~out],
            group=self._task.group(codes[~out]),
            origin=np.zeros(count, np.int8),
            key=rng.random(count),
            codes=codes[~out],
        )

    def finished(self) -> Examples:
        """All examples, each sequence once, by contig and place.

        Raises:
            InputError: there are no positives, or no negatives.
        """
        annotation = self._task.annotation
        if not self.contigs:
            raise InputError(
                f"None of the contigs of {annotation} ({_some(self._sites)}) is in the sequence, whose records are "
                f"{_some(self.names.by_plain.values())}."
            )
        (examples,) = self.examples
        first = first_of_each(examples)
        self._notes.left_out["examples whose sequence, on either strand, another has"] += int((~first).sum())
        examples = examples.take(first)
        examples = examples.take(np.lexsort((examples.origin, examples.reverse, examples.start, examples.contig)))
        for positive, what in ((True, "positives"), (False, "negatives")):
            if not ((examples.label > 0) == positive).any():
                reasons = (self._notes.left_out if positive else self._notes.missing) + Counter()
                listed = "; ".join(f"{reason}: {count:,}" for reason, count in reasons.items()) or "none was asked for"
                raise InputError(f"{annotation} gives no {what} ({listed}).")
        return examples

    def split(self, examples: Examples) -> tuple[Int8[np.ndarray, " n"], dict[str, float]]:
        """Number in SPLITS of each example; and how many loci there are, and the share of the largest.

        Raises:
            InputError: a split gets nothing, or a contig is named that there is not.
        """
        job = self._task.job
        locus = loci(examples.contig, examples.start, self._task.length, job.locus_distance)
        sizes = np.bincount(locus)
        figures = {"number": len(sizes), "largest share": float(sizes.max() / len(examples))}
        if job.test_contigs:
            found = [{self._contig(name) for name in names} for names in (job.validation_contigs, job.test_contigs)]
            return split_contigs(examples.contig, self.contigs, *found), figures
        kind = examples.label.astype(np.int64) * len(self._task.groups) + examples.group
        rng = np.random.default_rng([job.seed, len(self.contigs)])
        return split_loci(locus, kind, job.validation_fraction, job.test_fraction, rng), figures

    def _contig(self, name: str) -> str:
        found = self.names.find(name)
        if found is None:
            raise InputError(f"The sequence has no contig {name!r}; it has {_some(self.names.by_plain.values())}.")
        return found

    def contig_report(self) -> dict[str, dict[str, object]]:
        """Positives on contigs that the sequence does not have, and contigs that are named otherwise there."""
        found = {name: self.names.find(name) for name in self._sites}
        return {
            "absent": {name: len(self._sites[name].start) for name, other in found.items() if other is None},
            "renamed": {name: other for name, other in found.items() if other not in (None, name)},
        }


def derive(task: Task, progress: Progress | None = None) -> DerivedManifest:
    """Makes the directory `task.job.out` and returns its manifest.

    Raises:
        InputError: bad input, an output that exists, or an empty split. Nothing is left under the output.
    """

    def tell(phase: str, done: int, total: int | None = None) -> None:
        if progress:
            progress(phase, done, total)

    def downloaded(done: int) -> None:
        tell("download", done)

    job, notes = task.job, Notes()
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(
            output_directory(job.out, FILE_NAME, lambda done, total: tell("upload", done, total))
        )
        annotation = stack.enter_context(local_copy(task.annotation, directory, downloaded))
        sites = task.read(annotation, notes)
        sources = [(task.annotation, annotation)]
        blacklist = {}
        if job.blacklist is not None:
            path = stack.enter_context(local_copy(job.blacklist, directory, downloaded))
            blacklist = read_bed(path, str(job.blacklist))
            sources.append((job.blacklist, path))
        derivation = Derivation(task, sites, blacklist, notes)
        files = stack.enter_context(sequence_files(job.fasta, directory, downloaded))
        sources += [(file.location, file.path) for file in files]
        for contig in read_contigs(files, derivation.wanted, derivation.names, lambda letters: tell("read", letters)):
            derivation.add(contig)
        examples = derivation.finished()
        assembly = derivation.check.figures(str(task.annotation)) if sum(derivation.check.seen) else {}
        split, figures = derivation.split(examples)
        names = Names(task.name, derivation.contigs, task.labels, task.groups, task.origins)
        examples, of_split = _in_order(examples, split)
        write_table(directory / TABLE, examples, of_split, names)
        write_array_record(
            directory, examples, of_split, names, f"{task.name}, {task.protocol}: see manifest.json",
            lambda rows: tell("write", rows, len(examples)),
        )  # fmt: skip
        manifest = DerivedManifest(
            task=task.name,
            protocol=task.protocol,
            choices=_choices(task),
            rules=_rules(task),
            sources=[_source(location, path) for location, path in sources],
            labels=task.labels,
            read=dict(notes.read),
            left_out=_above_zero(notes.left_out),
            missing=_above_zero(notes.missing),
            contigs=derivation.contig_report(),
            assembly=assembly,
            splits=_counts(examples, of_split, names),
            loci=figures,
            files={path.name: file_digest(path) for path in _made(directory)},
        )
        (directory / FILE_NAME).write_text(to_json(manifest))
    return manifest


def _made(directory: Path) -> Iterator[Path]:
    """Files of the data set, not copies of sources nor the mark of the directory."""
    return (path for path in sorted(directory.iterdir()) if path.is_file() and not path.name.startswith("."))


def _in_order(examples: Examples, split: Int8[np.ndarray, " n"]) -> tuple[Examples, list[str]]:
    order = np.argsort(split, kind="stable")
    return examples.take(order), [SPLITS[number] for number in split[order]]


def _repeated(count: int, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """Numbers below `count`: each as often as the whole part of the ratio says, and a random subset for the rest."""
    whole = int(ratio)
    rest = rng.permutation(count)[: round((ratio - whole) * count)]
    return np.sort(np.concatenate([np.tile(np.arange(count), whole), rest]))


def _above_zero(counts: Counter[str]) -> dict[str, int]:
    return {what: count for what, count in counts.items() if count}


def _choices(task: Task) -> dict[str, object]:
    """The job's settings without where its files lie; what the protocol gives in place of what was not given."""
    fields = dataclasses.asdict(task.job)
    settled = {"length": task.length, "negatives": dict(zip(task.groups, task.kinds, strict=True))}
    settled |= {"negative_ratio": task.ratio, "maximum_per_label": task.maximum}
    return {
        name: value for name, value in fields.items() if name not in ("fasta", "out", "gtf", "peaks", "blacklist")
    } | settled


def _rules(task: Task) -> dict[str, str]:
    job = task.job
    kinds = {kind for kinds in task.kinds for kind in kinds}
    about_kinds = set(task.rules) - kinds
    rules = {name: rule for name, rule in task.rules.items() if name in kinds or name in about_kinds - _KINDS}
    rules["coordinates"] = (
        "0-based, half-open, of the forward strand; a sequence is of its strand; shuffles have their positive's"
    )
    rules["ambiguous bases"] = "no window with N or another ambiguity letter is used; lower case is read as upper case"
    rules["negative windows"] = (
        f"at least {job.negative_distance} bases from every site or peak, and outside of the blacklist"
    )
    rules["duplicates"] = (
        "of examples with one sequence, on either strand, the first is kept, positives before negatives"
    )
    rules["splits"] = (
        "by contig"
        if job.test_contigs
        else f"by locus: examples with fewer than {job.locus_distance} bases between them are in one split"
    )
    rules["model selection"] = _LEAK
    return rules


_KINDS = {"gc-windows", "shuffle", "substitution", "tata-windows", "decoys"}


def _source(location: Location, path: Path) -> dict[str, object]:
    return {"name": file_name(location), "bytes": path.stat().st_size, "sha256": file_digest(path)}


def _counts(examples: Examples, split: list[str], names: Names) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, dict[str, dict[str, int]]] = {name: {} for name in SPLITS if name in set(split)}
    for name, label, group, origin in zip(split, examples.label, examples.group, examples.origin, strict=True):
        for column, value in (
            ("label", names.labels[label]),
            ("group", names.groups[group]),
            ("origin", names.origins[origin]),
        ):
            own = counts[name].setdefault(column, {})
            own[value] = own.get(value, 0) + 1
    return counts
