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

from benchmarks.alternation import Ready, check_one_cpu, compare_sides, flags_of_sides, quiet_transformers
from benchmarks.training_step import padded_batches, training_rows
from dnabert_jax.config import ModelConfig
from dnabert_jax.families import PRESETS
from dnabert_jax.sequence.vocabulary import CLS, PAD, SEP

_PEERS = {"one by one": 1, "8 together": 8, "32 together": 32}
_LARGEST_DIFFERENCE = 1e-4


def main() -> None:
    """Measures and prints."""
    parser = flags_of_sides(__doc__, list(_PEERS))
    parser.add_argument("--rows", type=int, default=32, help="packed rows of sequences (%(default)s)")
    arguments = parser.parse_args()
    config = dataclasses.replace(PRESETS[arguments.preset], global_batch=arguments.rows)
    with tempfile.TemporaryDirectory() as scratch:
        rows, directory = training_rows(config, Path(scratch)), Path(scratch) / "model"
        ours = functools.partial(this_project, config.model, rows, directory)
        peer = lambda name: functools.partial(transformers_side, rows, directory, _PEERS[name])  # noqa: E731
        compare_sides(arguments, ours, peer, int((rows != PAD).sum()), _LARGEST_DIFFERENCE)


def this_project(config: ModelConfig, rows: np.ndarray, directory: Path) -> tuple[Callable[[], float], Ready]:
    """Makes `DNAModel.embed`, from text in no order, of packed rows; it also writes the weights."""
    import jax

    from dnabert_jax.model.binding import random_parameters
    from dnabert_jax.model.classification import PooledBackbone
    from dnabert_jax.pretrained import DNAModel
    from dnabert_jax.sequence.buckets import batches_by_length
    from dnabert_jax.stream import TOKENS_ON_CPU
    from dnabert_jax.training.saved_model import Description, SavedModel

    check_one_cpu()
    parameters = jax.device_get(random_parameters(PooledBackbone, jax.random.key(0), config))
    DNAModel(SavedModel(Description(config, None, {}), 0, parameters)).save_pretrained(directory)
    del parameters

    model = DNAModel.from_pretrained(directory)
    one_by_one = padded_batches({"input_ids": rows, "labels": rows}, 1)
    sequences = [config.tokenizer.decode(batch["input_ids"][0][1:-1]) for batch in one_by_one]
    order = np.random.default_rng(0).permutation(len(sequences))
    shuffled = [sequences[number] for number in order]

    def vectors() -> np.ndarray:
        return np.asarray(model.embed(shuffled, progress=False))

    encoded = [np.asarray(ids) for ids in model.encode(shuffled)]
    computed = sum(batch.ids.size for batch in batches_by_length(encoded, config.max_positions, TOKENS_ON_CPU))
    useful = int((rows != PAD).sum())
    padding = f"padding of this project {1 - useful / computed:.0%}"
    about = f"{len(sequences)} sequences of {useful:,} tokens in all; {padding}."
    return lambda: float(vectors().sum()), {"result": vectors()[np.argsort(order)], "about": about}


def transformers_side(rows: np.ndarray, directory: Path, together: int) -> tuple[Callable[[], float], Ready]:
    """Makes BertModel with SDPA in inference mode, and the mean over k-mers, so many sequences together."""
    import torch
    import transformers

    quiet_transformers()
    model = transformers.AutoModel.from_pretrained(directory, attn_implementation="sdpa").eval()
    batches: list[tuple[dict[str, Any], Any]] = []
    for batch in padded_batches({"input_ids": rows, "labels": rows}, together):
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
