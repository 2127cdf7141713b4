"""Nucleotide Transformer: directories of its publishers' layouts are read, written and refused."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import joblib
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.families import PRESETS, family_of
from dnabert_jax.interop.load import load_directory
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.binding import parameter_shapes
from tests.interop.conftest import Trap
from tests.random_models import random_model

SIZES: dict[str, Any] = {
    "hidden_size": 30, "num_layers": 2, "num_heads": 5, "intermediate_size": 44, "max_positions": 40,
    "compute_dtype": "float32", "initializer_range": 0.2,
}  # fmt: skip
V1, V2 = (dataclasses.replace(PRESETS[name].model, **SIZES) for name in ("nt-500m", "nt-v2-50m"))
SEQUENCES = ["ACGTGTACNTGCACGGANCGACTAGTCTGA", "ACG", "GATTACAGATTACAGATTACANNNNNACGTACGTAC" * 2]


@pytest.fixture(scope="module", params=[V1, V2], ids=["v1", "v2"])
def model(request: pytest.FixtureRequest) -> DNAModel:
    return DNAModel(random_model(request.param))


@pytest.fixture
def written(model: DNAModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model", "masked-lm")
    return tmp_path / "model"


def change(path: Path, **settings: object) -> None:
    contents = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({name: value for name, value in contents.items() if value is not ...}))


def test_a_directory_survives_the_round_trip_to_the_bit(model: DNAModel, written: Path) -> None:
    loaded = load_directory(written)
    assert loaded.config == model.config
    backbone, head = (loaded.parameters[part] for part in ("backbone", "head"))
    expected = jax.device_get((model._model.parameters["backbone"], model._model.parameters["head"]))
    ids = family_of(model.config).published_ids(model.config)
    for ours, original in zip(*map(jax.tree.leaves, ((backbone, head), expected)), strict=True):
        named = np.flatnonzero(ids >= 0) if len(ours) == model.config.padded_vocabulary_size else slice(None)
        np.testing.assert_array_equal(ours[named], np.asarray(original)[named])


def test_the_files_of_the_tokenizer_are_the_published_ones(model: DNAModel, written: Path) -> None:
    content = (written / "vocab.txt").read_bytes()
    if model.config == V2:
        digest = "c00e0ad166d6ab3f7540ebc92270392e581bb3106763412f29034b49323e1052"
        assert hashlib.sha256(content).hexdigest() == digest
    tokenizer = AutoTokenizer.from_pretrained(written)
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGTN"), size, p=[0.22] * 4 + [0.12])) for size in rng.integers(1, 120, 300)]
    assert [ids.tolist() for ids in model.encode(texts)] == tokenizer(texts)["input_ids"]
    lower = [text.lower() for text in texts]
    assert [ids.tolist() for ids in model.encode(lower)] == [ids.tolist() for ids in model.encode(texts)]


def test_the_names_are_those_of_the_published_file(written: Path, model: DNAModel) -> None:
    names = set(load_file(written / "model.safetensors"))
    layer = "esm.encoder.layer.1."
    assert {"esm.contact_head.regression.weight", "esm.embeddings.position_embeddings.weight"} <= names
    assert (f"{layer}attention.self.rotary_embeddings.inv_freq" in names) == (model.config == V2)
    assert (f"{layer}intermediate.dense.bias" in names) == (model.config == V1)
    assert len(names) == 12 + 2 * (16 if model.config == V1 else 15)


def test_transformers_computes_the_same_of_v1(tmp_path: Path) -> None:
    model = DNAModel(random_model(V1))
    model.save_pretrained(tmp_path / "lm", "masked-lm")
    assert type(AutoModelForMaskedLM.from_pretrained(tmp_path / "lm")).__name__ == "EsmForMaskedLM"
    encoder, tokenizer = AutoModel.from_pretrained(tmp_path / "lm"), AutoTokenizer.from_pretrained(tmp_path / "lm")
    for sequence in SEQUENCES[:2]:
        with torch.no_grad():
            hidden = encoder.eval()(**tokenizer(sequence, return_tensors="pt")).last_hidden_state[0].numpy()
        np.testing.assert_allclose(model.embed(sequence, "tokens"), hidden[1:], atol=1e-4)
        np.testing.assert_allclose(model.embed(sequence), hidden[1:].mean(axis=0), atol=1e-4)
    task = TaskConfig("single_label_classification", ("no", "yes"))
    classifier = DNAModel(random_model(V1, task))
    classifier.save_pretrained(tmp_path / "classifier")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "classifier").eval()
    with torch.no_grad():
        logits = theirs(**tokenizer(SEQUENCES[0], return_tensors="pt")).logits
    np.testing.assert_allclose(classifier.predict(SEQUENCES[0]), torch.softmax(logits, -1)[0].numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("nt-500m", 485_699_306), ("nt-2.5b", 2_547_801_226), ("nt-v2-50m", 55_904_972), ("nt-v2-100m", 97_889_132),
        ("nt-v2-250m", 235_120_780), ("nt-v2-500m", 498_345_436),
    ],
)  # fmt: skip
def test_presets_have_the_published_numbers_of_parameters(preset: str, parameters: int) -> None:
    """Those of the published files: with the head of contacts, and tables of positions that are not used."""
    config = PRESETS[preset].model
    family, shapes = family_of(config), parameter_shapes(LanguageModel, config)
    absent = config.padded_vocabulary_size - family.published_size(config)
    padding = absent * (2 * config.hidden_size + 1)
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes)) - padding
    count += sum(tensor.size for name, tensor in family.unused_tensors(config).items() if not name.endswith("inv_freq"))
    # v1 has two rows of positions that no model uses.
    assert count + (2 * config.hidden_size if config.positions == "learned" else 0) == parameters


def other_vocabulary(directory: Path) -> None:
    version = V1 if (directory / "vocab.txt").read_text().count("<eos>") else V2
    family_of(version).write_tokenizer(directory, version)


def without_last_norm(directory: Path) -> None:
    tensors = load_file(directory / "model.safetensors")
    del tensors["esm.encoder.emb_layer_norm_after.weight"]
    save_file(tensors, directory / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (other_vocabulary, "vocabulary of v"),
        (without_last_norm, "missing: esm.encoder.emb_layer_norm_after.weight"),
        (lambda path: change(path / "config.json", token_dropout=...), "token_dropout"),
        (lambda path: change(path / "config.json", vocab_size=33), "proteins"),
        (lambda path: change(path / "config.json", emb_layer_norm_before=True), "emb_layer_norm_before"),
        (lambda path: change(path / "config.json", position_embedding_type="relative_key"), "position_embedding_type"),
    ],
)
def test_directories_that_contradict_themselves_are_refused(written: Path, damage: Any, sentence: str) -> None:
    damage(written)
    with pytest.raises(InputError, match=sentence):
        load_directory(written)


def test_sequences_beyond_the_positions_are_refused(model: DNAModel) -> None:
    longest = model.config.longest
    assert len(model.embed("ACGTTG" * longest, "bases")) == 6 * longest
    with pytest.raises(InputError, match="at most"):
        model.embed("ACGTTG" * longest + "A")


def test_unused_tensors_of_other_transformers_are_left_out(written: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(written, tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    tensors = {name: tensor for name, tensor in tensors.items() if "contact" not in name and "inv_freq" not in name}
    tensors["esm.embeddings.position_ids"] = np.arange(42)[None]
    save_file(tensors, other / "model.safetensors")
    first, second = (load_directory(directory).parameters for directory in (written, other))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, first, second)))


def haiku_parameters(tensors: dict[str, np.ndarray], root: str) -> dict[str, dict[str, np.ndarray]]:
    """Returns the tensors of an exported directory as the release for JAX names them."""
    layer_names = {
        "attention.self.query": "self_attention/query", "attention.self.key": "self_attention/key",
        "attention.self.value": "self_attention/value", "attention.output.dense": "self_attention/mha_output",
        "attention.LayerNorm": "self_attention_layer_norm", "intermediate.dense": "fc1", "output.dense": "fc2",
        "LayerNorm": "final_layer_norm",
    }  # fmt: skip
    names = {
        "esm.embeddings.word_embeddings": f"{root}/~/embed",
        "esm.embeddings.position_embeddings": f"{root}/~/esm_learned_positional_embeddings/~/embed",
        "esm.encoder.emb_layer_norm_after": f"{root}/~/roberta_lm_head/~/emb_layer_norm_after",
        "lm_head.dense": f"{root}/~/roberta_lm_head/~/lm_head_fc_1",
        "lm_head.layer_norm": f"{root}/~/roberta_lm_head/~/lm_head_layer_norm",
        "lm_head.decoder": f"{root}/~/roberta_lm_head/~/lm_final_fc",
        "lm_head": f"{root}/~/roberta_lm_head/~/lm_final_fc",
    }
    for layer in range(2):
        for theirs, ours in layer_names.items():
            names[f"esm.encoder.layer.{layer}.{theirs}"] = f"{root}/attention_layer_{layer}/~/{ours}"
    parameters: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        if module not in names:
            continue
        if "norm" in module.lower():
            leaf = {"weight": "scale", "bias": "offset"}[kind]
        elif "embeddings" in module:
            leaf = "embeddings"
        else:
            leaf, tensor = ("w", np.asfortranarray(tensor.T)) if kind == "weight" else ("b", tensor)
        parameters.setdefault(names[module], {})[leaf] = tensor
    return parameters


@pytest.mark.parametrize("config", [V1, V2], ids=["v1", "v2"])
def test_the_release_for_jax_is_read(config: ModelConfig, tmp_path: Path) -> None:
    model = DNAModel(random_model(dataclasses.replace(config, layer_norm_epsilon=1e-5)))
    model.save_pretrained(tmp_path / "model", "masked-lm")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    if config == V2:
        del tensors["esm.embeddings.position_embeddings.weight"]
    directory = tmp_path / "jax"
    directory.mkdir()
    parameters = haiku_parameters(tensors, "esm_transformer")
    parameters = {name.replace("self_attention/", "mha/"): leaves for name, leaves in parameters.items()}
    joblib.dump(parameters, directory / "pytree_ckpt.joblib")
    rotary = config == V2
    settings = {
        "embed_dim": 30, "num_layers": 2, "attention_heads": 5, "ffn_embed_dim": 44, "max_positions": 40,
        "token_dropout": not rotary, "masking_ratio": 0.15, "masking_prob": 0.8, "embed_scale": 1.0,
        "emb_layer_norm_before": False, "use_rotary_embedding": rotary, "add_bias_ffn": not rotary, "k_for_kmers": 6,
    }  # fmt: skip
    (directory / "hyperparams.json").write_text(json.dumps(settings))
    read = DNAModel.from_pretrained(directory)
    assert dataclasses.replace(read.config, initializer_range=0.2) == model.config
    np.testing.assert_array_equal(read.embed(SEQUENCES[:2]), model.embed(SEQUENCES[:2]))


def test_a_joblib_file_that_holds_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hyperparams.json").write_text("{}")
    for contents, sentence in ((Trap(), "touch"), ({"a": [1]}, "dictionary"), (np.array([Trap()]), "objects|touch")):
        joblib.dump(contents, tmp_path / "ckpt.joblib")
        with pytest.raises(InputError, match=sentence):
            load_directory(tmp_path)
    for damaged in (b"\x80\x04}", b"\x80\x04\x8a\x04ab", b"\x80\x04X\x08", b"R"):
        (tmp_path / "ckpt.joblib").write_bytes(damaged)
        with pytest.raises(InputError, match=r"damaged|arrays"):
            load_directory(tmp_path)
    assert not (tmp_path / "sprung").exists()
