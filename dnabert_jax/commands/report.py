"""`dnabert-jax report`."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from dnabert_jax.config import require, require_in
from dnabert_jax.errors import InputError
from dnabert_jax.outputs import output_file, refuse_existing


@dataclasses.dataclass(frozen=True)
class Report:
    """Make one HTML file of what other commands have written: it opens offline, in any browser, and loads nothing.

    Example: dnabert-jax report --scores attention.npz --motifs motifs --results runs/promoters --out report.html

    Give any of --scores, --motifs, --results and --variants (docs/report.md).

    Attributes:
        out: File to write, .html.
        scores: Tracks: npz files of `dnabert-jax attention`, all of the same sequences; those of mutagenesis give heat
            maps too. LABEL=FILE names a track otherwise than its file.
        motifs: Directory of `dnabert-jax motifs`.
        results: Directories of `dnabert-jax finetune` or `evaluate`.
        variants: Table of `dnabert-jax variants`, or any table of numbers and names.
        title: Of the report.
        sequences: The first ones of --scores are shown, so many at most.
        most_variants: If there are more, those of largest --variant-score are shown.
        variant_score: Column of --variants; the first one of effects if not given.
    """

    out: Path
    scores: tuple[str, ...] = ()
    motifs: Path | None = None
    results: tuple[Path, ...] = ()
    variants: Path | None = None
    title: str = "dnabert-jax report"
    sequences: int = 50
    most_variants: int = 100_000
    variant_score: str = ""

    def run(self) -> None:
        """Reads, writes, and says what is in it."""
        if not (self.scores or self.motifs or self.results or self.variants):
            raise InputError("A report needs something to show: give any of --scores, --motifs, --results, --variants.")
        is_page = self.out.suffix in (".html", ".htm")
        require(is_page, f"{self.out} is to be an HTML page: give it a name that ends with .html.")
        require_in(self, 1, math.inf, "sequences", "most_variants")
        if self.variant_score and self.variants is None:
            raise InputError("--variant-score is a column of --variants, which is not given.")
        refuse_existing(self.out)
        from dnabert_jax.interpret.report.page import report_page

        sources, sections = self._sections()
        page = report_page(self.title, {"sources": sources, **sections})
        with output_file(self.out) as file:
            file.write(page)
        for source, what in sources:
            print(f"{source}: {what}.")
        print(f"Written to {self.out} ({len(page) / 2**20:,.1f} MiB): open it in a browser; it loads nothing else.")

    def _sections(self) -> tuple[list[tuple[str, str]], dict[str, Any]]:
        """Returns what was read, each with a phrase on what is in it, and the sections of the page by name."""
        from dnabert_jax.interpret.report.sections import column_table, motif_section, result_section, track_section

        sections: dict[str, Any] = {}
        sources, shown = list[tuple[str, str]](), list[str]()
        if self.scores:
            tracks = sections["tracks"] = track_section(_labelled(self.scores), self.sequences)
            shown = [sequence["id"] for sequence in tracks["sequences"]]
            what = f"scores of {tracks['total']:,} sequences, of which {len(shown):,} are shown"
            also = ", with substitutions"
            sources += [(track["file"], what + also * ("effects" in track)) for track in tracks["tracks"]]
        if self.motifs is not None:
            motifs = sections["motifs"] = motif_section(self.motifs, shown)
            what = f"{len(motifs['motifs']):,} motifs, {motifs['total']:,} instances"
            sources.append((str(self.motifs), what + ", with known motifs that they match" * ("matches" in motifs)))
        if self.results:
            sections["results"] = [result_section(directory) for directory in self.results]
            sources += [(str(directory), "results") for directory in self.results]
        if self.variants is not None:
            variants = sections["variants"] = column_table(self.variants, self.most_variants, self.variant_score)
            what = f"{variants['total']:,} variants, of which {variants['rows']:,} are shown"
            sources.append((str(self.variants), what))
        return sources, sections


def _labelled(scores: tuple[str, ...]) -> dict[str, Path]:
    """Returns the files by label: what is before the first =, or the file's name."""
    files: dict[str, Path] = {}
    for text in scores:
        label, equals, name = text.partition("=")
        if not equals or Path(text).exists():
            label, name = Path(text).stem, text
        if not label or label in files:
            raise InputError(f"Two tracks are called {label!r}: name them apart, with --scores LABEL=FILE.")
        files[label] = Path(name)
    return files
