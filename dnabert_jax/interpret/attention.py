"""Attention scores of bases, as the original reads a model: what [CLS] gives to the tokens that cover a base.

The original keeps N x heads x L x L numbers of all sequences (visualize in examples/run_finetune.py of
github.com/jerryji1993/DNABERT). Here a batch asks for the row of [CLS] alone, [B, heads, L], which is summed over heads
and averaged over tokens on the device; what outlives the batch is a number a base, of the few thousand sequences that
`stream.computed` has in hand. Rollout has one L x L matrix for each sequence of a batch, and of no others.
B batch, L tokens.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import numpy as np
from jaxtyping import Array, Float32, Int32

from dnabert_jax import stream
from dnabert_jax.config import require
from dnabert_jax.interpret.target import check_reads_whole, computed
from dnabert_jax.pretrained import DNAModel
from dnabert_jax.stream import Coded, Named


def attention_scores(
    model: DNAModel,
    sequences: Iterable[Named],
    layer: int = -1,
    head: int | None = None,
    rollout: bool = False,
    normalization: Literal["l2", "none"] = "l2",
    advance: Callable[[int], object] | None = None,
) -> Iterator[tuple[Coded, Float32[np.ndarray, " bases"]]]:
    """Yields each sequence and its scores, one for each base, in their order and in constant memory.

    The score of a token is the attention from [CLS] to it, summed over heads; that of a base the mean over the tokens
    that cover it, fewer than k at the ends (get_real_score in examples/visualize.py of the original). Scores of a
    sequence are divided by their Euclidean norm, unless all are zero, as where [CLS] attends to itself alone.

    Args:
        model: any that reads a sequence whole; it needs no classifier.
        layer: whose attention, from 1 to the number of layers, or -1 for the last; with rollout that up to it.
        head: one of them, from 1 on; all of them if not given.
        rollout: attention rolled out over the layers (Abnar and Zuidema 2020), a mean over heads.
        normalization: l2, or none: then scores are probabilities, summed over heads.
        advance: if given, told how many more sequences are done.

    Raises:
        InputError: a sequence is no DNA, too short or too long; the model reads pieces, or has no such layer or head.
    """
    check_reads_whole(model, "Attention")
    layers, heads = model.config.num_layers, model.config.num_heads
    require(1 <= abs(layer) <= layers, f"layer is {layer}: the first is 1 or -{layers}, the last {layers} or -1.")
    require(head is None or 1 <= head <= heads, f"head is {head}: the model has 1 to {heads}.")
    require(head is None or not rollout, "A rollout is a mean over heads: name no head with it.")
    layer = layer if layer > 0 else layers + 1 + layer

    def of_tokens(ids: Int32[np.ndarray, "B L"]) -> Array:
        if rollout:
            return model.encoder.rollout_of_cls(ids, layer)
        by_head = model.encoder.attention_of_cls(ids, layer)
        return by_head.sum(axis=1) if head is None else by_head[:, head - 1]

    for sequence, ids, row in computed(model, stream.coded(sequences, model.tokenizer), of_tokens, advance):
        content = model.tokenizer.content(len(ids))
        scores = model.tokenizer.mean_over_bases(row[content], ids[content])
        norm = np.linalg.norm(scores) if normalization == "l2" else 0
        yield sequence, scores / norm if norm else scores
