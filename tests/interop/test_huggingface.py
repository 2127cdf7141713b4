"""What is exported is a BertForMaskedLM: the same logits and the same gradients, from the directory on disk."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save
from tokenizers import Tokenizer
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM

from dnabert_jax.config import ModelConfig, OptimizerConfig, PretrainConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interop.export import export_model
from dnabert_jax.interop.huggingface import check_shapes, from_huggingface, to_huggingface
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.model import backbone
from dnabert_jax.model.binding import bind, parameter_shapes
from dnabert_jax.sample import HELDOUT_FASTA
from dnabert_jax.sequence.kmers import KmerTokenizer, split_kmers
from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL, PAD, SEP
from dnabert_jax.training.loop import pretrain
from dnabert_jax.training.saved_model import read_saved_model

IGNORED_LABEL = -100


@pytest.fixture(scope="module")
def run(small_model: ModelConfig, sample_rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps at a rate that takes every parameter away from where it began."""
    out = tmp_path_factory.mktemp("run") / "run"
    config = PretrainConfig(
        model=small_model,
        optimizer=OptimizerConfig(peak_learning_rate=0.05, warmup_steps=1, schedule_steps=9),
        global_batch=8,
        steps=3,
        evaluation_rows=8,
    )
    pretrain(config, sample_rows, out)
    return out


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "model"
    export_model(read_saved_model(run), out)
    return out


@pytest.fixture(scope="module")
def theirs(exported: Path) -> BertForMaskedLM:
    model = AutoModelForMaskedLM.from_pretrained(exported, attn_implementation="eager")
    assert type(model) is BertForMaskedLM
    return model.eval()


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    """Sequences of several lengths, padded."""
    rows = np.full((4, 64), PAD, np.int32)
    for row, length in zip(rows, (62, 40, 7, 1), strict=True):
        row[: length + 2] = [CLS, *np.random.default_rng(length).integers(4, 69, length), SEP]
    return rows


def test_logits_of_the_exported_directory_agree(run: Path, theirs: BertForMaskedLM, batch: np.ndarray) -> None:
    checkpoint = read_saved_model(run)
    ours = jax.jit(lambda p: bind(backbone.LanguageModel, p, checkpoint.config)(jnp.asarray(batch)))(
        checkpoint.parameters
    )
    ids = torch.tensor(batch, dtype=torch.long)
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=(ids != PAD).long()).logits.numpy()
    real = batch != PAD
    assert expected.shape == (4, 64, 69)
    assert np.abs(expected[real]).max() > 1
    np.testing.assert_allclose(np.asarray(ours)[real][:, :69], expected[real], atol=1e-4, rtol=0)


def test_gradients_of_every_parameter_agree(run: Path, theirs: BertForMaskedLM, batch: np.ndarray) -> None:
    checkpoint = read_saved_model(run)
    model = checkpoint.config
    labels = np.where(np.random.default_rng(0).random(batch.shape) < 0.3, batch, IGNORED_LABEL)
    labels[batch < NUM_SPECIAL] = IGNORED_LABEL
    ids = torch.tensor(batch, dtype=torch.long)
    theirs.zero_grad()
    theirs(
        input_ids=ids, attention_mask=(ids != PAD).long(), labels=torch.tensor(labels, dtype=torch.long)
    ).loss.backward()
    expected = {name: parameter.grad.numpy() for name, parameter in theirs.named_parameters()}

    def loss(parameters: dict) -> jax.Array:
        log_likelihood = jax.nn.log_softmax(bind(backbone.LanguageModel, parameters, model)(jnp.asarray(batch)))
        wanted = jnp.asarray(labels != IGNORED_LABEL)
        picked = jnp.take_along_axis(log_likelihood, jnp.maximum(labels, 0)[:, :, None], axis=-1)[:, :, 0]
        return -jnp.where(wanted, picked, 0).sum() / wanted.sum()

    gradients = to_huggingface(jax.device_get(jax.jit(jax.grad(loss))(checkpoint.parameters)), model)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[name], atol=1e-4, rtol=0, err_msg=name)
    assert max(np.abs(gradient).max() for gradient in gradients.values()) > 1e-2


