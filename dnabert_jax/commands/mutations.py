"""`dnabert-jax mutations`."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dnabert_jax.commands.flags import InputPath
from dnabert_jax.commands.predict import reading
from dnabert_jax.commands.sequence_source import OpenSource, SequenceCommand
from dnabert_jax.config import require
from dnabert_jax.errors import InputError
from dnabert_jax.extras import require_extra
from dnabert_jax.outputs import refuse_existing

if TYPE_CHECKING:  # loads JAX
    from dnabert_jax.interpret.mutagenesis import ChangeEffects
    from dnabert_jax.interpret.target import Target
    from dnabert_jax.stream import Named

_MOST_HEAT_MAPS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutations(SequenceCommand):
    """Write what each change of sequences does to a label: every substitution and deletion, or those of a file.

    Example: dnabert-jax mutations --model runs/promoters --fasta x.fa --out mutations.tsv --heat-maps maps

    docs/mutations.md says what each column means.

    Attributes:
        out: Table to write, with a row for each change: .tsv, .csv, .tsv.gz, .csv.gz or .parquet.
        kinds: Of changes of one base, all of which are made.
        mutations: In place of kinds, a file as of the original's mutate_seqs.py: index of the sequence, start, end and
            allele, tab-separated, without header; in its order.
        heat_maps: Directory to make, with a picture for each of at most 100 sequences.
        label: Whose output it is; if not given, the only one or the positive one of two.
    """

    out: Path
    kinds: tuple[Literal["substitutions", "deletions", "insertions"], ...] = ("substitutions", "deletions")
    mutations: InputPath | None = None
    heat_maps: Path | None = None
    label: str = ""

    def run(self) -> None:
        """Changes, computes, writes, and says what came of it."""
        self._check()
        from dnabert_jax import stream
        from dnabert_jax.interpret.mutagenesis import change_effects, changed_outputs, changes_of
        from dnabert_jax.interpret.mutation_files import read_mutations, with_sequences, write_mutation_table
        from dnabert_jax.interpret.target import choose_target
        from dnabert_jax.outputs import output_directory

        mutations = read_mutations(self.mutations) if self.mutations else []
        model = self.load()
        regression = model.task is not None and not model.task.kind.has_classes
        target = choose_target(model, "A map of mutations", self.label, "logit" if regression else "log-odds")
        print(f"Of the label {target.label}: " + ("its number." if regression else "its probability."))
        with self.open(model, "mutations", variants=True) as (sequences, bar), contextlib.ExitStack() as outputs:
            coded = stream.coded(self._read(sequences), model.tokenizer)
            pairs = (
                with_sequences(mutations, coded, self.mutations)
                if self.mutations
                else ((sequence, list(changes_of(sequence.codes, self.kinds))) for sequence in coded)
            )
            maps = outputs.enter_context(output_directory(self.heat_maps, "")) if self.heat_maps else None
            rows = change_effects(changed_outputs(model, pairs, target, bar.update), regression)
            rows = _drawn(rows, maps, target) if maps else rows
            count = write_mutation_table(self.out, rows, regression, target.label)
        sequences.say(f"Made {count:,} changes of")
        if self.heat_maps and (drawn := len(list(self.heat_maps.iterdir()))):
            without = "; they have no insertions" * ("insertions" in self.kinds)
            print(f"{drawn:,} heat maps are in {self.heat_maps}{without}.")
        print(f"Written to {self.out}, a row for each change. {reading(self.out)}")

    def _check(self) -> None:
        """Raises InputError for flags that do not go together, before anything is loaded."""
        self.source.check()
        from dnabert_jax.io.output_table import check_table_name

        check_table_name(self.out)
        refuse_existing(self.out)
        if self.mutations is not None:
            usual = set(self.kinds) == {"substitutions", "deletions"}
            require(usual, "--kinds has no effect together with --mutations, which names each change.")
        require(len(self.kinds) > 0, "--kinds must name substitutions, deletions or insertions.")
        if self.heat_maps is not None:
            require_extra("figures", "A heat map", "matplotlib")
            if self.mutations is not None or "substitutions" not in self.kinds:
                raise InputError("--heat-maps shows every substitution: it goes with --kinds substitutions.")
            refuse_existing(self.heat_maps)

    def _read(self, source: OpenSource) -> Iterator["Named"]:
        """Yields the sequences.

        Raises InputError before anything is computed if there are more than heat maps are drawn of, or if the user
        numbers them and some were left out, so that their numbers would not be the user's.
        """
        sequences = iter(source)
        if self.heat_maps is not None:
            first = list(itertools.islice(sequences, _MOST_HEAT_MAPS + 1))
            few = len(first) <= _MOST_HEAT_MAPS
            require(few, f"There are more than {_MOST_HEAT_MAPS} sequences: --heat-maps draws no more than that.")
            sequences = iter(first)
        yield from sequences
        for left_out in (source.left_out, *([source.intervals.left_out] if source.intervals else [])):
            if self.mutations and left_out.total:
                last = left_out.sentences()[-1]
                raise InputError(f"--mutations numbers the sequences, so none may be left out. {last}")


def _drawn(rows: Iterable["ChangeEffects"], directory: Path, target: "Target") -> Iterator["ChangeEffects"]:
    """Yields the rows, each when its picture is drawn."""
    from dnabert_jax.interpret.heat_map import draw_heat_map, heat_map_name

    what = "(p' - p) max(p, p')" if target.task.kind.has_classes else "difference of the number"
    for number, row in enumerate(rows, 1):
        draw_heat_map(directory / heat_map_name(number, row.sequence.name), row, target.label, what)
        yield row
