"""A training step on CPU: this project beside transformers and PyTorch, in useful tokens a second.

    python -m benchmarks.training_step

Both make the same update: the masked-LM loss of the same sequences with the same masks, from the same weights, in
float32 with dropout, gradients, clipping and AdamW. The sequences are those of packed rows as training reads them,
windows of the embedded sample in the paper's mix of lengths. This project takes them packed, transformers as it can:
each in a row of its own, padded. What is not padding is useful: k-mers, [CLS] and [SEP]. Without dropout, the losses of
all are compared first. This project draws its masks within the step; transformers finds them drawn.
"""

import argparse
import contextlib
import dataclasses
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.alternation import machine, measure
from benchmarks.training_step_sides import Peer, SideProcess, Task, peer_side, this_project
from data_prep.genome import prepare_genome
from data_prep.genome_job import GenomeJob
from dnabert_jax.config import PRESETS, PretrainConfig
from dnabert_jax.data.manifest import TRAIN
from dnabert_jax.data.pipeline import training_batches
from dnabert_jax.data.rows import open_rows
from dnabert_jax.sample import TRAIN_FASTA
from dnabert_jax.sequence.vocabulary import CLS, PAD

_OURS = "this project"
_PEERS = {
    "padded": Peer("sdpa"),
    "padded-eager": Peer("eager"),
    "padded-compiled": Peer("sdpa", compiled=True),
    "by-length": Peer("sdpa", parts=4),
    "by-length-eager": Peer("eager", parts=4),
    "by-length-8": Peer("sdpa", parts=8),
    "by-length-8-eager": Peer("eager", parts=8),
}
_LARGEST_DIFFERENCE = 1e-4


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=list(PRESETS), default="dnabert6", help="the model (%(default)s)")
    parser.add_argument("--rows", type=int, default=16, help="packed rows of a step (%(default)s)")
    parser.add_argument("--peers", nargs="+", choices=list(_PEERS), default=list(_PEERS), help="which (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each, in alternation (%(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each side (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of rows (%(default)s)")
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--ours-only", action="store_true")
    arguments = parser.parse_args()
    preset = PRESETS[arguments.preset]
    config = dataclasses.replace(
        preset,
        model=dataclasses.replace(preset.model, compute_dtype="float32", dropout=0.1, attention_dropout=0.1),
        execution=dataclasses.replace(preset.execution, gradient_accumulation=arguments.accumulation),
        global_batch=arguments.rows,
        seed=arguments.seed,
    )
    with tempfile.TemporaryDirectory() as scratch:
        rows = training_rows(config, Path(scratch))
        task = Task(config, rows, Path(scratch) / "weights", Path(scratch) / "inputs", arguments.threads)
        with contextlib.ExitStack() as processes:
            sides = {_OURS: processes.enter_context(SideProcess(this_project, task))}
            for name in arguments.peers if not arguments.ours_only else []:
                sides[name] = processes.enter_context(SideProcess(peer_side(_PEERS[name]), task))
            check_losses({name: side.ready["loss"] for name, side in sides.items()})
            useful = int((rows != PAD).sum())
            rates = measure({name: side.step for name, side in sides.items()}, dict.fromkeys(sides, useful), arguments.rounds)
            print(describe(task, sides, arguments.rounds))
            print("\n".join(table(rates, sides, rows)))


def training_rows(config: PretrainConfig, scratch: Path) -> np.ndarray:
    """The first batch of a run on the embedded sample, [B, L]."""
    data = scratch / "rows"
    prepare_genome(GenomeJob(fasta=(TRAIN_FASTA,), out=data, k=config.model.k, row_length=config.model.max_positions))
    batch = config.global_batch
    return next(iter(training_batches(open_rows(data, TRAIN), batch, np.arange(batch), config.seed, 0, 1)))


def check_losses(losses: dict[str, float]) -> None:
    """Leaves the program unless all sides compute the same function."""
    for name, loss in losses.items():
        if not abs(loss - losses[_OURS]) < _LARGEST_DIFFERENCE:
            raise SystemExit(f"Without dropout {name} has the loss {loss}, {_OURS} {losses[_OURS]}: another model.")


def describe(task: Task, sides: dict[str, SideProcess], rounds: int) -> str:
    """What was run where."""
    versions: dict[str, str] = {}
    for side in sides.values():
        versions |= side.ready["versions"]
    sequences, useful = int((task.rows == CLS).sum()), int((task.rows != PAD).sum())
    losses = ", ".join(f"{side.ready['loss']:.6f}" for side in sides.values())
    return "\n".join(
        [
            f"{machine()}, {task.threads} threads a side; load {os.getloadavg()[0]:.1f}; {rounds} rounds in alternation; "
            + ", ".join(f"{name} {version}" for name, version in versions.items()),
            f"{sequences} sequences of {useful:,} tokens, {sides[_OURS].ready['masked']:,} of them masked",
            f"losses without dropout: {losses}",
            "",
        ]
    )


def table(rates: dict[str, list[float]], sides: dict[str, SideProcess], rows: np.ndarray) -> list[str]:
    """Rates, and how many times the rate of each this project has, round by round."""
    lines = [
        "| | useful tokens a second: median (min - max) | this project is faster, times | tokens computed | peak GB |",
        "|---|---|---|---|---|",
    ]
    for name, values in rates.items():
        ratios = [ours / value for ours, value in zip(rates[_OURS], values, strict=True)]
        computed = sides[name].ready.get("computed", rows.size)
        lines.append(
            f"| {name} | {spread(values, 0)} | {spread(ratios, 2)} | {computed:,} | {sides[name].peak_memory():.1f} |"
        )
    return lines


def spread(values: list[float], digits: int) -> str:
    """Median (min - max)."""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} - {high})"


if __name__ == "__main__":
    main()
