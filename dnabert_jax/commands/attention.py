"""`dnabert-jax attention`."""

import dataclasses
import math
import shlex
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dnabert_jax.commands.predict import reading
from dnabert_jax.commands.sequence_source import OpenSource, SequenceCommand
from dnabert_jax.config import require
from dnabert_jax.errors import InputError
from dnabert_jax.extras import require_extra
from dnabert_jax.outputs import refuse_existing

if TYPE_CHECKING:  # loads JAX
    from dnabert_jax.interpret.score_files import BaseScores
    from dnabert_jax.interpret.target import Target
    from dnabert_jax.pretrained import DNAModel

_NPZ, _BIGWIG, _MODISCO = ".npz", ".bw", ".modisco"
_MOST_SEQLETS = 20_000
"""The default of tfmodisco's Python function; its command has none."""
_SHORT = 100
_FOR_SHORT = " -t 20 -g 0 -z 12"
"""tfmodisco's default seqlets, of 50 columns, seldom lie within sequences shorter than `_SHORT`."""
_LARGEST_GAP = 0.05
"""Of integrated gradients, as a share of output - baseline: if it is larger, more steps are advised."""


Gaps = list[tuple[float, float, str]]
"""By how much the integral of each sequence misses output - baseline, the share of it, and the sequence's name."""