def test_weights_survive_the_round_trip_to_the_bit(run: Path, theirs: BertForMaskedLM) -> None:
    checkpoint = read_saved_model(run)
    model = checkpoint.config
    abstract = parameter_shapes(backbone.LanguageModel, model)
    tensors = {name: parameter.detach().numpy() for name, parameter in theirs.named_parameters()}
    back = from_huggingface(tensors, abstract, model)
    for ours, original in zip(jax.tree.leaves(back), jax.tree.leaves(checkpoint.parameters), strict=True):
        assert np.array_equal(ours, original)
    again = to_huggingface(back, model)
    assert all(np.array_equal(again[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("k", [3, 6])
def test_a_model_made_by_transformers_gives_the_same_logits_here(k: int) -> None:
    """At odd sizes, with the random weights of their own initialisation."""
    from transformers import BertConfig

    model = ModelConfig(k=k, hidden_size=30, num_layers=3, num_heads=5, intermediate_size=70, max_positions=40)
    torch.manual_seed(k)
    settings = BertConfig(
        vocab_size=model.vocabulary_size, hidden_size=30, num_hidden_layers=3, num_attention_heads=5,
        intermediate_size=70, max_position_embeddings=40, layer_norm_eps=1e-12, initializer_range=0.2,
    )  # fmt: skip
    theirs = BertForMaskedLM._from_config(settings, attn_implementation="eager").eval()
    tensors = {name: parameter.detach().numpy() for name, parameter in theirs.named_parameters()}
    parameters = jax.tree.map(
        jnp.asarray, from_huggingface(tensors, parameter_shapes(backbone.LanguageModel, model), model)
    )
    rows = np.array([[CLS, *np.random.default_rng(0).integers(5, model.vocabulary_size, 38), SEP]], np.int32)
    with torch.no_grad():
        expected = theirs(torch.tensor(rows, dtype=torch.long)).logits.numpy()
    ours = jax.jit(lambda parameters: bind(backbone.LanguageModel, parameters, model)(jnp.asarray(rows)))(parameters)
    ours = ours[..., : model.vocabulary_size]
    np.testing.assert_allclose(ours, expected, atol=1e-4, rtol=0)


def test_tensors_that_are_missing_or_of_another_shape_are_refused(run: Path) -> None:
    checkpoint = read_saved_model(run)
    model = checkpoint.config
    abstract = parameter_shapes(backbone.LanguageModel, model)
    name = "bert.encoder.layer.1.attention.self.key.weight"
    shapes = {n: tensor.shape for n, tensor in to_huggingface(checkpoint.parameters, model).items()}
    check_shapes(shapes, abstract, model)
    with pytest.raises(InputError, match=rf"missing: {name} \(32, 32\)\."):
        check_shapes({n: shape for n, shape in shapes.items() if n != name}, abstract, model)
    with pytest.raises(InputError, match=rf"{name} is \(31, 32\), not \(32, 32\)"):
        check_shapes(shapes | {name: (31, 32)}, abstract, model)


def test_the_tokenizer_gives_the_ids_of_this_project_on_real_sequence(exported: Path) -> None:
    letters = next(iter(read_blocks(HELDOUT_FASTA))).letters
    tokenizer = AutoTokenizer.from_pretrained(exported)
    plain = Tokenizer.from_file(str(exported / "tokenizer.json"))
    for begin in (0, 1000, 20_000):
        dna = letters[begin : begin + 60].tobytes().decode()
        expected = [CLS, *KmerTokenizer(3).encode_text(dna).tolist(), SEP]
        assert tokenizer(split_kmers(dna, 3))["input_ids"] == expected
        assert plain.encode(split_kmers(dna, 3)).ids == expected
    assert tokenizer("ACG NNN [MASK]")["input_ids"] == [CLS, KmerTokenizer(3).encode_text("ACG")[0], 1, 4, SEP]
    assert tokenizer.model_max_length == 64
    assert tokenizer.convert_tokens_to_ids(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]) == [0, 1, 2, 3, 4]


def test_the_directory_tells_where_the_model_comes_from(run: Path, exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "provenance.json", "special_tokens_map.json",
        "tokenizer.json", "tokenizer_config.json", "vocab.txt",
    ]  # fmt: skip
    card = (exported / "README.md").read_text()
    evaluation = read_saved_model(run).description.provenance["pretraining"]["evaluation"]
    assert f"{evaluation['figures']['loss']:.4f}" in card
    assert "chr22_20000001-20950000_train.fa.gz" in card
    assert "weight decay 0.01" in card


def test_the_weights_are_the_bytes_that_safetensors_writes(exported: Path) -> None:
    weights = exported / "model.safetensors"
    assert save(load_file(weights), {"format": "pt"}) == weights.read_bytes()


def test_an_output_that_exists_and_a_step_that_does_not_are_refused(run: Path, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        export_model(read_saved_model(run), exported)
    with pytest.raises(InputError, match="no checkpoint of step 2: it has 3"):
        read_saved_model(run, step=2)
    with pytest.raises(InputError, match="is no run directory"):
        read_saved_model(tmp_path)
    assert list(tmp_path.iterdir()) == []
