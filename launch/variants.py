"""`dnabert-jax variants`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dnabert_jax.errors import InputError
from dnabert_jax.output_file import refuse_existing
from launch.predict import reading
from launch.progress import progress_bar
from launch.signals import importing, sigterm_as_sigint

if TYPE_CHECKING:  # loads JAX
    from dnabert_jax.interpret.variants.annotation import VariantCount


@dataclasses.dataclass(frozen=True)
class Variants:
    """Score the variants of a VCF file: what each does to what a model says, expects or sees.

    Example: dnabert-jax variants --vcf x.vcf.gz --fasta hg38.fa.gz --model runs/promoters --window 300 --out y.vcf.gz

    docs/variants.md says what each score means.

    Attributes:
        vcf: VCF file, plain, gzip or bgzip.
        fasta: FASTA (plain, gzip, bgzip) or .2bit file of the genome that --vcf is of; its index of samtools faidx
            is used if there is one.
        model: Run directory, model directory, Hugging Face directory, or OWNER/NAME on its hub.
        out: VCF file to write, .vcf or .vcf.gz (bgzip), with the scores in INFO.
        table: Table to write, .tsv, .csv (.gz or not) or .parquet, with a row for each allele; OUT.tsv if not given.
        scores: effect, on the label of a fine-tuned model; likelihood, of the masked allele, and embedding, the
            distance of vectors, of any model that was pre-trained; attention, to the place. If not given, effect for a
            model with a classifier, and likelihood and embedding for one without.
        window: Bases around a variant: for a fine-tuned model the length of its sequences; if not given, as many as a
            pre-trained model takes.
        placements: Of a variant in its window, over which scores are averaged: 1, in the middle; 3, at a quarter, a
            half and three quarters.
        strands: Both, which are averaged, or forward.
        label: Of effect: whose probability; if not given, the only one or the positive one of two.
        step: Checkpoint of a run; the latest if not given.
        compute_dtype: Of activations; bfloat16 is for accelerators.
    """

    vcf: Path
    fasta: Path
    model: str
    out: Path
    table: Path | None = None
    scores: tuple[Literal["effect", "likelihood", "embedding", "attention"], ...] = ()
    window: int = 0
    placements: int = 1
    strands: Literal["both", "forward"] = "both"
    label: str = ""
    step: int | None = None
    compute_dtype: Literal["float32", "bfloat16"] = "float32"

    def run(self) -> None:
        """Scores, writes, and says what came of it."""
        for path in (self.vcf, self.fasta):
            if not path.is_file():
                raise InputError(f"{path} is not a file on disk.")
        with importing():
            from dnabert_jax.interpret.variants.annotation import VcfSurvey, annotate
            from dnabert_jax.interpret.variants.scoring import VariantScorer, VariantScoring
            from dnabert_jax.io.fasta_index import read_named_blocks
            from dnabert_jax.io.output_table import check_table_name
            from dnabert_jax.io.vcf import check_vcf_name
            from dnabert_jax.pretrained import DNABERT
            from dnabert_jax.tasks.datasets.genome_records import genome_records

        check_vcf_name(self.out)
        table = self.table or self.out.with_name(self.out.name.removesuffix(".gz").removesuffix(".vcf") + ".tsv")
        check_table_name(table)
        for path in (self.out, table):
            refuse_existing(path)
        survey = VcfSurvey(self.vcf)
        model = DNABERT.from_pretrained(self.model, self.step, self.compute_dtype)
        own = VariantScoring(tuple(dict.fromkeys(self.scores)), self.window, self.placements, self.strands, self.label)
        scorer = VariantScorer(model, own)
        strands = "on both strands" if self.strands == "both" else "on the forward strand"
        of_label = f"; of the label {scorer.label}" if scorer.label else ""
        print(f"Windows of {scorer.window:,} bases, {self.placements} for each variant, {strands}{of_label}.")
        with (
            sigterm_as_sigint(),
            genome_records(read_named_blocks(self.fasta, survey.contigs), str(self.fasta), survey.contigs) as genome,
            progress_bar("variants", " alleles", survey.alleles) as bar,
        ):
            survey.check_contigs(genome, self.fasta)
            renamed = [f"{name} is {record}" for name, record in genome.names.items() if name != record]
            if renamed:
                bar.write(f"Contigs by another name in the genome: {', '.join(renamed)}.")
            count = annotate(survey, genome, scorer, model.config.k, self.out, table, bar.update)
        self._say(count, scorer.ambiguous, table)

    def _say(self, count: "VariantCount", ambiguous: int, table: Path) -> None:
        left_out = count.left_out.total()
        print(f"{count.records:,} records, {count.alleles:,} alternative alleles: {count.alleles - left_out:,} scored.")
        if ambiguous:
            print(f"Letters such as N stand in the windows of {ambiguous:,} of them; their k-mers are [UNK].")
        for reason, number in count.left_out.most_common():
            print(f"Left out, {reason}: {number:,}.")
        print(f"Written to {self.out} (INFO) and {table}, a row for each allele. To read it in Python:")
        print(f"  {reading(table)}")
