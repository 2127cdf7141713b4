"""Writes Markdown with text from anywhere in it."""

from collections.abc import Sequence

from dnabert_jax.io.text import valid_unicode


def escaped(text: str) -> str:
    """Returns a text for a line or a cell: line ends are spaces, and a bar does not end a cell."""
    return " ".join(valid_unicode(text).replace("|", "\\|").split())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in which all columns but the first are aligned right, as numbers are."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(escaped, line))} |" for line in lines)
