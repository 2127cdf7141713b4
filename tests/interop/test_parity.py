"""The network against transformers' own, eager attention, float32: what every layer computes, and every gradient.

At odd sizes, and at DNABERT-6's own; the weights are random. The original's heads for long sequences are not in
transformers: here they are written with torch.nn as BertForLongSequenceClassification and
BertForLongSequenceClassificationCat of github.com/jerryji1993/DNABERT (src/transformers/modeling_bert.py) use it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    EsmForMaskedLM,
    EsmForSequenceClassification,
    PreTrainedModel,
)

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.families import PRESETS, family_of
from dnabert_jax.interop.huggingface import from_huggingface, to_huggingface
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.classification import PooledBackbone
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.sequence.vocabulary import MASK, NUM_SPECIAL, PAD
from dnabert_jax.sequence.windows import cut_into_pieces
from dnabert_jax.tasks.datasets.labels import label_matrix
from dnabert_jax.training.masking import masked_token_sums
from tests.model.encoder_states import encoder_states

TOLERANCE = 1e-4
IGNORED_LABEL = -100
NT = {
    name: dataclasses.replace(
        PRESETS[preset].model, hidden_size=40, num_layers=3, num_heads=5, intermediate_size=70, max_positions=64,
        compute_dtype="float32", initializer="bert", layer_norm_epsilon=epsilon,
    )
    for name, preset, epsilon in (("v1", "nt-500m", 1e-12), ("v1 of JAX", "nt-500m", 1e-5), ("v2", "nt-v2-50m", 1e-12))
}  # fmt: skip
ODD = ModelConfig(k=3, hidden_size=30, num_layers=3, num_heads=5, intermediate_size=70, max_positions=64)
DNABERT_6 = ModelConfig(k=6)
TASKS = [
    TaskConfig("single_label_classification", ("no", "yes")),
    TaskConfig("single_label_classification", ("donor", "acceptor", "neither")),
    TaskConfig("multi_label_classification", ("H3K4me3", "H3K27ac", "CTCF")),
    TaskConfig("regression", ("signal",)),
    TaskConfig("regression", ("signal", "fold")),
]
FULL_SIZE_TASK = TASKS[2]
"""The problems differ in the loss of the logits alone, whose size is not the model's."""

Gradients = dict[str, np.ndarray]


def sequences(config: ModelConfig) -> np.ndarray:
    """Rows of several lengths, padded."""
    rows = np.full((4, 64), PAD, np.int32)
    for row, count in zip(rows, (64 - config.tokenizer.specials, 40, 7, 1), strict=True):
        ids = np.random.default_rng(count).integers(NUM_SPECIAL, config.tokenizer.content_end, count)
        row[: count + config.tokenizer.specials] = config.tokenizer.framed(ids)
    return rows


def random_model(cls: type[PreTrainedModel], config: ModelConfig, **settings: Any) -> PreTrainedModel:
    """One of transformers, its biases and LayerNorms random too."""
    torch.manual_seed(0)
    written = {name: value for name, value in family_of(config).settings(config).items() if name != "auto_map"}
    size = cls.config_class(**written | {"initializer_range": 0.05} | settings)
    model = cls._from_config(size, attn_implementation="eager")
    if config.feed_forward == "swiglu":
        for layer in model.base_model.encoder.layer:
            layer.intermediate = Gated(config)
            layer.output.dense = torch.nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
    shake(model.eval())
    return model


