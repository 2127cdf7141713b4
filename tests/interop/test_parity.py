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
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel, PreTrainedModel

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.interop.huggingface import from_huggingface, to_huggingface
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.classification import PooledBackbone
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL, PAD, SEP
from dnabert_jax.sequence.windows import cut_into_pieces
from dnabert_jax.tasks.datasets.labels import label_matrix
from dnabert_jax.training.masking import masked_token_sums
from dnabert_jax.training.state import Parameters
from tests.model.encoder_states import encoder_states

TOLERANCE = 1e-4
IGNORED_LABEL = -100
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


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Of one batch, from either side; gradients by their names in the file."""

    loss: np.ndarray
    outputs: np.ndarray
    hidden: np.ndarray
    attention: np.ndarray
    gradients: dict[str, np.ndarray]


def sequences(config: ModelConfig, length: int = 64) -> np.ndarray:
    """Rows of several lengths, padded."""
    rows = np.full((4, length), PAD, np.int32)
    for row, count in zip(rows, (length - 2, 40, 7, 1), strict=True):
        row[: count + 2] = [
            CLS,
            *np.random.default_rng(count).integers(NUM_SPECIAL, config.vocabulary_size, count),
            SEP,
        ]
    return rows


def random_model(cls: type[PreTrainedModel], config: ModelConfig, **settings: Any) -> PreTrainedModel:
    """One of transformers, its biases and LayerNorms random too."""
    torch.manual_seed(0)
    size = BertConfig(
        vocab_size=config.vocabulary_size, hidden_size=config.hidden_size, num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads, intermediate_size=config.intermediate_size,
        max_position_embeddings=config.max_positions, layer_norm_eps=config.layer_norm_epsilon,
        initializer_range=0.05, **settings,
    )  # fmt: skip
    model = cls._from_config(size, attn_implementation="eager").eval()
    shake(model)
    return model


def shake(module: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.05 * torch.randn_like(parameter)


def taken_over(build: Callable[[], nnx.Module], tensors: dict[str, torch.Tensor], config: ModelConfig) -> Any:
    """Structure and parameters of a network of ours, with the weights of theirs."""
    graph, abstract = nnx.split(nnx.eval_shape(build), nnx.Param)
    arrays = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
    parameters = from_huggingface(arrays, nnx.to_pure_dict(abstract), config)
    return graph, jax.tree.map(jnp.asarray, parameters)


def of_theirs(model: PreTrainedModel, rows: np.ndarray, loss_of: Callable[[Any], tuple], prefix: str = "") -> Outputs:
    """Runs theirs; `loss_of` picks (loss, outputs) from its result."""
    ids = torch.tensor(rows, dtype=torch.long)
    loss, outputs, result = loss_of(
        lambda **labels: model(
            input_ids=ids, attention_mask=(ids != PAD).long(), output_hidden_states=True, output_attentions=True,
            **labels,
        )
    )  # fmt: skip
    loss.backward()
    return Outputs(
        loss.detach().numpy(),
        outputs.detach().numpy(),
        torch.stack(result.hidden_states).detach().numpy(),
        torch.stack(result.attentions).detach().numpy(),
        {prefix + name: parameter.grad.numpy() for name, parameter in model.named_parameters()},
    )


def of_ours(graph: Any, parameters: Parameters, rows: np.ndarray, loss_of: Callable, config: ModelConfig) -> Outputs:
    """Runs ours; `loss_of` gives (loss, outputs) of a network."""

    @jax.jit
    def run(parameters: Parameters) -> tuple:
        def loss(parameters: Parameters) -> tuple:
            return loss_of(nnx.merge(graph, parameters))

        (value, outputs), gradients = jax.value_and_grad(loss, has_aux=True)(parameters)
        ids = jnp.asarray(rows)
        return value, outputs, encoder_states(nnx.merge(graph, parameters).backbone, ids), gradients

    value, outputs, states, gradients = jax.device_get(run(parameters))
    return Outputs(value, outputs, states.hidden, states.attention, to_huggingface(gradients, config))


def assert_agree(ours: Outputs, theirs: Outputs, rows: np.ndarray) -> None:
    """Wherever there is a token; what is computed on padding is nobody's."""
    real = rows != PAD
    for name in ("loss", "outputs"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=TOLERANCE, rtol=0, err_msg=name)
    np.testing.assert_allclose(ours.hidden[:, real], theirs.hidden[:, real], atol=TOLERANCE, rtol=0)
    attention, expected = (np.moveaxis(each.attention, 3, 2)[:, real] for each in (ours, theirs))
    np.testing.assert_allclose(attention, expected, atol=TOLERANCE, rtol=0)
    assert ours.gradients.keys() == theirs.gradients.keys()
    for name, gradient in ours.gradients.items():
        np.testing.assert_allclose(gradient, theirs.gradients[name], atol=TOLERANCE, rtol=0, err_msg=name)
    # Or else nothing would have been compared.
    assert np.abs(theirs.outputs).max() > 0.1
    assert max(np.abs(gradient).max() for gradient in theirs.gradients.values()) > 0.01
    assert np.ptp(expected[:, :, :, :3].max(axis=-1)) > 0.01


