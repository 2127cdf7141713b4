"""Writes Markdown with text from anywhere in it."""

import re
from collections.abc import Sequence

from dnabert_jax.io.text import valid_unicode

_SPECIAL = re.compile(r"[\\`*|<&~#]|(?<![^\W_])_|_(?![^\W_])|(?<=\])\(")
"""Characters with a meaning anywhere in a line; an underscore within a word, as in roc_auc, has none."""


def escaped(text: str) -> str:
    """Returns a text that GitHub shows as it is in a line or a cell of a table; line ends become spaces."""
    marked = _SPECIAL.sub(r"\\\g<0>", valid_unicode(text))
    # Two dollar signs would enclose a formula, which a backslash does not prevent.
    return " ".join(marked.replace("$", "<span>$</span>").split())


def table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Returns a table in which all columns but the first, or the first few, are aligned right, as numbers are."""
    lines = [head, [*["---"] * texts, *["---:"] * (len(head) - texts)], *rows]
    return "\n".join(f"| {' | '.join(map(escaped, line))} |" for line in lines)