class Gated(torch.nn.Module):
    """The feed-forward layer of Nucleotide Transformer v2, which stock ESM does not have."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.dense = torch.nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, value = self.dense(x).chunk(2, dim=-1)
        return torch.nn.functional.silu(gate) * value


def shake(module: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.05 * torch.randn_like(parameter)


def compare(
    config: ModelConfig,
    build: Callable[..., nnx.Module],
    of_ours: Callable[[Any], tuple],
    model: torch.nn.Module,
    of_theirs: tuple[torch.Tensor, torch.Tensor],
    prefix: str = "",
) -> tuple[nnx.Module, Gradients, Gradients]:
    """Compares loss and outputs; returns our network with their weights, and the gradients of both sides."""
    loss, expected = of_theirs
    loss.backward()
    theirs = {prefix + name: parameter for name, parameter in model.named_parameters()}
    graph, abstract = nnx.split(nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0))), nnx.Param)
    arrays = from_huggingface(lambda name: theirs[name].detach().numpy(), nnx.to_pure_dict(abstract), config)
    parameters = jax.tree.map(jnp.asarray, arrays)
    run = jax.jit(jax.value_and_grad(lambda parameters: of_ours(nnx.merge(graph, parameters)), has_aux=True))
    (value, outputs), gradients = jax.device_get(run(parameters))
    np.testing.assert_allclose(value, loss.detach().numpy(), atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(outputs, expected.detach().numpy(), atol=TOLERANCE, rtol=0)
    assert np.abs(outputs).max() > 0.1
    ours = to_huggingface(gradients, config)
    by_name = {name: each.grad.numpy() for name, each in theirs.items() if each.grad is not None}
    assert ours.keys() == by_name.keys()
    assert max(np.abs(gradient).max() for gradient in by_name.values()) > 0.01
    return nnx.merge(graph, parameters), ours, by_name


def assert_same_gradients(ours: Gradients, theirs: Gradients, atol: float = TOLERANCE) -> None:
    for name, gradient in ours.items():
        np.testing.assert_allclose(gradient, theirs[name], atol=atol, rtol=0, err_msg=name)


def assert_same_network(
    config: ModelConfig,
    build: Callable[..., nnx.Module],
    of_ours: Callable[[Any], tuple],
    model: torch.nn.Module,
    of_theirs: Callable[[Any], tuple[torch.Tensor, torch.Tensor]],
    prefix: str = "",
    rows: np.ndarray | None = None,
    **labels: torch.Tensor,
) -> None:
    """Compares all states and gradients too, wherever there is a token; what is computed on padding is nobody's."""
    rows = sequences(config) if rows is None else rows
    ids, real = torch.tensor(family_of(config).published_ids(config)[rows], dtype=torch.long), rows != PAD
    seen = {"attention_mask": torch.tensor(real).long(), "output_hidden_states": True, "output_attentions": True}
    result = model(input_ids=ids, **seen, **labels)
    network, *gradients = compare(config, build, of_ours, model, of_theirs(result), prefix)
    assert_same_gradients(*gradients)
    states = jax.jit(lambda: encoder_states(network.backbone, jnp.asarray(rows)))()  # type: ignore[attr-defined]
    hidden = torch.stack(result.hidden_states).detach().numpy()
    np.testing.assert_allclose(states.hidden[:, real], hidden[:, real], atol=TOLERANCE, rtol=0)
    theirs = torch.stack(result.attentions).detach().numpy()
    attention, expected = (np.moveaxis(np.asarray(each), 3, 2)[:, real] for each in (states.attention, theirs))
    np.testing.assert_allclose(attention, expected, atol=TOLERANCE, rtol=0)
    assert np.ptp(expected[:, :, :, :3].max(axis=-1)) > 0.01


@pytest.mark.parametrize(
    ("cls", "config"),
    [pytest.param(BertForMaskedLM, ODD, id="odd")]
    + [pytest.param(BertForMaskedLM, DNABERT_6, id="dnabert6", marks=pytest.mark.slow)]
    + [pytest.param(EsmForMaskedLM, config, id=name) for name, config in NT.items()],
)
def test_the_masked_language_model_is_theirs(cls: type[PreTrainedModel], config: ModelConfig) -> None:
    truth, published = sequences(config), family_of(config).published_ids(config)
    wanted = (np.random.default_rng(0).random(truth.shape) < 0.3) & (truth >= NUM_SPECIAL)
    # Most of them are masked, as the factor of token dropout counts.
    rows, real = np.where(wanted & (np.arange(truth.shape[1]) % 3 > 0), MASK, truth), truth != PAD
    labels, named = np.where(wanted, published[truth], IGNORED_LABEL), np.flatnonzero(published >= 0)

    def of_ours(network: LanguageModel) -> tuple:
        logits = network(jnp.asarray(rows))
        sums = masked_token_sums(logits, jnp.where(wanted, truth, 0), jnp.asarray(wanted, jnp.float32))
        return sums.loss / sums.tokens, logits[real][:, named]

    assert_same_network(
        config, functools.partial(LanguageModel, config), of_ours, random_model(cls, config),
        lambda result: (result.loss, result.logits[torch.tensor(real)][:, published[named]]), rows=rows,
        labels=torch.tensor(labels, dtype=torch.long),
    )  # fmt: skip


def test_the_bare_encoder_and_its_pooler_are_theirs() -> None:
    """The loss is any function of both outputs."""
    rows, rng = sequences(ODD), np.random.default_rng(1)
    of_tokens = rng.normal(size=(*rows.shape, ODD.hidden_size)) * (rows != PAD)[:, :, None] / 1000
    of_sequences = rng.normal(size=(len(rows), ODD.hidden_size)) / 100
    weights = [array.astype(np.float32) for array in (of_tokens, of_sequences)]

    def loss(tokens: Any, vectors: Any, of_tokens: Any, of_vectors: Any) -> tuple:
        return (tokens * of_tokens).sum() + (vectors * of_vectors).sum(), vectors

    def of_ours(network: PooledBackbone) -> tuple:
        pooled = network.pooled(jnp.asarray(rows))
        return loss(pooled.hidden, pooled.vector, *weights)

    assert_same_network(
        ODD, functools.partial(PooledBackbone, ODD), of_ours, random_model(BertModel, ODD),
        lambda result: loss(result.last_hidden_state, result.pooler_output, *map(torch.tensor, weights)), "bert.",
    )  # fmt: skip


def random_labels(task: TaskConfig, count: int) -> tuple[np.ndarray, torch.Tensor]:
    rng = np.random.default_rng(2)
    if task.problem == "single_label_classification":
        labels = rng.integers(0, len(task.labels), count)
        return labels.astype(np.int32), torch.tensor(labels, dtype=torch.long)
    multi_label = task.problem == "multi_label_classification"
    size = count, len(task.labels)
    labels = (rng.integers(0, 2, size) if multi_label else rng.normal(size=size)).astype(np.float32)
    return labels, torch.tensor(labels)