@pytest.mark.parametrize(
    "config", [pytest.param(ODD, id="odd"), pytest.param(DNABERT_6, id="dnabert6", marks=pytest.mark.slow)]
)
def test_the_masked_language_model_is_theirs(config: ModelConfig) -> None:
    rows = sequences(config)
    labels = np.where(np.random.default_rng(0).random(rows.shape) < 0.3, rows, IGNORED_LABEL)
    labels[rows < NUM_SPECIAL] = IGNORED_LABEL
    model = random_model(BertForMaskedLM, config)
    real, wanted = rows != PAD, labels != IGNORED_LABEL

    def loss_of_theirs(forward: Callable) -> tuple:
        result = forward(labels=torch.tensor(labels, dtype=torch.long))
        return result.loss, result.logits[torch.tensor(real)], result

    def loss_of_ours(network: LanguageModel) -> tuple:
        logits = network(jnp.asarray(rows))
        sums = masked_token_sums(logits, jnp.where(wanted, labels, 0), jnp.asarray(wanted, jnp.float32))
        return sums.loss / sums.tokens, logits[real][:, : config.vocabulary_size]

    graph, parameters = taken_over(
        lambda: LanguageModel(config, rngs=nnx.Rngs(0)), dict(model.named_parameters()), config
    )
    ours = of_ours(graph, parameters, rows, loss_of_ours, config)
    assert_agree(ours, of_theirs(model, rows, loss_of_theirs), rows)


def test_the_bare_encoder_and_its_pooler_are_theirs() -> None:
    """The loss is any function of both outputs."""
    config = ODD
    rows = sequences(config)
    real = rows != PAD
    model = random_model(BertModel, config)
    rng = np.random.default_rng(1)
    of_tokens = (rng.normal(size=(*rows.shape, config.hidden_size)) * real[:, :, None] / 1000).astype(np.float32)
    of_sequences = rng.normal(size=(len(rows), config.hidden_size)).astype(np.float32) / 100

    def loss_of_theirs(forward: Callable) -> tuple:
        result = forward()
        tokens, sequence = result.last_hidden_state, result.pooler_output
        return (
            (tokens * torch.tensor(of_tokens)).sum() + (sequence * torch.tensor(of_sequences)).sum(),
            sequence,
            result,
        )

    def loss_of_ours(network: PooledBackbone) -> tuple:
        pooled = network.pooled(jnp.asarray(rows))
        return (pooled.hidden * of_tokens).sum() + (pooled.vector * of_sequences).sum(), pooled.vector

    tensors = {f"bert.{name}": parameter for name, parameter in model.named_parameters()}
    graph, parameters = taken_over(lambda: PooledBackbone(config, rngs=nnx.Rngs(0)), tensors, config)
    ours = of_ours(graph, parameters, rows, loss_of_ours, config)
    assert_agree(ours, of_theirs(model, rows, loss_of_theirs, "bert."), rows)


