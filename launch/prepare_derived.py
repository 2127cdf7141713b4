"""`dnabert-jax prepare promoters`, `prepare splice` and `prepare tfbs`."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import tyro

from data_prep.derived.derive import derive
from data_prep.derived.manifest import FILE_NAME, TABLE, DerivedManifest
from data_prep.derived.promoters import Promoters, PromotersJob
from data_prep.derived.splice import Splice, SpliceJob
from data_prep.derived.task import Task
from data_prep.derived.tfbs import Tfbs, TfbsJob
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.text import valid_unicode
from dnabert_jax.storage import join
from launch.prepare import preparation_bars
from launch.program import command


@dataclasses.dataclass(frozen=True)
class PreparePromoters:
    """Promoters, with and without TATA box, and negatives, from a genome and its annotation.

    Example: dnabert-jax prepare promoters --fasta hg38.fa.gz --gtf gencode.v44.annotation.gtf.gz --out data/prom-300

    The table has one row an example: split, coordinates, label, group (TATA or non-TATA), origin and sequence.
    """

    job: Annotated[PromotersJob, tyro.conf.arg(name="")]

    def run(self) -> None:
        """Prepares and says what was made."""
        _run(Promoters(self.job))


@dataclasses.dataclass(frozen=True)
class PrepareSplice:
    """Splice donors, acceptors and neither, from a genome and its annotation.

    Example: dnabert-jax prepare splice --fasta hg38.fa.gz --gtf gencode.v44.annotation.gtf.gz --out data/splice

    The table has one row an example: split, coordinates, label, origin and sequence.
    """

    job: Annotated[SpliceJob, tyro.conf.arg(name="")]

    def run(self) -> None:
        """Prepares and says what was made."""
        _run(Splice(self.job))


@dataclasses.dataclass(frozen=True)
class PrepareTfbs:
    """Windows at the summits of ChIP-seq peaks, and background, from a genome and a narrowPeak file.

    Example: dnabert-jax prepare tfbs --fasta hg38.fa.gz --peaks CTCF.narrowPeak.gz --blacklist hg38-blacklist.bed.gz
    --validation-contigs chr7 --test-contigs chr8 chr9 --out data/ctcf

    The table has one row an example: split, coordinates, label, origin and sequence.
    """

    job: Annotated[TfbsJob, tyro.conf.arg(name="")]

    def run(self) -> None:
        """Prepares and says what was made."""
        _run(Tfbs(self.job))


def _run(task: Task) -> None:
    with preparation_bars("example") as bar:
        manifest = derive(task, bar.advanced)
    print("\n".join(_described(manifest)))
    print(
        f"Written to {task.job.out}: the table {join(task.job.out, TABLE)}; the same for "
        f"tfds.builder_from_directory({str(task.job.out)!r}); and every choice and count, in {FILE_NAME}."
    )
    print(f"Next: {command('finetune', '--model', 'MODEL', '--data', task.job.out, '--out', 'RUN')}")


def _described(manifest: DerivedManifest) -> Iterator[str]:
    """What a data set holds, what was left out, and what is odd about its sources, a line each."""
    yield "annotation: " + _listed(manifest.read)
    if renamed := manifest.contigs["renamed"]:
        listed = ", ".join(f"{name} is {contig}" for name, contig in renamed.items())
        yield f"contigs by another name in the sequence: {valid_unicode(listed)}"
    if manifest.assembly:
        figures = manifest.assembly
        yield f"of the introns in it, {figures['GT share']:.1%} begin with GT and {figures['AG share']:.1%} end with AG"
    yield from LeftOut(Counter(manifest.left_out), manifest.left_out_examples, list(manifest.remarks)).sentences()
    if manifest.missing:
        yield "negatives that were not found: " + _listed(manifest.missing)
    for name, counts in manifest.splits.items():
        yield f"{name}: " + "; ".join(_listed(own) for own in counts.values() if len(own) > 1)
    yield "mean GC content: " + ", ".join(f"{origin} {share:.3f}" for origin, share in manifest.gc_content.items())
    yield f"loci: {manifest.loci['number']:,}, the largest with {manifest.loci['largest share']:.2%} of the examples"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
