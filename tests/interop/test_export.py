"""An exported directory has the weights to the bit, a tokenizer, and a card whose lines compute what we do."""

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save
from tokenizers import Tokenizer
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM

from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interop.export import export_model
from dnabert_jax.interop.load import load_directory
from dnabert_jax.interop.weights import open_weights
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sample import HELDOUT_FASTA
from dnabert_jax.sequence.kmers import KmerTokenizer, split_kmers
from dnabert_jax.sequence.vocabulary import CLS, SEP
from dnabert_jax.training.saved_model import SavedModel, read_saved_model
from tests.interop.conftest import tensors_of
from tests.random_models import random_dna, random_model


@pytest.fixture(scope="module")
def trained(trained_run: Path) -> SavedModel:
    return read_saved_model(trained_run)


@pytest.fixture(scope="module")
def exported(trained: SavedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "model"
    export_model(trained, out)
    return out


def test_a_trained_model_comes_back_to_the_bit_and_says_where_it_comes_from(
    trained: SavedModel, exported: Path
) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "provenance.json", "special_tokens_map.json",
        "tokenizer.json", "tokenizer_config.json", "vocab.txt",
    ]  # fmt: skip
    assert isinstance(AutoModelForMaskedLM.from_pretrained(exported), BertForMaskedLM)
    again = load_directory(exported).parameters
    assert jax.tree.all(jax.tree.map(np.array_equal, again, trained.parameters))
    weights = exported / "model.safetensors"
    assert save(load_file(weights), {"format": "pt"}) == weights.read_bytes()
    card = (exported / "README.md").read_text()
    loss = trained.description.provenance["pretraining"]["evaluation"]["figures"]["loss"]
    for text in (f"{loss:.4f}", "chr22_20000001-20950000_train.fa.gz", "weight decay 0.01"):
        assert text in card
    with pytest.raises(InputError, match=str(exported)):
        export_model(trained, exported)


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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_export_rounds_once(made: Path, tmp_path: Path, dtype: str) -> None:
    export_model(load_directory(made), tmp_path / "out", file_format="both", dtype=dtype)
    pickled = torch.load(tmp_path / "out/pytorch_model.bin")
    tensors = tensors_of(tmp_path / "out")
    assert pickled.keys() == tensors.keys()
    for name, tensor in tensors_of(made).items():
        assert torch.equal(tensors[name], tensor.to(getattr(torch, dtype)))
        assert torch.equal(pickled[name], tensors[name])
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "out").dtype == getattr(torch, dtype)


@pytest.mark.parametrize("strands", ["forward", "both"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "mean-max", "attention"])
def test_the_card_computes_the_logits_of_a_classifier(
    small_model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pooling: Any, strands: Any
) -> None:
    task = TaskConfig("regression", ("signal", "fold"), pooling=pooling, strands=strands)
    model, sequences = DNAModel(random_model(small_model, task)), [random_dna(length, length) for length in (12, 40)]
    model.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path / "model")
    (code,) = re.findall(r"## Use\n\n```python\n(.*?)```", Path("README.md").read_text("utf-8"), re.DOTALL)
    for sequence in sequences:
        names: dict[str, Any] = {}
        exec(code.replace("ACGTTGCAAGCT", sequence), names)  # noqa: S102
        expected = model.predict(sequence)
        np.testing.assert_allclose(names["logits"].detach().numpy()[0], expected, atol=1e-5)
    again = DNAModel.from_pretrained(tmp_path / "model")
    assert again.task == model.task
    np.testing.assert_array_equal(again.predict(sequences), model.predict(sequences))
    if pooling == "mean":
        model.save_pretrained(tmp_path / "encoder", "encoder")
        encoder = load_directory(tmp_path / "encoder")
        assert (encoder.description.task, set(encoder.parameters)) == (None, {"backbone"})


def test_a_file_is_not_kept_in_memory_by_what_was_read_of_it(made: Path, copy: Path) -> None:
    (((file,), weights),) = open_weights(copy)
    for name, tensor in tensors_of(made).items():
        assert np.array_equal(weights[name].read(), tensor)
        assert weights[name].shape == tensor.shape
    # Mapped pages count as memory of the process as long as the file is open.
    assert str(file) not in Path("/proc/self/maps").read_text()
