"""`dnabert-jax variants`."""

import dataclasses
from pathlib import Path
from typing import Literal

from dnabert_jax.commands.console import progress_bar
from dnabert_jax.commands.flags import InputPath
from dnabert_jax.commands.predict import reading
from dnabert_jax.commands.sequence_source import ModelCommand
from dnabert_jax.outputs import refuse_existing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variants(ModelCommand):
    """Score what each variant of a VCF file does to what a model predicts, expects or attends to.

    Example: dnabert-jax variants --vcf x.vcf.gz --fasta hg38.fa.gz --model runs/promoters --out scored.vcf.gz

    docs/variants.md says what each score means.

    Attributes:
        vcf: VCF file, plain, gzip or bgzip.
        fasta: FASTA (plain, gzip, bgzip) or .2bit file of the genome of --vcf; the index of samtools faidx is used if
            there is one.
        out: VCF file to write, .vcf or .vcf.gz (bgzip), with the scores in INFO.
        table: Table to write, .tsv, .csv (.gz or not) or .parquet, with a row for each allele; OUT.tsv if not given.
        scores: effect, on the label of a fine-tuned model; likelihood, of the masked allele, and embedding, the
            distance of vectors, of any pre-trained model; attention, to the variant. If not given, effect for a model
            with a classifier, and likelihood and embedding for one without.
        window: Number of bases to read around a variant. If not given, a fine-tuned model reads the median length of
            the sequences that it was fine-tuned on, and a pre-trained model as many bases as it takes.
        placements: Number of positions of the variant in its window, over which scores are averaged: 1, in the middle;
            3, at a quarter, a half and three quarters.
        frames: For tokens that do not overlap, the number of frames over which scores are averaged: frame i leaves out
            the first i bases of a window, so that 6 reads a variant at every place of a token of 6 bases.
        strands: both averages over the two strands; forward reads one.
        label: For effect, the label whose probability changes; if not given, the only one or the positive one of two.
    """

    vcf: InputPath
    fasta: InputPath
    out: Path
    table: Path | None = None
    scores: tuple[Literal["effect", "likelihood", "embedding", "attention"], ...] = ()
    window: int = 0
    placements: int = 1
    frames: int = 1
    strands: Literal["both", "forward"] = "both"
    label: str = ""

    def run(self) -> None:
        """Scores, writes, and says what was written."""
        from dnabert_jax.interpret.variants.annotation import VcfSurvey, annotate
        from dnabert_jax.interpret.variants.scoring import VariantScorer
        from dnabert_jax.io.genome import open_genome
        from dnabert_jax.io.output_table import check_table_name
        from dnabert_jax.io.vcf import check_vcf_name

        check_vcf_name(self.out)
        table = self.table or self.out.with_name(self.out.name.removesuffix(".gz").removesuffix(".vcf") + ".tsv")
        check_table_name(table)
        for path in (self.out, table):
            refuse_existing(path)
        survey = VcfSurvey(self.vcf)
        model = self.load()
        kinds = tuple(dict.fromkeys(self.scores))
        scorer = VariantScorer(model, kinds, self.window, self.placements, self.frames, self.strands, self.label)
        strands = "on both strands" if self.strands == "both" else "on the forward strand"
        of_label = f"; label {scorer.label}" if scorer.label else ""
        print(f"Windows of {scorer.window:,} bases, {self.placements} for each variant, {strands}{of_label}.")
        trained = model.training_lengths
        if trained is not None and not self.window:
            print(f"The window is the median length of the sequences that the model was fine-tuned on ({trained}).")
        elif trained is not None and trained.unlike(self.window):
            print(
                f"Warning: --window {self.window} is much shorter or longer than the sequences that the model was "
                f"fine-tuned on ({trained}), so the scores may mean little."
            )
        with (
            open_genome(self.fasta, survey.contigs) as genome,
            progress_bar("variants", " alleles", survey.alleles) as bar,
        ):
            if renamed := genome.renamed():
                bar.write(f"Contigs by another name in the genome: {', '.join(renamed)}.")
            count = annotate(survey, genome, scorer, self.out, table, bar.update)
        alleles = count.scored + count.left_out.total
        print(f"{count.records:,} records, {alleles:,} alternative alleles: {count.scored:,} scored.")
        if scorer.ambiguous:
            print(f"The windows of {scorer.ambiguous:,} of them have letters such as N, {model.tokenizer.ambiguous}.")
        for sentence in count.left_out.sentences():
            print(sentence)
        if question := count.question():
            print(f"Warning: {question}")
        print(f"Written to {self.out} (INFO) and {table}, one row per allele. {reading(table)}")
