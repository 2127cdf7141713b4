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

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.alternation import Ready, adamw, check_one_cpu, compare_sides, flags_of_sides, quiet_transformers
from dnabert_jax.config import PretrainConfig
from dnabert_jax.data.manifest import TRAIN
from dnabert_jax.data.pipeline import training_batches
from dnabert_jax.data.rows import open_rows
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.families import PRESETS
from dnabert_jax.sample import TRAIN_FASTA
from dnabert_jax.sequence.vocabulary import CLS, PAD

IGNORED = -100
"""The label of a position that is not predicted, in PyTorch."""


_PEERS: dict[str, dict[str, Any]] = {
    "padded": {},
    "padded, compiled": {"compiled": True},
    "by length": {"together": 2},
    "one by one": {"together": 1},
    "one by one, eager": {"attention": "eager", "together": 1},
    "one by one, compiled": {"compiled": True, "together": 1},
}
"""Arguments of `transformers_side`."""
_USUAL = ["padded", "by length", "one by one", "one by one, eager"]
_LARGEST_DIFFERENCE = 1e-4


def main() -> None:
    """Prints the table."""
    parser = flags_of_sides(__doc__, list(_PEERS), _USUAL)
    parser.add_argument("--rows", type=int, default=4, help="packed rows of a step (%(default)s)")
    parser.add_argument(
        "--parts", type=int, help="in which this project accumulates gradients (rows / threads: a row a core)"
    )
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
        ours = functools.partial(this_project, config, rows, scratch)
        peer = lambda name: functools.partial(transformers_side, config, scratch, **_PEERS[name])  # noqa: E731
        compare_sides(arguments, ours, peer, int((rows != PAD).sum()), _LARGEST_DIFFERENCE)


def training_rows(config: PretrainConfig, scratch: Path) -> np.ndarray:
    """Returns the first batch of a run on the embedded sample, [B, L]."""
    data = scratch / "rows"
    prepare_genome(GenomeJob(fasta=(TRAIN_FASTA,), out=data, k=config.model.k, row_length=config.model.max_positions))
    batch = config.global_batch
    return next(iter(training_batches(open_rows(data, TRAIN), batch, np.arange(batch), config.seed, 0, 1)))


def this_project(config: PretrainConfig, packed: np.ndarray, scratch: str) -> tuple[Callable[[], float], Ready]:
    """Makes the step of `jit_train_step` on one CPU device; it also writes what the peers start from."""
    import jax
    import safetensors.numpy

    from dnabert_jax.interop.huggingface import to_huggingface
    from dnabert_jax.parallel.mesh import make_mesh
    from dnabert_jax.training.evaluation import network_predictor
    from dnabert_jax.training.masking import MaskedTokens, masked_token_sums
    from dnabert_jax.training.state import init_state, stream_key
    from dnabert_jax.training.step import jit_train_step

    check_one_cpu()
    mesh = make_mesh(config.mesh, jax.devices())
    state = init_state(config.model, config.optimizer, config.seed, mesh)
    objective = MaskedTokens(config.masking, config.model.tokenizer)
    train = jit_train_step(config.model, objective, config.optimizer, config.execution, config.seed, mesh)
    views = to_huggingface(jax.device_get(state.parameters), config.model)
    # In C order: of a transposed view, safetensors writes the memory as it lies.
    tensors = {name: np.ascontiguousarray(view) for name, view in views.items()}
    safetensors.numpy.save_file(tensors, f"{scratch}/weights")

    key = stream_key(config.seed, "masks", 0)
    masked = objective.hide(jax.numpy.asarray(packed, np.int32), key, config.masking.rate)
    labels = np.full(packed.shape, IGNORED, np.int64)
    row, place = np.nonzero(masked.weights)
    labels[row, masked.predict_at[row, place]] = np.asarray(masked.labels)[row, place]
    safetensors.numpy.save_file({"input_ids": np.asarray(masked.input_ids), "labels": labels}, f"{scratch}/inputs")

    @jax.jit
    def loss_without_dropout(parameters: Any) -> jax.Array:
        logits = network_predictor(config.model, config.execution, mesh)(parameters, masked)
        sums = masked_token_sums(logits, masked.labels, masked.weights)
        return sums.loss / sums.tokens

    loss = float(loss_without_dropout(state.parameters))
    rows = jax.device_put(packed)

    def step() -> float:
        nonlocal state
        state, metrics = train(state, rows)
        jax.block_until_ready(state)
        return float(metrics.loss)

    sequences, useful = int((packed == CLS).sum()), int((packed != PAD).sum())
    about = f"A step: {sequences} sequences of {useful:,} tokens in all, {len(row):,} of them masked."
    return step, {"result": loss, "about": about}


