"""The embedded sample is the million bases that PROVENANCE.md says, in two parts that share none."""

import hashlib

from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sample import HELDOUT_FASTA, TRAIN_FASTA
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes

# Of the upper-case sequence of examples/reference/22_20-21M.fa of Debian's hisat2, without its title and line ends.
SEQUENCE_SHA256 = "75a16db26fa56d3eb6e4a569cbc8bfc3fa370fe3937f3729054b881d95d6b085"


def test_the_parts_follow_one_another_and_make_the_whole() -> None:
    ((train_name, _, train),) = read_blocks(TRAIN_FASTA)
    ((heldout_name, _, heldout),) = read_blocks(HELDOUT_FASTA)
    assert (train_name, heldout_name) == ("chr22:20000001-20950000", "chr22:20950001-21000000")
    assert (len(train), len(heldout)) == (950_000, 50_000)
    assert hashlib.sha256(train.tobytes() + heldout.tobytes()).hexdigest() == SEQUENCE_SHA256
    assert (base_codes(train) == AMBIGUOUS).sum() == 100_000
    assert (base_codes(heldout) == AMBIGUOUS).sum() == 0
