"""Directories made by transformers, with the quirks of published and older files, become the same parameters here."""

import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from markdown_it import MarkdownIt
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
)

from dnabert_jax.commands.cli import run
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interop.export import export_model
from dnabert_jax.interop.huggingface import to_huggingface
from dnabert_jax.interop.load import load_directory
from dnabert_jax.io.text import valid_unicode
from dnabert_jax.pretrained import DNAModel
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.training.saved_model import SavedModel, read_saved_model, write_saved_model
from tests.interop.conftest import (
    SIZE,
    as_old_pickle,
    as_parts,
    as_pickle,
    as_pickled_parts,
    change_config,
    tensors_of,
)
from tests.random_models import random_model

MULTI_LABEL = "multi_label_classification"


def assert_same_parameters(directory: Path, other: Path) -> SavedModel:
    ours, theirs = load_directory(directory), load_directory(other)
    assert ours.description.config == theirs.description.config
    assert jax.tree.all(jax.tree.map(np.array_equal, ours.parameters, theirs.parameters))
    return ours


def imported(model: SavedModel) -> dict[str, Any]:
    return model.description.provenance["imported"]


def test_the_configuration_and_every_tensor_are_read(made: Path) -> None:
    model = load_directory(made)
    assert model.config == ModelConfig(
        k=3, hidden_size=30, num_layers=2, num_heads=5, intermediate_size=70, max_positions=40, initializer_range=0.2
    )
    assert model.parameters.keys() == {"backbone", "head"}
    assert to_huggingface(model.parameters, model.config).keys() == tensors_of(made).keys()
    assert (imported(model)["left_out"], imported(model)["notes"]) == ({}, [])
    # They lie where JAX takes them without a copy.
    for leaf in jax.tree.leaves(model.parameters):
        assert jax.device_put(leaf, jax.devices()[0]).unsafe_buffer_pointer() == leaf.ctypes.data


