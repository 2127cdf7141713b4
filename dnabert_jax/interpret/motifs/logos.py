"""Sequence logos of motifs, drawn by logomaker (extra `motifs`)."""

from pathlib import Path

from dnabert_jax.interpret.motifs.motif_files import information
from dnabert_jax.interpret.motifs.search import Motif
from dnabert_jax.io.pictures import accompanying, drawing
from dnabert_jax.sequence.bases import BASE_ORDER

_TITLE_LETTERS = 40


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
    """Name of the file of a motif's logo; long seeds are cut short."""
    return f"{rank:03d}_{motif.seed[:_TITLE_LETTERS]}.png"
