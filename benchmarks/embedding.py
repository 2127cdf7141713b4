"""Embedding of sequences on CPU: this project beside transformers and PyTorch, in useful tokens a second.

    python -m benchmarks.embedding

Both make the same vectors, the mean of the last hidden states over a sequence's k-mers, from the same random weights in
one exported directory, in float32: `DNAModel.embed` here, `BertModel` with SDPA in inference mode there, several
sequences at a time, sorted by length and padded to the longest of them. The sequences are windows of the embedded
sample in the paper's mix of lengths. What is not padding is useful: k-mers, [CLS] and [SEP]. This project starts from
text, transformers from ids: what its tokenizer takes is not counted. The vectors are compared first.

One of transformers' ways at a time runs beside this project, in alternation; as for `training_step`, memory must not be
short, and on a busy machine only --threads 1 and core-seconds mean anything.
"""

import argparse
import dataclasses
import functools
import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.alternation import machine
from benchmarks.side_process import HEAD, Ready, Side, SideProcess, row
from benchmarks.training_step import training_rows
from benchmarks.training_step_sides import padded_batches
from dnabert_jax.config import ModelConfig
from dnabert_jax.families import PRESETS
from dnabert_jax.sequence.vocabulary import CLS, PAD, SEP


@dataclasses.dataclass(frozen=True)
class Task:
    """What both sides compute.

    Attributes:
        config: of the network.
        rows: packed rows of the sequences, [B, L].
        directory: of the exported model, which this project's side writes.
        threads: of each side.
    """

    config: ModelConfig
    rows: np.ndarray
    directory: Path
    threads: int


@dataclasses.dataclass(frozen=True)
class Peer:
    """How transformers is run.

    Attributes:
        together: sequences in a batch.
        compiled: by torch.compile.
    """

    together: int
    compiled: bool = False


