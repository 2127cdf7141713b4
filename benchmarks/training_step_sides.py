"""The two sides of `training_step`: each makes the step that a `SideProcess` runs."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.side_process import Ready, Side
from dnabert_jax.config import PretrainConfig
from dnabert_jax.sequence.vocabulary import CLS, PAD

IGNORED = -100
"""The label of a position that is not predicted, in PyTorch."""


@dataclasses.dataclass(frozen=True)
class Task:
    """What both sides compute.

    Attributes:
        config: of the run; its dropout, masks and AdamW are those of both sides.
        rows: packed rows, [B, L].
        weights: file of the initial weights, which this project's side writes.
        inputs: file of the masked rows and their labels, [B, L], which this project's side writes.
        threads: of each side.
    """

    config: PretrainConfig
    rows: np.ndarray
    weights: Path
    inputs: Path
    threads: int


@dataclasses.dataclass(frozen=True)
class Peer:
    """How transformers is run.

    Attributes:
        attention: its name for the implementation.
        together: the sequences, sorted by length, go through the model so many at a time, padded to the longest of
            them, and gradients are accumulated; none means all at once.
        compiled: by torch.compile.
    """

    attention: str
    together: int | None = None
    compiled: bool = False


def this_project(task: Task) -> tuple[Callable[[], float], Ready]:
    """`jit_train_step` on one CPU device; it also writes what the peers start from."""
    import jax
    import safetensors.numpy

    from dnabert_jax.interop.huggingface import to_huggingface
    from dnabert_jax.parallel.mesh import make_mesh
    from dnabert_jax.training.evaluation import network_predictor
    from dnabert_jax.training.masking import MaskedTokens
    from dnabert_jax.training.objectives import masked_token_sums
    from dnabert_jax.training.state import init_state, stream_key
    from dnabert_jax.training.step import jit_train_step

    config = task.config
    if jax.devices()[0].platform != "cpu" or jax.device_count() > 1:
        raise SystemExit(f"{jax.devices()} is not one CPU: unset XLA_FLAGS and set JAX_PLATFORMS=cpu.")
    mesh = make_mesh(config.mesh, jax.devices())
    state = init_state(config.model, config.optimizer, config.seed, mesh)
    objective = MaskedTokens(config.masking, config.model.tokenizer)
    train = jit_train_step(config.model, objective, config.optimizer, config.execution, config.seed, mesh)
    tensors = to_huggingface(jax.device_get(state.parameters), config.model)
    # In C order: of a transposed view, safetensors writes the memory as it lies.
    safetensors.numpy.save_file({name: np.ascontiguousarray(view) for name, view in tensors.items()}, task.weights)

    key = stream_key(config.seed, "masks", 0)
    masked = objective.hide(jax.numpy.asarray(task.rows, np.int32), key, config.masking.rate)
    labels = np.full(task.rows.shape, IGNORED, np.int64)
    row, place = np.nonzero(masked.weights)
    labels[row, masked.predict_at[row, place]] = np.asarray(masked.labels)[row, place]
    safetensors.numpy.save_file({"input_ids": np.asarray(masked.input_ids), "labels": labels}, task.inputs)

    @jax.jit
    def loss_without_dropout(parameters: Any) -> jax.Array:
        logits = network_predictor(config.model, config.execution, mesh)(parameters, masked)
        sums = masked_token_sums(logits, masked.labels, masked.weights)
        return sums.loss / sums.tokens

    loss = float(loss_without_dropout(state.parameters))
    rows = jax.device_put(task.rows)

    def step() -> float:
        nonlocal state
        state, metrics = train(state, rows)
        jax.block_until_ready(state)
        return float(metrics.loss)

    return step, {"loss": loss, "masked": len(row)}


def transformers_side(task: Task, peer: Peer) -> tuple[Callable[[], float], Ready]:
    """BertForMaskedLM with PyTorch's fused AdamW, from the same weights, on the same sequences and masks."""
    import safetensors.numpy
    import torch
    import transformers

    from dnabert_jax.families import family_of

    torch.set_num_threads(task.threads)
    transformers.utils.logging.set_verbosity_error()
    settings = family_of(task.config.model).settings(task.config.model)
    config = transformers.BertConfig(**settings | {"attn_implementation": peer.attention})
    model = transformers.BertForMaskedLM(config)
    weights = {name: torch.from_numpy(array) for name, array in safetensors.numpy.load_file(task.weights).items()}
    missing = model.load_state_dict(weights, strict=False)
    # The decoder is tied to the embedding and not saved.
    if missing.unexpected_keys or not all(name.startswith("cls.predictions.decoder") for name in missing.missing_keys):
        raise SystemExit(f"The weights do not fit transformers' model: {missing}.")
    batches = [
        {name: torch.from_numpy(array) for name, array in batch.items()}
        for batch in padded_batches(safetensors.numpy.load_file(task.inputs), peer.together)
    ]
    total = sum(int((batch["labels"] != IGNORED).sum()) for batch in batches)
    shares = [int((batch["labels"] != IGNORED).sum()) / total for batch in batches]

    recipe = task.config.optimizer
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    rest = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}],
        lr=recipe.peak_learning_rate / recipe.warmup_steps,
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.epsilon,
        fused=True,
    )
    model.eval()
    with torch.no_grad():
        loss = sum(share * float(model(**batch).loss) for share, batch in zip(shares, batches, strict=True))
    model.train()
    run = torch.compile(model) if peer.compiled else model

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
    return step, {"loss": loss, "computed": computed}


def peer_side(peer: Peer) -> Side:
    """A side that runs transformers in a certain way."""
    return functools.partial(transformers_side, peer=peer)


def padded_batches(packed: dict[str, np.ndarray], together: int | None) -> list[dict[str, np.ndarray]]:
    """The sequences of packed rows, each in a row of its own, as transformers wants them.

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
