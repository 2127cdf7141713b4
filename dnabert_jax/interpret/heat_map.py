"""Heat maps of mutations, as in the paper's figure: what each base in each place does to the label."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from dnabert_jax.interpret.mutagenesis import ChangeEffects
from dnabert_jax.io.pictures import accompanying, drawing
from dnabert_jax.sequence.bases import BASE_ORDER, LETTERS

_BASES_A_LINE = 120
_COLOURS = {"A": "#109648", "C": "#255c99", "G": "#d68910", "T": "#d62839", "N": "#808080"}
_NAME_LETTERS = 60


def heat_map_name(number: int, name: str) -> str:
    """Returns the name of the file of a sequence: its number, and what every file system takes of its name."""
    safe = re.sub(r"[^A-Za-z0-9.-]+", "_", name)[:_NAME_LETTERS]
    return f"{number:03d}_{safe}.png" if safe else f"{number:03d}.png"


def effect_matrix(row: ChangeEffects) -> Float64[np.ndarray, "rows bases"]:
    """Returns the difference of each substitution, in rows A, C, G and T, and of deletions in a fifth if there are any.

    What is no change of one base is NaN, as the base that is there; insertions have no place.
    """
    places = {letter: number for number, letter in enumerate([*BASE_ORDER, ""])}
    matrix = np.full((len(places), len(row.sequence.codes)), np.nan)
    for change, difference in zip(row.changes, row.difference, strict=True):
        if change.end - change.start == 1 and change.alternative in places:
            matrix[places[change.alternative], change.start] = difference
    return matrix[: len(BASE_ORDER)] if np.isnan(matrix[-1]).all() else matrix


def draw_heat_map(path: Path, row: ChangeEffects, label: str, quantity: str) -> None:
    """Draws a PNG, in lines of some bases: what is lost without each base, above the effects of all changes.

    The loss is minus the mean effect of the base's substitutions, as `Mutations.scores` has it.
    """
    matrix = effect_matrix(row)
    loss = -np.nanmean(matrix[: len(BASE_ORDER)], axis=0)
    letters = LETTERS[row.sequence.codes].astype(str)
    bases = len(letters)
    lines = -(-bases // _BASES_A_LINE)
    width = -(-bases // lines)
    # All lines share a scale, which the least number keeps above 0 where nothing has an effect.
    largest = max(float(np.nanmax(np.abs(matrix))), float(np.finfo(np.float32).tiny))
    with accompanying(path), drawing(path, max(0.13 * width, 3.6) + 1.8, 2.5 * lines + 0.5) as figure:
        axes = figure.subplots(2 * lines, 1, squeeze=False, height_ratios=[1, 2] * lines)[:, 0]
        for line in range(lines):
            piece = slice(line * width, min((line + 1) * width, bases))
            track, map_axes = axes[2 * line : 2 * line + 2]
            places = np.arange(piece.start, piece.stop)
            # The colours are those of the effects below.
            colours = np.where(loss[piece] > 0, "#2166ac", "#b2182b")
            track.bar(places, loss[piece], width=0.8, color=colours)
            track.axhline(0, color="black", linewidth=0.5)
            reach = 1.1 * np.abs(loss).max() or 1.0
            track.set(xlim=(piece.start - 0.5, piece.start + width - 0.5), ylim=(-reach, reach))
            track.set_ylabel("mean loss", fontsize=8)
            track.set_xticks(places[places % 10 == 0])
            track.tick_params(labelsize=7)
            track.xaxis.tick_top()
            track.spines[["right", "bottom"]].set_visible(False)
            image = map_axes.imshow(
                np.ma.masked_invalid(matrix[:, piece]),
                cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest",
                extent=(piece.start - 0.5, piece.stop - 0.5, len(matrix) - 0.5, -0.5),
            )  # fmt: skip
            map_axes.set(facecolor="#cccccc", xlim=(piece.start - 0.5, piece.start + width - 0.5))
            map_axes.set_yticks(range(len(matrix)), [*BASE_ORDER, "deletion"][: len(matrix)], fontsize=8)
            map_axes.set_xticks(range(piece.start, piece.stop), letters[piece], fontsize=7, fontfamily="monospace")
            map_axes.tick_params(axis="x", length=0, pad=2)
            for letter in map_axes.get_xticklabels():
                letter.set_color(_COLOURS[letter.get_text()])
        bar = figure.colorbar(image, ax=list(axes), shrink=0.8 if lines == 1 else 0.5, pad=0.01, aspect=20)
        bar.set_label(quantity, fontsize=8)
        bar.ax.tick_params(labelsize=7)
        names = (row.sequence.name, label)
        title = ", label ".join(text if len(text) <= _NAME_LETTERS else f"{text[:_NAME_LETTERS]}..." for text in names)
        figure.suptitle(f"{title}: {row.reference:.4g} unchanged".removeprefix(", "), fontsize=9)
