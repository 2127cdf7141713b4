"""`dnabert-jax motifs`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from dnabert_jax.commands.console import Bars
from dnabert_jax.commands.flags import InputPath
from dnabert_jax.commands.sequence_source import SequenceSource
from dnabert_jax.config import require
from dnabert_jax.errors import InputError
from dnabert_jax.extras import require_extra
from dnabert_jax.interpret.motifs.config import MotifSearch
from dnabert_jax.outputs import refuse_existing

if TYPE_CHECKING:  # loads Arrow
    from dnabert_jax.interpret.motifs.known_motifs import KnownMotifs, Match
    from dnabert_jax.interpret.motifs.search import FoundMotifs
    from dnabert_jax.tasks.datasets.sequences import Sequences

_FIRST = 10
_HEAD = 4096
_UNITS = {"count words": " sequences", "merge words": " words", "draw logos": " logos"}


@dataclasses.dataclass(frozen=True)
class Motifs:
    """Find motifs in what a model attends to: words of high score that positive sequences are enriched in.

    Example: dnabert-jax motifs --scores attention.npz --positives bound.fa --negatives unbound.fa --out motifs

    The directory has motifs.tsv, motifs.meme, instances.bed and logos/, and matches.tsv with --database
    (docs/motifs.md).

    Attributes:
        scores: A score for each base of the positive sequences, as `dnabert-jax attention` writes: an npz file with
            the arrays ids, scores and offsets.
        positives: FASTA or .2bit file, or a table (CSV, TSV, Parquet), of the sequences in which motifs are sought.
        negatives: The same, of sequences that have none.
        out: Directory to make.
        sequence: Column of tables with raw DNA or k-mers; found by its name if not given.
        id: Column of tables that names the rows; found by its name if not given; without one they are numbered.
        k: Of the k-mers, where tables hold k-mers and not raw DNA.
        no_logos: Draw no logos.
        database: Known motifs to match the motifs with: jaspar, which is JASPAR2026 CORE of vertebrates, or a file in
            MEME's format; none if not given.
        match_q: Matches to known motifs are kept up to this q-value.
        search: What is taken for a motif.
    """

    scores: Path
    positives: InputPath
    negatives: InputPath
    out: Path
    sequence: str = ""
    id: str = ""
    k: int = 1
    no_logos: bool = False
    database: str = ""
    match_q: float = 0.05
    search: Annotated[MotifSearch, tyro.conf.arg(name="")] = dataclasses.field(default_factory=MotifSearch)

    def run(self) -> None:
        """Searches, writes and reports the motifs."""
        refuse_existing(self.out)
        from dnabert_jax.interpret.motifs import motif_files
        from dnabert_jax.interpret.motifs.known_motifs import match_motifs, write_matches
        from dnabert_jax.interpret.motifs.search import find_motifs
        from dnabert_jax.interpret.score_files import read_score_file
        from dnabert_jax.outputs import output_directory

        require_extra("motifs", "A search for motifs", "ahocorasick")
        if not self.no_logos:
            require_extra("motifs", "A logo", "logomaker", "matplotlib", "pandas", otherwise="give --no-logos")
        known = self._known_motifs()
        matches = None
        scores = read_score_file(self.scores)
        names, positives = self._read(self.positives, "positive")
        _, negatives = self._read(self.negatives, "negative")
        with Bars(_UNITS) as bars, output_directory(self.out, "motifs.tsv") as directory:
            scored = scores.by_name(names, positives.lengths)
            result = find_motifs(positives, scored, negatives, self.search, bars.advanced, names)
            motif_files.write_meme(directory / "motifs.meme", result, self.search.reverse_complements)
            motif_files.write_instances(directory / "instances.bed", result.motifs, names)
            if not self.no_logos:
                (directory / "logos").mkdir()
                for rank, motif in enumerate(result.motifs, start=1):
                    motif_files.draw_logo(motif, directory / "logos" / motif_files.logo_name(rank, motif))
                    bars.advanced("draw logos", 1, len(result.motifs))
            if known:
                bars.close()
                if result.motifs:
                    print("Matching with known motifs. The first time, compiling takes a minute or two.", flush=True)
                listed = match_motifs(result.motifs, known, self.match_q)
                write_matches(directory / "matches.tsv", listed)
                matches = {match.motif: match for match in reversed(listed)}  # the best of each motif
            motif_files.write_table(directory / "motifs.tsv", result.motifs)
        self._say(result, matches)

    def _known_motifs(self) -> "KnownMotifs | None":
        require(0 < self.match_q <= 1, f"--match-q is {self.match_q}: give a number above 0, up to 1.")
        if not self.database:
            return None
        from dnabert_jax.interpret.motifs.known_motifs import FEW, check_memelite, read_database

        check_memelite()
        known = read_database(self.database)
        print(f"Known motifs: {len(known.ids):,}, of {known.source}.")
        for note in known.notes:
            print(note)
        if len(known.ids) < FEW:
            print(f"Warning: with fewer than {FEW}, p-values of matches depend on which ones they are.")
        return known

    def _read(self, path: Path, what: str) -> tuple[list[str], "Sequences"]:
        import numpy as np

        from dnabert_jax.config import ModelConfig
        from dnabert_jax.tasks.datasets.sequences import Sequences

        require(path.stat().st_size > 0, f"{path} is empty: it has no {what} sequence.")
        records = _holds_records(path)
        if records and (self.sequence or self.id) and _holds_records(self.positives) and _holds_records(self.negatives):
            raise InputError("--sequence and --id are columns of a table, but both files are FASTA or .2bit.")
        source = (
            SequenceSource(fasta=path) if records else SequenceSource(table=path, sequence=self.sequence, id=self.id)
        )
        with source.open(ModelConfig(k=self.k).tokenizer) as opened:
            listed = list(opened)
        opened.say(f"{what.capitalize()}:")
        pieces = ((sequence.codes, np.array([len(sequence.codes)])) for sequence in listed)
        return [sequence.name for sequence in listed], Sequences.of(pieces)

    def _say(self, result: "FoundMotifs", matches: "dict[str, Match] | None") -> None:
        print(f"Regions of high score: {result.regions:,}, with {result.words:,} different words.")
        for sentence in result.left_out.sentences():
            print(sentence)
        if result.motifs:
            print(f"Enriched words: {result.enriched:,}, in {len(result.motifs):,} motifs. The first ones:")
            for motif in result.motifs[:_FIRST]:
                best = matches.get(motif.seed) if matches else None
                like = "" if matches is None else f", like no known motif at q {self.match_q:g}"
                if best:
                    like = f", like {best.target_name} ({best.target_id}), q {best.q_value:.2g}"
                numbers = f"{len(motif.windows):,} instances, adjusted p {motif.adjusted_p:.2g}"
                print(f"  {motif.seed}  {numbers}{like}")
        elif result.enriched:
            print(f"No motif: {result.enriched:,} enriched words, none with {self.search.min_n_motif} whole windows.")
        else:
            least = f": the least adjusted p is {result.least_adjusted_p:.2g}" if result.words else ""
            print(f"No enriched motif, at {self.search.pval_cutoff:g}{least}.")
        # A logo that failed is not there.
        files = {path.relative_to(self.out).parts for path in self.out.rglob("*") if path.is_file()}
        names = sorted({first + "/" * bool(rest) for first, *rest in files})
        print(f"Written to {self.out}: {', '.join(names)}.")


def _holds_records(path: Path) -> bool:
    """Returns whether a file is FASTA or .2bit, by its content, rather than a table."""
    from dnabert_jax.io.genome import is_twobit
    from dnabert_jax.io.text import open_bytes

    if is_twobit(path):
        return True
    with open_bytes(path) as file:
        return file.read(_HEAD).lstrip()[:1] == b">"