def rewritten(write: Callable[[Path, dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        tensors = tensors_of(directory)
        (directory / "model.safetensors").unlink()
        write(directory, tensors)

    return change


def bias_of_the_decoder_alone(directory: Path) -> None:
    tensors = tensors_of(directory)
    tensors["cls.predictions.decoder.bias"] = tensors.pop("cls.predictions.bias")
    safetensors.torch.save_file(tensors, directory / "model.safetensors")


def few_settings(directory: Path) -> None:
    """The original's configuration says little; what it does not say is as in BERT."""
    settings = json.loads((directory / "config.json").read_text())
    for name in ("layer_norm_eps", "model_type", "type_vocab_size", "pad_token_id", "hidden_dropout_prob"):
        settings.pop(name)
    (directory / "config.json").write_text(json.dumps(settings))


def no_vocabulary(directory: Path) -> None:
    (directory / "vocab.txt").unlink()


def vocabulary_of_the_tokenizer(directory: Path) -> None:
    no_vocabulary(directory)
    numbers = {token: number for number, token in enumerate(KmerTokenizer(3).tokens)}
    (directory / "tokenizer.json").write_text(json.dumps({"model": {"vocab": numbers}}))


@pytest.mark.parametrize(
    "change",
    [
        *map(rewritten, (as_pickle, as_old_pickle, as_parts, as_pickled_parts)),
        bias_of_the_decoder_alone, few_settings, no_vocabulary, vocabulary_of_the_tokenizer,
    ],
)  # fmt: skip
def test_every_way_to_write_a_directory_gives_the_same(made: Path, copy: Path, change: Callable[[Path], None]) -> None:
    change(copy)
    assert_same_parameters(copy, made)


def test_names_and_settings_of_published_files_are_understood(made: Path, copy: Path) -> None:
    """As in the published DNABERT-6: gamma, beta, a decoder, position numbers, settings that nothing reads."""
    (copy / "model.safetensors").unlink()
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors_of(made).items()
    }
    assert any("gamma" in name for name in old)
    old["cls.predictions.decoder.weight"] = old["bert.embeddings.word_embeddings.weight"].clone()
    old["cls.predictions.decoder.bias"] = old["cls.predictions.bias"].clone()
    old["bert.embeddings.position_ids"] = torch.arange(40)[None]
    as_pickle(copy, old)
    change_config(copy, rnn="lstm", split=10, num_rnn_layer=2, rnn_dropout=0.0, finetuning_task=None, num_labels=2)
    # Those on the hub name code, which is not run.
    change_config(copy, auto_map={"AutoModel": "dnabert_layer.BertModel"})
    left_out = imported(assert_same_parameters(copy, made))["left_out"]
    assert left_out.keys() == {
        "cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "bert.embeddings.position_ids",
    }  # fmt: skip
    assert left_out["cls.predictions.decoder.weight"] == "bert.embeddings.word_embeddings.weight once more"


def padded(copy: Path, rows: int) -> BertForMaskedLM:
    """Resizes the vocabulary as transformers does, and makes the new rows count."""
    model = BertForMaskedLM.from_pretrained(copy)
    model.resize_token_embeddings(rows)
    with torch.no_grad():
        model.get_input_embeddings().weight[69:] = 7.0
        model.cls.predictions.bias[69:] = -torch.inf
    model.save_pretrained(copy)
    return model.eval()


def tied_decoder(directory: Path) -> None:
    """It need not be tied beyond the vocabulary."""
    tensors = tensors_of(directory)
    decoder = tensors["bert.embeddings.word_embeddings.weight"].clone()
    decoder[69:] = 0
    (directory / "model.safetensors").unlink()
    as_pickle(directory, {**tensors, "cls.predictions.decoder.weight": decoder})


def added_token(directory: Path) -> None:
    (directory / "vocab.txt").write_text((directory / "vocab.txt").read_text() + "[SPECIES]\n")


@pytest.mark.parametrize(
    ("rows", "change"), [(72, tied_decoder), (72, no_vocabulary), (128, lambda _: None), (70, added_token)]
)
def test_padding_of_the_vocabulary_is_dropped(
    made: Path, copy: Path, rows: int, change: Callable[[Path], None]
) -> None:
    padded(copy, rows)
    change(copy)
    (note,) = imported(assert_same_parameters(copy, made))["notes"]
    assert f"69 to {rows - 1}" in note


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "bert._orig_mod."]
)
@pytest.mark.parametrize("bare", [False, True])
def test_prefixes_of_wrappers_are_stripped(made: Path, copy: Path, prefix: str, bare: bool) -> None:
    def wrapped(name: str) -> str:
        if prefix.startswith("bert."):
            return name.replace("bert.", prefix)
        return prefix + (name.removeprefix("bert.") if bare else name)

    safetensors.torch.save_file(
        {wrapped(name): tensor for name, tensor in tensors_of(made).items()}, copy / "model.safetensors"
    )
    (note,) = imported(assert_same_parameters(copy, made))["notes"]
    assert all(f"{part}." in note for part in prefix.split(".") if part not in ("bert", ""))