_PEERS = {
    "one by one": Peer(1),
    "8 together": Peer(8),
    "32 together": Peer(32),
    "one by one, compiled": Peer(1, compiled=True),
}
_DEFAULT_PEERS = ["one by one", "8 together", "32 together"]
_LARGEST_DIFFERENCE = 1e-4


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="dnabert6", choices=list(PRESETS), help="size of the model (%(default)s)")
    parser.add_argument("--rows", type=int, default=32, help="packed rows of sequences (%(default)s)")
    parser.add_argument("--peers", nargs="+", choices=list(_PEERS), default=_DEFAULT_PEERS, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each, in alternation (%(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each side (%(default)s)")
    arguments = parser.parse_args()
    config = dataclasses.replace(PRESETS[arguments.preset], global_batch=arguments.rows)
    with tempfile.TemporaryDirectory() as scratch:
        task = Task(config.model, training_rows(config, Path(scratch)), Path(scratch) / "model", arguments.threads)
        # This project first: it writes the weights.
        with SideProcess(this_project, task) as ours:
            print(describe(task, ours, arguments.rounds), flush=True)
            for name in arguments.peers:
                with SideProcess(peer_side(_PEERS[name]), task) as peer:
                    check_vectors(ours.ready["vectors"], name, peer.ready["vectors"])
                    print(row(name, ours, peer, int((task.rows != PAD).sum()), arguments.rounds), flush=True)
            print(f"\nPeak memory of this project: {ours.peak_memory():.1f} GB.")


def describe(task: Task, ours: SideProcess, rounds: int) -> str:
    """What runs where, and the head of the table."""
    useful = int((task.rows != PAD).sum())
    return (
        f"{machine()}; {task.threads} threads a side; load {os.getloadavg()[0]:.1f}; {rounds} rounds in alternation; "
        f"{', '.join(f'{name} {version(name)}' for name in ('jax', 'torch', 'transformers'))}\n\n"
        f"{len(ours.ready['vectors'])} sequences of {useful:,} tokens in all; padding of this project "
        f"{1 - useful / ours.ready['computed']:.0%}.\n\n{HEAD}"
    )


def check_vectors(ours: np.ndarray, name: str, theirs: np.ndarray) -> None:
    """Leaves the program unless both sides compute the same function, to float32's accuracy."""
    difference = float(np.abs(ours - theirs).max())
    if not difference < _LARGEST_DIFFERENCE:
        raise SystemExit(f"The vectors of {name} differ from this project's by {difference}: another model.")


def by_length(rows: np.ndarray) -> list[np.ndarray]:
    """The ids of each sequence of packed rows, the shortest first."""
    batches = padded_batches({"input_ids": rows, "labels": rows}, 1)
    return [batch["input_ids"][0] for batch in batches]


def this_project(task: Task) -> tuple[Callable[[], float], Ready]:
    """`DNAModel.embed`, from text in no order; it also writes the weights."""
    import jax
    from flax import nnx

    from dnabert_jax.model.classification import PooledBackbone
    from dnabert_jax.pretrained import DNAModel
    from dnabert_jax.sequence.buckets import batches_by_length
    from dnabert_jax.stream import TOKENS_ON_CPU
    from dnabert_jax.training.saved_model import Description, SavedModel

    if jax.devices()[0].platform != "cpu" or jax.device_count() > 1:
        raise SystemExit(f"{jax.devices()} is not one CPU: unset XLA_FLAGS and set JAX_PLATFORMS=cpu.")
    module = PooledBackbone(task.config, rngs=nnx.Rngs(0))
    parameters = jax.device_get(nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    DNAModel(SavedModel(Description(task.config, None, {}), 0, parameters)).save_pretrained(task.directory)
    del module, parameters

    model = DNAModel.from_pretrained(task.directory)
    sequences = [task.config.tokenizer.decode(ids[1:-1]) for ids in by_length(task.rows)]
    order = np.random.default_rng(0).permutation(len(sequences))
    shuffled = [sequences[number] for number in order]

    def vectors() -> np.ndarray:
        return np.asarray(model.embed(shuffled, progress=False))

    batches = batches_by_length(
        [np.asarray(ids) for ids in model.encode(shuffled)], task.config.max_positions, TOKENS_ON_CPU
    )
    computed = sum(batch.ids.size for batch in batches)
    return lambda: float(vectors().sum()), {"vectors": vectors()[np.argsort(order)], "computed": computed}


def transformers_side(task: Task, peer: Peer) -> tuple[Callable[[], float], Ready]:
    """BertModel with SDPA in inference mode, and the mean over k-mers."""
    import torch
    import transformers

    torch.set_num_threads(task.threads)
    transformers.utils.logging.set_verbosity_error()
    model = transformers.AutoModel.from_pretrained(task.directory, attn_implementation="sdpa").eval()
    run = torch.compile(model, dynamic=True) if peer.compiled else model
    batches: list[tuple[dict[str, Any], Any]] = []
    for batch in padded_batches({"input_ids": task.rows, "labels": task.rows}, peer.together):
        ids = torch.from_numpy(batch["input_ids"].astype(np.int64))
        # Without padding there is no need of a mask, which would cost SDPA time.
        mask = {} if bool((ids != PAD).all()) else {"attention_mask": torch.from_numpy(batch["attention_mask"])}
        batches.append(({"input_ids": ids, **mask}, ((ids != PAD) & (ids != CLS) & (ids != SEP)).float()))

    def vectors() -> np.ndarray:
        found = []
        with torch.inference_mode():
            for inputs, spells_bases in batches:
                hidden = run(**inputs).last_hidden_state
                found.append(torch.einsum("blh,bl->bh", hidden, spells_bases) / spells_bases.sum(dim=1, keepdim=True))
        return torch.cat(found).numpy()

    computed = sum(inputs["input_ids"].numel() for inputs, _ in batches)
    return lambda: float(vectors().sum()), {"vectors": vectors(), "computed": computed}


def peer_side(peer: Peer) -> Side:
    """A side that runs transformers in a certain way."""
    return functools.partial(transformers_side, peer=peer)


if __name__ == "__main__":
    main()
