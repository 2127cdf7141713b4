"""The embedded sample: one million bases of human chromosome 22, in a train and a held-out part (see PROVENANCE.md)."""

from pathlib import Path

_DIRECTORY = Path(__file__).parent

TRAIN_FASTA = _DIRECTORY / "chr22_20000001-20950000_train.fa.gz"
HELDOUT_FASTA = _DIRECTORY / "chr22_20950001-21000000_heldout.fa.gz"