def completeness_notes(gaps: Gaps, steps: int, compute_dtype: str) -> Iterator[str]:
    """Yields sentences on the worst gaps of integrated gradients, and on how many are too large."""
    if not gaps:  # no sequence, or another method
        return
    (gap, _, name), (_, share, other) = (max(gaps, key=itemgetter(column)) for column in (0, 1))
    within = f"and to within {share:.2%} of it ({other})." if share < math.inf else f"and of {other} it is 0."
    yield f"A sequence's scores sum to output - baseline to within {gap:.2g} at worst ({name}), {within}"
    if beyond := sum(share > _LARGEST_GAP for _, share, _ in gaps):
        exact = "" if compute_dtype == "float32" else " and --compute-dtype float32"
        missed = f"Sequences that miss it by more than {_LARGEST_GAP:.0%}: {beyond:,}"
        yield f"{missed}. Their scores are not to be relied on: try --steps {4 * steps}{exact}."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attention(SequenceCommand):
    """Write a score for each base of sequences: attention, or what a label owes to the base.

    Example: dnabert-jax attention --model runs/promoters --bed peaks.bed --genome hg38.fa.gz --out attention.bw

    All methods but attention need a classifier, as `dnabert-jax finetune` makes. docs/interpretation.md says what each
    method computes.

    Attributes:
        out: File to write; its name says what it is: .tsv, .csv, .tsv.gz, .csv.gz or .parquet (a row for each base),
            .npz, with --bed .bw (bigWig on the genome), or, of all methods but attention, .modisco (a directory of
            the files that tfmodisco-lite reads).
        method: attention (from [CLS], summed over heads, the mean over the tokens that cover a base, of norm 1 a
            sequence); gradient-x-input; integrated-gradients; or mutagenesis (every substitution of every base).
        layer: Of attention: 1 to the number of layers, or -1 for the last.
        head: Of attention: one head, from 1 on; all of them if not given.
        rollout: Attention rolled out over the layers up to --layer.
        normalization: Of attention: l2, or none for plain probabilities.
        label: Of the other methods: whose output is explained; if not given, the only one or the positive one of two.
        scale: Of the other methods: the label's logit (a regression's number), or its probability.
        baseline: Of integrated gradients: what stands for nothing, [MASK], [UNK] or zero vectors.
        steps: Of integrated gradients: points of the integral.
    """

    out: Path
    method: Literal["attention", "gradient-x-input", "integrated-gradients", "mutagenesis"] = "attention"
    layer: int = -1
    head: int | None = None
    rollout: bool = False
    normalization: Literal["l2", "none"] = "l2"
    label: str = ""
    scale: Literal["logit", "probability"] = "logit"
    baseline: Literal["mask", "unknown", "zero"] = "mask"
    steps: int = 50

    def run(self) -> None:
        """Scores, writes, and says what came of it."""
        self._check()
        from dnabert_jax.interpret.target import choose_target

        model = self.load()
        target = None
        if self.method != "attention":
            target = choose_target(model, f"--method {self.method}", self.label, self.scale)
            print(f"Of the label {target.label}: its {target.scale}.")
        elif model.task and model.task.pooling != "cls":
            print(
                f"Note: the classifier pools over tokens ({model.task.pooling}), so fine-tuning did not teach [CLS], "
                "whose attention this is. Explain predictions by --method gradient-x-input, or fine-tune with "
                "--pooling cls."
            )
        gaps: Gaps = []
        with self.open(model, self.method, variants=self.method == "mutagenesis") as (sequences, bar):
            scores = self._scores(model, target, sequences, bar.update, gaps)
            notes = self._write(sequences, scores, target.label if target else "")
        sequences.say("Scored the bases of")
        for note in (*completeness_notes(gaps, self.steps, self.compute_dtype), *notes):
            print(note)

    def _check(self) -> None:
        """Raises InputError for flags that do not go together, before anything is loaded."""
        self.source.check()
        from dnabert_jax.io.output_table import check_table_name

        if self.out.suffix == _BIGWIG:
            if self.source.bed is None:
                raise InputError(f"{self.out} is a track of a genome: it needs --bed and --genome.")
            require_extra("bigwig", "A .bw file", "pyBigWig")
        elif self.out.suffix == _MODISCO:
            if self.method == "attention":
                raise InputError(
                    f"{self.out} is of contributions to an output, and attention is none: give another --method; "
                    "`dnabert-jax motifs` finds motifs in attention."
                )
        elif self.out.suffix != _NPZ:
            check_table_name(self.out, f", or {_NPZ}, {_BIGWIG} or {_MODISCO}")
        refuse_existing(self.out)
        without_effect = set() if self.method == "integrated-gradients" else {"baseline", "steps"}
        attends = self.method == "attention"
        without_effect |= {"label", "scale"} if attends else {"layer", "head", "rollout", "normalization"}
        for field in dataclasses.fields(self):
            has_effect = field.name not in without_effect or getattr(self, field.name) == field.default
            require(has_effect, f"--{field.name} has no effect together with --method {self.method}: leave it out.")

    def _scores(
        self,
        model: "DNAModel",
        target: "Target | None",
        sequences: OpenSource,
        advance: Callable[[int], object],
        gaps: Gaps,
    ) -> Iterator["BaseScores"]:
        """Yields each sequence with its scores; the gaps of integrals go to `gaps`."""
        from dnabert_jax.interpret.attention import attention_scores
        from dnabert_jax.interpret.attribution import gradient_times_input, integrated_gradients
        from dnabert_jax.interpret.mutagenesis import mutation_effects
        from dnabert_jax.interpret.score_files import BaseScores

        if target is None:
            settings = self.layer, self.head, self.rollout, self.normalization
            for (name, _, codes), scores in attention_scores(model, sequences, *settings, advance):
                yield BaseScores(name, codes, scores)
        elif self.method == "gradient-x-input":
            for (name, _, codes), scores in gradient_times_input(model, sequences, target, advance):
                yield BaseScores(name, codes, scores)
        elif self.method == "integrated-gradients":
            for integral in integrated_gradients(model, sequences, target, self.baseline, self.steps, advance):
                gaps.append((integral.gap, integral.relative_gap, integral.sequence.name))
                yield BaseScores(integral.sequence.name, integral.sequence.codes, integral.scores)
        else:
            for row in mutation_effects(model, sequences, target, advance):
                yield BaseScores(row.sequence.name, row.sequence.codes, row.scores, row.effects)

    def _write(self, sequences: OpenSource, scores: Iterator["BaseScores"], label: str) -> list[str]:
        """Writes the file; returns what is to be said of it."""
        from dnabert_jax.interpret import score_files

        with_effects = self.method == "mutagenesis"
        if self.out.suffix == _NPZ:
            score_files.write_score_npz(self.out, scores, with_effects, label)
            content = "ids, bases, scores, " + "effects, " * with_effects + "offsets" + ", label" * bool(label)
            return [f"Written to {self.out} ({content}). {reading(self.out)}"]
        if self.out.suffix == _MODISCO:
            return self._write_modisco(scores)
        if self.out.suffix != _BIGWIG or sequences.intervals is None:
            count = score_files.write_score_table(self.out, scores, with_effects, label)
            return [f"Written to {self.out}, a row for each of {count:,} bases. {reading(self.out)}"]
        intervals = sequences.intervals
        bases, several = score_files.write_score_track(self.out, intervals.contig_lengths, scores, intervals)
        shared = f"; {several:,} of them lie in several intervals and have the mean" if several else ""
        return [f"Written to {self.out}: {bases:,} bases of the genome{shared}. Genome browsers such as IGV open it."]

    def _write_modisco(self, scores: Iterator["BaseScores"]) -> list[str]:
        from dnabert_jax.interpret.score_files import MODISCO_FILES, write_modisco_input

        length, shorter = write_modisco_input(self.out, scores)
        one_hot, contributions, names = MODISCO_FILES
        content = "substitutions too" if self.method == "mutagenesis" else "bases that are there alone"
        notes = [f"Written to {self.out}: {one_hot}, {contributions} (of {content}), {names}."]
        if shorter:
            notes.append(f"Sequences shorter than the longest, followed by zeros: {shorter:,}.")
        files = {"-s": one_hot, "-a": contributions, "-o": "modisco_results.h5"}
        named = shlex.join(str(word) for flag, name in files.items() for word in (flag, self.out / name))
        more = f"-n {_MOST_SEQLETS} -w {length}{_FOR_SHORT if length < _SHORT else ''}"
        return [*notes, "To find motifs with tfmodisco-lite:", f"  modisco motifs {named} {more}"]
