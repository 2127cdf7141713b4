"""Motifs as files that other programs read: a table, MEME's minimal format and BED, and as pictures: logos."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dnabert_jax.errors import InputError
from dnabert_jax.interpret.motifs.search import FoundMotifs, Motif
from dnabert_jax.io.pictures import accompanying, drawing
from dnabert_jax.sequence.bases import BASE_ORDER

_TITLE_LETTERS = 40

_TABLE = "motif consensus instances sequences bits positives negatives p_value adjusted_p_value words"


def information(motif: Motif) -> np.ndarray:
    """Returns the bits of each base at each place, [W, 4]: its frequency times the bits of the place."""
    frequencies = motif.probabilities()
    entropy = -(frequencies * np.log2(np.where(frequencies > 0, frequencies, 1.0))).sum(axis=1, keepdims=True)
    return frequencies * (2.0 - entropy)


def write_table(path: Path, motifs: Sequence[Motif]) -> None:
    """Writes a row for each motif; docs/motifs.md has the columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", lineterminator="\n")
        rows.writerow(_TABLE.split())
        for motif in motifs:
            consensus = "".join(BASE_ORDER[base] for base in motif.probabilities().argmax(axis=1))
            sizes = len(motif.windows), len(np.unique(motif.windows.sequence)), f"{information(motif).sum():.3f}"
            chances = motif.positives, motif.negatives, repr(motif.p), repr(motif.adjusted_p)
            rows.writerow([motif.seed, consensus, *sizes, *chances, ";".join(motif.words)])


def write_meme(path: Path, found: FoundMotifs, both_strands: bool) -> None:
    """Writes matrices in MEME's minimal format, with E the p-value times the number of words tested."""
    lines = ["MEME version 4", "", f"ALPHABET= {BASE_ORDER}", "", f"strands: {'+ -' if both_strands else '+'}", ""]
    background = " ".join(f"{base} {share:.6f}" for base, share in zip(BASE_ORDER, found.background, strict=True))
    lines += ["Background letter frequencies", background, ""]
    for motif in found.motifs:
        matrix = motif.probabilities()
        expected = motif.p * found.words
        lines += [
            f"MOTIF {motif.seed}",
            f"letter-probability matrix: alength= 4 w= {len(matrix)} nsites= {len(motif.windows)} E= {expected:.3g}",
            *(" " + " ".join(f"{share:.6f}" for share in row) for row in matrix),
            "",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_instances(path: Path, motifs: Sequence[Motif], names: Sequence[str]) -> None:
    """Writes the windows of all motifs as BED of eight columns, of which thickStart to thickEnd is the seed.

    Args:
        names: of the sequences, which stand in the column of the chromosome.
    """
    # A name that was not UTF-8 in its file has the same bytes here.
    with path.open("w", encoding="utf-8", errors="surrogateescape") as file:
        for motif in motifs:
            windows = motif.windows
            width = windows.codes.shape[1]
            places = zip(windows.sequence, windows.start, windows.core, windows.reverse, strict=True)
            for sequence, start, core, reverse in places:
                name = names[sequence]
                if not name or any(letter in name for letter in "\t\r\n"):
                    raise InputError(f"The sequence name {name!r} cannot stand in a BED file. Rename the sequence.")
                end, strand = start + width, "-" if reverse else "+"
                thick_start, thick_end = max(core, start), min(core + len(motif.seed), end)
                row = (name, start, end, motif.seed, 0, strand, thick_start, thick_end)
                file.write("\t".join(map(str, row)) + "\n")


def draw_logo(motif: Motif, picture: Path) -> None:
    """Draws the bits of each base at each position of a motif as a PNG."""
    bits = information(motif)
    seed = motif.seed if len(motif.seed) <= _TITLE_LETTERS else f"{motif.seed[:_TITLE_LETTERS]}..."
    title = f"{seed} ({len(motif.windows):,} instances)"
    with accompanying(picture), drawing(picture, max(0.3 * len(bits), 3.0), 2.2) as figure:
        import logomaker
        import pandas as pd

        table = pd.DataFrame(bits, range(1, len(bits) + 1), list(BASE_ORDER))
        axes = figure.subplots()
        logomaker.Logo(table, ax=axes, color_scheme="classic", show_spines=False)
        axes.spines["left"].set_visible(True)
        axes.set(ylim=(0, 2), yticks=(0, 1, 2), ylabel="bits", xlabel="base", title=title)


def logo_name(rank: int, motif: Motif) -> str:
    """Returns the name of the file of a motif's logo; long seeds are cut short."""
    return f"{rank:03d}_{motif.seed[:_TITLE_LETTERS]}.png"