def test_a_wrapped_and_padded_model_computes_what_transformers_computes(
    copy: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    theirs = padded(copy, 128)
    tensors = {f"module.{name}": tensor for name, tensor in tensors_of(copy).items()}
    (copy / "model.safetensors").unlink()
    as_pickle(copy, tensors)
    model = DNAModel.from_pretrained(copy)
    with torch.no_grad():
        ids = torch.tensor(model.encode("ACGTTGCNAAGCT"))[None]
        output = theirs(ids, output_hidden_states=True)
    ours = model.embed("ACGTTGCNAAGCT", pooling="tokens")
    np.testing.assert_allclose(ours, output.hidden_states[-1][0, 1:-1], atol=1e-5)
    assert len([record for record in caplog.records if record.name.startswith("dnabert_jax.")]) == 2

    assert run(["import", str(copy), "--to", str(copy / "model")]) == 0
    said = capsys.readouterr().out
    sizes = "--preset dnabert3 --model.hidden-size 30 --model.num-layers 2 --model.num-heads 5"
    for part in ("69 to 127", "module.", "DNABERT on 3-mers, 2 layers of 30", sizes):
        assert part in said
    assert run(["export", str(copy / "model"), "--to", str(copy / "back"), "--format", "both"]) == 0
    assert_same_parameters(copy / "back", copy)
    back = AutoModelForMaskedLM.from_pretrained(copy / "back").eval()
    with torch.no_grad():
        logits = back(ids).logits
    np.testing.assert_allclose(logits, output.logits[..., :69], atol=1e-5)
    (copy / "pytorch_model.bin").write_bytes(b"damaged")
    capsys.readouterr()
    assert run(["import", str(copy), "--out", str(copy / "again")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (copy / "again").exists()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_weights_are_read_as_they_are(made: Path, copy: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    narrow = {name: tensor.to(dtype) for name, tensor in tensors_of(made).items()}
    safetensors.torch.save_file(narrow, copy / "model.safetensors")
    pickled = Path(shutil.copytree(copy, tmp_path / "pickled"))
    (pickled / "model.safetensors").unlink()
    as_pickle(pickled, narrow)
    assert_same_parameters(copy, pickled)
    table = load_directory(copy).parameters["backbone"]["embeddings"]["token"]["table"][:69]
    assert np.array_equal(table, narrow["bert.embeddings.word_embeddings.weight"].float().numpy())


def test_heads_that_dnabert_lacks_are_left_out_and_a_pooler_is_kept(tmp_path: Path) -> None:
    torch.manual_seed(1)
    BertForPreTraining(BertConfig(**SIZE)).save_pretrained(tmp_path / "nsp")
    model = load_directory(tmp_path / "nsp")
    assert imported(model)["left_out"].keys() == {"cls.seq_relationship.weight", "cls.seq_relationship.bias"}
    assert model.parameters.keys() == {"backbone", "pooler", "head"}
    # A bare encoder has names without prefix.
    encoder = BertModel(BertConfig(**SIZE))
    encoder.save_pretrained(tmp_path / "encoder")
    parameters = load_directory(tmp_path / "encoder").parameters
    assert parameters.keys() == {"backbone", "pooler"}
    assert np.array_equal(parameters["pooler"]["dense"]["kernel"], encoder.pooler.dense.weight.detach().numpy().T)
    with pytest.raises(InputError, match="encoder"):
        load_directory(tmp_path / "encoder", double_bias=True)


def test_the_bias_that_the_original_adds_twice_can_be_doubled(made: Path) -> None:
    """The head as BertLMPredictionHead of the original computes it: decoder.bias is bias, and both are added."""
    ours = load_directory(made, double_bias=True).parameters["head"]["bias"][:69]
    assert np.array_equal(ours, 2 * tensors_of(made)["cls.predictions.bias"].numpy())
    assert np.abs(ours).max() > 0


@pytest.mark.parametrize(
    ("settings", "problem", "labels"),
    [
        ({"num_labels": 1}, "regression", ("LABEL_0",)),
        ({"num_labels": 3}, "single_label_classification", ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"id2label": {0: "no", 1: "yes"}, "classifier_dropout": 0.3}, "single_label_classification", ("no", "yes")),
        ({"num_labels": 2, "problem_type": "regression"}, "regression", ("LABEL_0", "LABEL_1")),
        ({"num_labels": 2, "problem_type": MULTI_LABEL}, MULTI_LABEL, ("LABEL_0", "LABEL_1")),
    ],
)
def test_classifiers_survive_the_round_trip_to_the_bit(
    tmp_path: Path, settings: dict, problem: str, labels: tuple[str, ...]
) -> None:
    torch.manual_seed(3)
    theirs = BertForSequenceClassification(BertConfig(**SIZE, **settings))
    theirs.save_pretrained(tmp_path / "theirs")
    model = load_directory(tmp_path / "theirs")
    task = model.description.task
    assert task is not None
    assert (task.problem, task.labels) == (problem, labels)
    assert task.dropout == settings.get("classifier_dropout", 0.1)
    write_saved_model(tmp_path / "ours", model)
    assert export_model(read_saved_model(tmp_path / "ours"), tmp_path / "back") == "classifier"
    before, after = tensors_of(tmp_path / "theirs"), tensors_of(tmp_path / "back")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    back = BertForSequenceClassification.from_pretrained(tmp_path / "back")
    assert back.config.id2label == dict(enumerate(labels))
    assert back.config.problem_type == problem


ODD_LABELS = (
    "a|b", "line\nend", "$\\x$", "\"quoted\": 'yes' # no", "`code` ``", "- [x]: {y}", "caf\udce9", "<b>&amp;", " ",
)  # fmt: skip


def finetuned(provenance: dict[str, object]) -> SavedModel:
    config = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32, max_positions=24)
    return random_model(config, TaskConfig("single_label_classification", ODD_LABELS), **provenance)


def test_labels_of_any_text_are_exported_and_stand_in_the_card(tmp_path: Path) -> None:
    measured = {"config": {"epochs": 3}, "data": "a|b\n`c`", "sizes": {"train": 9}, "seed": 0, "epoch": 1}
    model = finetuned({"finetuning": {**measured, "test": {"auc": 0.5, "f1 of a|b": 0.25, "mcc": None}}})
    write_saved_model(tmp_path / "model", model)
    assert run(["export", str(tmp_path / "model"), "--out", str(tmp_path / "out")]) == 0
    assert load_directory(tmp_path / "out").description.task == model.description.task
    assert tuple(BertConfig.from_pretrained(tmp_path / "out").id2label.values()) == ODD_LABELS
    card = (tmp_path / "out/README.md").read_text("utf-8")
    _, header, text = card.split("---\n", 2)
    assert yaml.safe_load(header)["pipeline_tag"] == "text-classification"
    (outputs,) = [line for line in text.splitlines() if line.startswith("Outputs")]
    shown = html.unescape(re.sub("<[^>]*>", "", MarkdownIt().render(outputs)))
    assert ", ".join(f"'{' '.join(valid_unicode(label).split())}'" for label in ODD_LABELS) in shown
    assert r"| f1 of a\|b | 0.2500 |" in text.splitlines()


@pytest.mark.parametrize("provenance", [{"finetuning": {}}, {"finetuning": None}, {"imported": {"sha256": 1}}])
def test_a_card_that_fails_costs_no_export(
    provenance: dict[str, object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = finetuned(provenance)
    assert export_model(model, tmp_path / "out") == "classifier"
    assert load_directory(tmp_path / "out").description.task == model.description.task
    assert not (tmp_path / "out/README.md").exists()
    (message,) = [record.getMessage() for record in caplog.records if record.name.startswith("dnabert_jax.")]
    assert "README.md" in message


def test_safetensors_need_neither_torch_nor_transformers(copy: Path, tmp_path: Path) -> None:
    program = f"""
import importlib.util, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "transformers", "tokenizers", "huggingface_hub"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
importlib.util.find_spec = lambda name: None  # as for what is not installed; a finder cannot say so
from dnabert_jax.commands.cli import run
sys.exit(run(["import", {str(copy)!r}, "--out", {str(tmp_path / "m")!r}])
         or run(["export", {str(tmp_path / "m")!r}, "--to", {str(tmp_path / "e")!r}])
         or 10 * run(["export", {str(tmp_path / "m")!r}, "--to", {str(tmp_path / "p")!r}, "--format", "pytorch"]))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 20, result.stderr
    assert "(the extra huggingface)" in result.stderr
    assert_same_parameters(tmp_path / "e", copy)
