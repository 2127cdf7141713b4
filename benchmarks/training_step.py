"""A training step on CPU: this project beside transformers and PyTorch, in useful tokens a second.

    python -m benchmarks.training_step

Both make the same update: the masked-LM loss of the same sequences with the same masks, from the same weights, in
float32 with dropout, gradients, clipping and AdamW. The sequences are those of packed rows as training reads them,
windows of the embedded sample in the paper's mix of lengths. This project takes them packed, transformers as it can:
each in a row of its own, padded. What is not padding is useful: k-mers, [CLS] and [SEP]. Without dropout, the losses of
all are compared first. This project draws its masks within the step; transformers finds them drawn. transformers has
no packing for BERT, and its head computes every position, not the masked ones alone: that is what its users get.

One of transformers' ways at a time runs beside this project, a step of each in turn. All at once they need more memory
than a small machine has, and then time is what memory takes to come back.

On a busy machine the threads of PyTorch wait for each other while they keep a core busy, which this project's do not:
there, only --threads 1 and core-seconds mean anything.
"""

import argparse
import dataclasses
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.alternation import machine
from benchmarks.side_process import HEAD, SideProcess, row
from benchmarks.training_step_sides import Peer, Task, peer_side, this_project
from data_prep.genome import prepare_genome
from data_prep.genome_job import GenomeJob
from dnabert_jax.config import PretrainConfig
from dnabert_jax.data.manifest import TRAIN
from dnabert_jax.data.pipeline import training_batches
from dnabert_jax.data.rows import open_rows
from dnabert_jax.families import PRESETS
from dnabert_jax.sample import TRAIN_FASTA
from dnabert_jax.sequence.vocabulary import CLS, PAD

_PEERS = {
    "padded": Peer("sdpa"),
    "padded, compiled": Peer("sdpa", compiled=True),
    "by length": Peer("sdpa", together=2),
    "one by one": Peer("sdpa", together=1),
    "one by one, eager": Peer("eager", together=1),
    "one by one, compiled": Peer("sdpa", together=1, compiled=True),
}
_DEFAULT_PEERS = ["padded", "by length", "one by one", "one by one, eager"]
_LARGEST_DIFFERENCE = 1e-4


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=list(PRESETS), default="dnabert6", help="the model (%(default)s)")
    parser.add_argument("--rows", type=int, default=4, help="packed rows of a step (%(default)s)")
    parser.add_argument(
        "--parts",
        type=int,
        help="in which this project accumulates gradients (rows / threads: a row a core)",
    )
    parser.add_argument("--peers", nargs="+", choices=list(_PEERS), default=_DEFAULT_PEERS, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each, in alternation (%(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each side (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of rows (%(default)s)")
    arguments = parser.parse_args()
    preset = PRESETS[arguments.preset]
    config = dataclasses.replace(
        preset,
        model=dataclasses.replace(preset.model, compute_dtype="float32", dropout=0.1, attention_dropout=0.1),
        execution=dataclasses.replace(
            preset.execution, gradient_accumulation=arguments.parts or max(1, arguments.rows // arguments.threads)
        ),
        global_batch=arguments.rows,
        seed=arguments.seed,
    )
    with tempfile.TemporaryDirectory() as scratch:
        rows = training_rows(config, Path(scratch))
        task = Task(config, rows, Path(scratch) / "weights", Path(scratch) / "inputs", arguments.threads)
        # This project first: it writes what the others start from.
        with SideProcess(this_project, task) as ours:
            print(describe(task, ours, arguments.rounds), flush=True)
            useful = int((rows != PAD).sum())
            for name in arguments.peers:
                with SideProcess(peer_side(_PEERS[name]), task) as peer:
                    check_loss(ours.ready["loss"], name, peer.ready["loss"])
                    print(row(name, ours, peer, useful, arguments.rounds), flush=True)
            print(f"\nPeak memory of a step of this project: {ours.peak_memory():.1f} GB.")


def training_rows(config: PretrainConfig, scratch: Path) -> np.ndarray:
    """The first batch of a run on the embedded sample, [B, L]."""
    data = scratch / "rows"
    prepare_genome(GenomeJob(fasta=(TRAIN_FASTA,), out=data, k=config.model.k, row_length=config.model.max_positions))
    batch = config.global_batch
    return next(iter(training_batches(open_rows(data, TRAIN), batch, np.arange(batch), config.seed, 0, 1)))


def check_loss(ours: float, name: str, theirs: float) -> None:
    """Leaves the program unless both sides compute the same function."""
    if not abs(theirs - ours) < _LARGEST_DIFFERENCE:
        raise SystemExit(f"Without dropout {name} has the loss {theirs}, this project {ours}: another model.")


def describe(task: Task, ours: SideProcess, rounds: int) -> str:
    """What runs where, and the head of the table."""
    sequences, useful = int((task.rows == CLS).sum()), int((task.rows != PAD).sum())
    return (
        f"{machine()}; {task.threads} threads a side; load {os.getloadavg()[0]:.1f}; {rounds} rounds in alternation; "
        f"{', '.join(f'{name} {version(name)}' for name in ('jax', 'torch', 'transformers'))}\n\n"
        f"A step: {sequences} sequences of {useful:,} tokens in all, {ours.ready['masked']:,} of them masked.\n\n"
        f"{HEAD}"
    )


if __name__ == "__main__":
    main()