def transformers_side(
    config: PretrainConfig, scratch: str, attention: str = "sdpa", together: int | None = None, compiled: bool = False
) -> tuple[Callable[[], float], Ready]:
    """Makes the step of BertForMaskedLM with PyTorch's fused AdamW, from the same weights, sequences and masks.

    Args:
        attention: the name that transformers has for the implementation.
        together: the sequences, sorted by length, go through the model so many at a time, padded to the longest of
            them, and gradients are accumulated; none means all at once.
        compiled: by torch.compile.
    """
    import safetensors.numpy
    import safetensors.torch
    import torch
    import transformers

    from dnabert_jax.families import family_of

    quiet_transformers()
    settings = family_of(config.model).settings(config.model) | {"attn_implementation": attention}
    model = transformers.BertForMaskedLM(transformers.BertConfig(**settings))
    missing = model.load_state_dict(safetensors.torch.load_file(f"{scratch}/weights"), strict=False)
    # The decoder is tied to the embedding and not saved.
    if missing.unexpected_keys or not all(name.startswith("cls.predictions.decoder") for name in missing.missing_keys):
        raise SystemExit(f"The weights do not fit transformers' model: {missing}.")
    batches = [
        {name: torch.from_numpy(array) for name, array in batch.items()}
        for batch in padded_batches(safetensors.numpy.load_file(f"{scratch}/inputs"), together)
    ]
    total = sum(int((batch["labels"] != IGNORED).sum()) for batch in batches)
    shares = [int((batch["labels"] != IGNORED).sum()) / total for batch in batches]

    recipe = config.optimizer
    rate, betas = recipe.peak_learning_rate / recipe.warmup_steps, (recipe.beta1, recipe.beta2)
    optimizer = adamw(model, recipe.weight_decay, lr=rate, betas=betas, eps=recipe.epsilon, fused=True)
    model.eval()
    with torch.no_grad():
        loss = sum(share * float(model(**batch).loss) for share, batch in zip(shares, batches, strict=True))
    model.train()
    run = torch.compile(model) if compiled else model

    def step() -> float:
        optimizer.zero_grad()
        total = 0.0
        for share, batch in zip(shares, batches, strict=True):
            part = run(**batch).loss * share
            part.backward()
            total += float(part.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
        return total

    computed = sum(batch["input_ids"].numel() for batch in batches)
    return step, {"result": loss, "computed": computed}


def padded_batches(packed: dict[str, np.ndarray], together: int | None) -> list[dict[str, np.ndarray]]:
    """Returns the sequences of packed rows, each in a row of its own, as transformers wants them.

    Args:
        packed: input_ids and labels, [B, L].
        together: so many in a batch, by length; none means all.
    """
    sequences = []
    for ids, labels in zip(packed["input_ids"], packed["labels"], strict=True):
        used = int((ids != PAD).sum())
        begins = np.flatnonzero(ids[:used] == CLS)
        ends = [*begins[1:], used]
        sequences += [(ids[begin:end], labels[begin:end]) for begin, end in zip(begins, ends, strict=True)]
    sequences.sort(key=lambda sequence: len(sequence[0]))
    batches = []
    together = together or len(sequences)
    for first in range(0, len(sequences), together):
        chosen = sequences[first : first + together]
        shape = len(chosen), max(len(ids) for ids, _ in chosen)
        batch = {"input_ids": np.full(shape, PAD, np.int64), "labels": np.full(shape, IGNORED, np.int64)}
        for row, (ids, labels) in enumerate(chosen):
            batch["input_ids"][row, : len(ids)], batch["labels"][row, : len(ids)] = ids, labels
        batches.append({**batch, "attention_mask": (batch["input_ids"] != PAD).astype(np.int64)})
    return batches


if __name__ == "__main__":
    main()