def task_loss(task: TaskConfig, rows: np.ndarray, labels: np.ndarray) -> Callable[[Any], tuple]:
    def of_ours(network: Any) -> tuple:
        logits = network(jnp.asarray(rows))
        return task.kind.losses(logits, label_matrix(labels, len(task.labels))).mean(), logits

    return of_ours


@pytest.mark.parametrize(
    ("cls", "config", "task"),
    [pytest.param(BertForSequenceClassification, ODD, task, id=f"{task.problem}-{len(task.labels)}") for task in TASKS]
    + [pytest.param(BertForSequenceClassification, DNABERT_6, FULL_SIZE_TASK, marks=pytest.mark.by_hand)]
    + [pytest.param(EsmForSequenceClassification, config, TASKS[1], id=name) for name, config in NT.items()],
)
def test_the_classifier_is_theirs(cls: type[PreTrainedModel], config: ModelConfig, task: TaskConfig) -> None:
    rows = sequences(config)
    labels, of_torch = random_labels(task, len(rows))
    model = random_model(cls, config, num_labels=len(task.labels), problem_type=task.problem)
    assert_same_network(
        config, functools.partial(sequence_classifier, config, task), task_loss(task, rows, labels), model,
        lambda result: (result.loss, result.logits), labels=of_torch,
    )  # fmt: skip


class LongBert(torch.nn.Module):
    """An encoder over pieces and a head over their pooled vectors, as the original has them."""

    def __init__(self, config: ModelConfig, task: TaskConfig):
        super().__init__()
        self.bert = random_model(BertModel, config)
        size, count = config.hidden_size, len(task.labels)
        if task.long == "concatenation":
            self.classifier1 = torch.nn.Linear(task.split * size, size)
            self.classifier2 = torch.nn.Linear(size, count)
        else:
            recurrence = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[task.long]
            self.rnn = recurrence(size, size, task.num_rnn_layer, batch_first=True, bidirectional=True)
            self.classifier = torch.nn.Linear(size, count)

    def forward(self, pieces: torch.Tensor) -> torch.Tensor:
        batch, split, length = pieces.shape
        flat = pieces.view(-1, length)
        # The original lowers every score of a piece of padding by 10,000, which is as if there were no mask.
        seen = (flat != PAD) | (flat == PAD).all(dim=1, keepdim=True)
        vectors = self.bert(flat, attention_mask=seen.long()).pooler_output.view(batch, split, -1)
        if hasattr(self, "classifier1"):
            return self.classifier2(torch.relu(self.classifier1(vectors.reshape(batch, -1))))
        _, last = self.rnn(vectors)
        states = last[0] if isinstance(last, tuple) else last
        return self.classifier(states.sum(dim=0))


LONG_TASKS = [
    TaskConfig("single_label_classification", ("no", "yes"), long="lstm", split=3),
    TaskConfig("single_label_classification", ("a", "b", "c"), long="lstm", split=3, num_rnn_layer=2),
    TaskConfig("regression", ("signal",), long="gru", split=3),
    TaskConfig("single_label_classification", ("no", "yes"), long="gru", split=3, num_rnn_layer=2),
    TaskConfig("single_label_classification", ("no", "yes"), long="concatenation", split=3),
]


@pytest.mark.parametrize("task", LONG_TASKS, ids=lambda task: f"{task.long}-{task.num_rnn_layer}")
def test_the_heads_for_long_sequences_are_the_originals(task: TaskConfig) -> None:
    rng, length = np.random.default_rng(3), 32
    # Three pieces full, the last of three nearly empty, one that is [CLS] [SEP] alone, and two that are padding alone.
    counts = (3 * (length - 2), 2 * (length - 2) + 1, 2 * (length - 2), 7)
    kmers = [rng.integers(NUM_SPECIAL, ODD.vocabulary_size, count).astype(np.int32) for count in counts]
    pieces = np.stack([cut_into_pieces(each, task.split, length) for each in kmers])
    labels, of_torch = random_labels(task, len(pieces))
    model = LongBert(ODD, task).eval()
    shake(model)
    logits = model(torch.tensor(pieces, dtype=torch.long))
    loss_of = torch.nn.functional.mse_loss if task.problem == "regression" else torch.nn.functional.cross_entropy
    build, of_ours = functools.partial(sequence_classifier, ODD, task), task_loss(task, pieces, labels)
    _, ours, theirs = compare(ODD, build, of_ours, model, (loss_of(logits, of_torch), logits))
    # PyTorch has no gradient for [PAD] (padding_idx), whose hidden states count where a piece has nothing else.
    table = "bert.embeddings.word_embeddings.weight"
    assert not theirs[table][PAD].any()
    ours[table] = np.concatenate([theirs[table][:1], ours[table][1:]])
    assert_same_gradients(ours, theirs, atol=TOLERANCE / 10)
    assert min(np.abs(theirs[name]).max() for name in theirs if name.startswith(("rnn", "classifier"))) > TOLERANCE
