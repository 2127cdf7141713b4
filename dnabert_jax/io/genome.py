"""A genome: FASTA or .2bit, as a stream of blocks, or its records by name with any of their intervals."""

from collections.abc import Iterator
from pathlib import Path

from dnabert_jax.io.fasta import BLOCK_LETTERS, Block, read_fasta
from dnabert_jax.io.twobit import is_twobit, read_twobit


def read_blocks(path: Path, name: str | None = None) -> Iterator[Block]:
    """Yields the blocks of a FASTA (plain, gzip, bgzip) or .2bit file, whose type is detected from its content.

    Args:
        path: of its bytes; a FASTA may be a pipe.
        name: what errors call the file; the path if not given.

    Raises:
        InputError: the file is damaged, or neither FASTA nor .2bit.
    """
    yield from (read_twobit if is_twobit(path) else read_fasta)(path, name, BLOCK_LETTERS)
