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

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.alternation import Ready, check_one_cpu, compare_sides, flags_of_sides
from benchmarks.training_step import padded_batches, training_rows
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


_PEERS = {"one by one": 1, "8 together": 8, "32 together": 32}
_LARGEST_DIFFERENCE = 1e-4


def main() -> None:
    """Measures and prints."""
    parser = flags_of_sides(__doc__, list(_PEERS))
    parser.add_argument("--rows", type=int, default=32, help="packed rows of sequences (%(default)s)")
    arguments = parser.parse_args()
    config = dataclasses.replace(PRESETS[arguments.preset], global_batch=arguments.rows)
    with tempfile.TemporaryDirectory() as scratch:
        task = Task(config.model, training_rows(config, Path(scratch)), Path(scratch) / "model", arguments.threads)
        peers = {name: functools.partial(transformers_side, together=_PEERS[name]) for name in arguments.peers}
        useful = int((task.rows != PAD).sum())
        compare_sides(task, this_project, peers, arguments.rounds, useful, _LARGEST_DIFFERENCE)


def this_project(task: Task) -> tuple[Callable[[], float], Ready]:
    """`DNAModel.embed`, from text in no order; it also writes the weights."""
    import jax

    from dnabert_jax.model.binding import random_parameters
    from dnabert_jax.model.classification import BertWithPooler
    from dnabert_jax.pretrained import DNAModel
    from dnabert_jax.sequence.buckets import batches_by_length
    from dnabert_jax.stream import TOKENS_ON_CPU
    from dnabert_jax.training.saved_model import Description, SavedModel

    check_one_cpu()
    parameters = jax.device_get(random_parameters(BertWithPooler, jax.random.key(0), task.config))
    DNAModel(SavedModel(Description(task.config, None, {}), 0, parameters)).save_pretrained(task.directory)
    del parameters

    model = DNAModel.from_pretrained(task.directory)
    one_by_one = padded_batches({"input_ids": task.rows, "labels": task.rows}, 1)
    sequences = [task.config.tokenizer.decode(batch["input_ids"][0][1:-1]) for batch in one_by_one]
    order = np.random.default_rng(0).permutation(len(sequences))
    shuffled = [sequences[number] for number in order]

    def vectors() -> np.ndarray:
        return np.asarray(model.embed(shuffled, progress=False))

    batches = batches_by_length(
        [np.asarray(ids) for ids in model.encode(shuffled)], task.config.max_positions, TOKENS_ON_CPU
    )
    computed = sum(batch.ids.size for batch in batches)
    useful = int((task.rows != PAD).sum())
    about = (
        f"{len(sequences)} sequences of {useful:,} tokens in all; padding of this project {1 - useful / computed:.0%}."
    )
    return lambda: float(vectors().sum()), {"result": vectors()[np.argsort(order)], "about": about}


def transformers_side(task: Task, together: int) -> tuple[Callable[[], float], Ready]:
    """BertModel with SDPA in inference mode, and the mean over k-mers."""
    import torch
    import transformers

    torch.set_num_threads(task.threads)
    transformers.utils.logging.set_verbosity_error()
    model = transformers.AutoModel.from_pretrained(task.directory, attn_implementation="sdpa").eval()
    batches: list[tuple[dict[str, Any], Any]] = []
    for batch in padded_batches({"input_ids": task.rows, "labels": task.rows}, together):
        ids = torch.from_numpy(batch["input_ids"].astype(np.int64))
        # Without padding there is no need of a mask, which would cost SDPA time.
        mask = {} if bool((ids != PAD).all()) else {"attention_mask": torch.from_numpy(batch["attention_mask"])}
        batches.append(({"input_ids": ids, **mask}, ((ids != PAD) & (ids != CLS) & (ids != SEP)).float()))

    def vectors() -> np.ndarray:
        found = []
        with torch.inference_mode():
            for inputs, spells_bases in batches:
                hidden = model(**inputs).last_hidden_state
                found.append(torch.einsum("blh,bl->bh", hidden, spells_bases) / spells_bases.sum(dim=1, keepdim=True))
        return torch.cat(found).numpy()

    computed = sum(inputs["input_ids"].numel() for inputs, _ in batches)
    return lambda: float(vectors().sum()), {"result": vectors(), "computed": computed}


if __name__ == "__main__":
    main()