def random_labels(task: TaskConfig, count: int) -> np.ndarray:
    rng = np.random.default_rng(2)
    if task.problem == "single_label_classification":
        return rng.integers(0, len(task.labels), count).astype(np.int32)
    if task.problem == "multi_label_classification":
        return rng.integers(0, 2, (count, len(task.labels))).astype(np.float32)
    return rng.normal(size=(count, len(task.labels))).astype(np.float32)


def as_torch(labels: np.ndarray) -> torch.Tensor:
    return torch.tensor(labels, dtype=torch.long if labels.dtype == np.int32 else torch.float32)


@pytest.mark.parametrize(
    ("config", "task"),
    [pytest.param(ODD, task, id=f"odd-{task.problem}-{len(task.labels)}") for task in TASKS]
    + [pytest.param(DNABERT_6, FULL_SIZE_TASK, id="dnabert6", marks=pytest.mark.by_hand)],
)
def test_the_classifier_is_theirs(config: ModelConfig, task: TaskConfig) -> None:
    rows = sequences(config)
    labels = random_labels(task, len(rows))
    model = random_model(BertForSequenceClassification, config, num_labels=len(task.labels), problem_type=task.problem)

    def loss_of_theirs(forward: Callable) -> tuple:
        result = forward(labels=as_torch(labels))
        return result.loss, result.logits, result

    def loss_of_ours(network: Any) -> tuple:
        logits = network(jnp.asarray(rows))
        return task.kind.losses(logits, label_matrix(labels, len(task.labels))).mean(), logits

    graph, parameters = taken_over(
        lambda: sequence_classifier(config, task, rngs=nnx.Rngs(0)), dict(model.named_parameters()), config
    )
    ours = of_ours(graph, parameters, rows, loss_of_ours, config)
    assert_agree(ours, of_theirs(model, rows, loss_of_theirs), rows)


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
    config, length = ODD, 32
    rng = np.random.default_rng(3)
    # Three pieces full, the last of three nearly empty, one that is [CLS] [SEP] alone, and two that are padding alone.
    counts = (3 * (length - 2), 2 * (length - 2) + 1, 2 * (length - 2), 7)
    kmers = [rng.integers(NUM_SPECIAL, config.vocabulary_size, count).astype(np.int32) for count in counts]
    pieces = np.stack([cut_into_pieces(each, task.split, length) for each in kmers])
    labels = random_labels(task, len(pieces))
    model = LongBert(config, task).eval()
    shake(model)
    expected = model(torch.tensor(pieces, dtype=torch.long))
    if task.problem == "regression":
        loss = torch.nn.functional.mse_loss(expected, as_torch(labels))
    else:
        loss = torch.nn.functional.cross_entropy(expected, as_torch(labels))
    loss.backward()

    graph, parameters = taken_over(
        lambda: sequence_classifier(config, task, rngs=nnx.Rngs(0)), dict(model.named_parameters()), config
    )

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def ours(parameters: Parameters) -> tuple:
        logits = nnx.merge(graph, parameters)(jnp.asarray(pieces))
        return task.kind.losses(logits, label_matrix(labels, len(task.labels))).mean(), logits

    (value, logits), gradients = jax.device_get(ours(parameters))
    np.testing.assert_allclose(logits, expected.detach().numpy(), atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(value, loss.detach().numpy(), atol=TOLERANCE, rtol=0)
    by_name = to_huggingface(gradients, config)
    theirs = {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
    assert by_name.keys() == theirs.keys()
    # PyTorch has no gradient for [PAD] (padding_idx), whose hidden states count where a piece has nothing else.
    table = "bert.embeddings.word_embeddings.weight"
    assert not theirs[table][PAD].any()
    by_name[table] = np.concatenate([theirs[table][:1], by_name[table][1:]])
    for name, gradient in by_name.items():
        np.testing.assert_allclose(gradient, theirs[name], atol=TOLERANCE / 10, rtol=0, err_msg=name)
    assert np.abs(logits).max() > 0.1
    assert min(np.abs(theirs[name]).max() for name in theirs if name.startswith(("rnn", "classifier"))) > TOLERANCE
