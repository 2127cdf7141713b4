"""Directories made by transformers, with the quirks of published and older files, become the same parameters here."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.torch
import torch
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
)

from dnabert_jax.config import ModelConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interop.export import export_model
from dnabert_jax.interop.load import load_directory
from dnabert_jax.interop.weights import open_weights
from dnabert_jax.sequence.vocabulary import vocabulary_tokens
from dnabert_jax.training.saved_model import read_saved_model, write_saved_model
from launch.cli import run

SIZE = {
    "vocab_size": 69, "hidden_size": 30, "num_hidden_layers": 2, "num_attention_heads": 5, "intermediate_size": 70,
    "max_position_embeddings": 40, "initializer_range": 0.2,
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model as transformers writes it, at odd sizes, with the original's vocabulary."""
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("made")
    model = BertForMaskedLM(BertConfig(**SIZE))
    torch.nn.init.normal_(model.cls.predictions.bias)
    model.save_pretrained(directory)
    (directory / "vocab.txt").write_text("\n".join(vocabulary_tokens(3)) + "\n")
    return directory


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def tensors_of(directory: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(directory / "model.safetensors")


def change_config(directory: Path, **settings: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def assert_same_parameters(directory: Path, other: Path) -> None:
    ours, theirs = load_directory(directory).model, load_directory(other).model
    assert ours.description.config == theirs.description.config
    assert jax.tree.all(jax.tree.map(np.array_equal, ours.parameters, theirs.parameters))


def test_the_configuration_and_every_tensor_are_read(made: Path) -> None:
    loaded = load_directory(made)
    assert loaded.model.config == ModelConfig(
        k=3, hidden_size=30, num_layers=2, num_heads=5, intermediate_size=70, max_positions=40, initializer_range=0.2
    )
    assert loaded.model.parameters.keys() == {"bert", "head"}
    assert loaded.used + len(loaded.left_out) == len(tensors_of(made))
    assert loaded.left_out == {}


def as_pickle(directory: Path, tensors: dict[str, torch.Tensor]) -> None:
    torch.save(tensors, directory / "pytorch_model.bin")


def as_old_pickle(directory: Path, tensors: dict[str, torch.Tensor]) -> None:
    torch.save(tensors, directory / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def as_parts(directory: Path, tensors: dict[str, torch.Tensor]) -> None:
    names = sorted(tensors)
    where = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(names)}
    for file in set(where.values()):
        safetensors.torch.save_file({name: tensors[name] for name in names if where[name] == file}, directory / file)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def as_pickled_parts(directory: Path, tensors: dict[str, torch.Tensor]) -> None:
    names = sorted(tensors)
    where = {name: f"pytorch_model-0000{1 + number % 2}-of-00002.bin" for number, name in enumerate(names)}
    for file in set(where.values()):
        torch.save({name: tensors[name] for name in names if where[name] == file}, directory / file)
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))


@pytest.mark.parametrize("write", [as_pickle, as_old_pickle, as_parts, as_pickled_parts])
def test_every_way_to_write_the_weights_gives_the_same(
    made: Path, copy: Path, write: Callable[[Path, dict[str, torch.Tensor]], None]
) -> None:
    (copy / "model.safetensors").unlink()
    write(copy, tensors_of(made))
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
    assert_same_parameters(copy, made)
    left_out = load_directory(copy).left_out
    assert left_out.keys() == {
        "cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "bert.embeddings.position_ids",
    }  # fmt: skip
    assert left_out["cls.predictions.decoder.weight"] == "bert.embeddings.word_embeddings.weight once more"


def test_a_bias_that_only_the_decoder_has_is_used(made: Path, copy: Path) -> None:
    tensors = tensors_of(made)
    tensors["cls.predictions.decoder.bias"] = tensors.pop("cls.predictions.bias")
    safetensors.torch.save_file(tensors, copy / "model.safetensors")
    assert_same_parameters(copy, made)


def test_settings_that_are_not_said_are_those_of_bert(made: Path, copy: Path) -> None:
    """The original's configuration says little."""
    settings = json.loads((copy / "config.json").read_text())
    for name in ("layer_norm_eps", "model_type", "type_vocab_size", "pad_token_id", "hidden_dropout_prob"):
        settings.pop(name)
    (copy / "config.json").write_text(json.dumps(settings))
    assert_same_parameters(copy, made)


@pytest.mark.parametrize("vocabulary", ["tokenizer.json", None])
def test_k_is_found_without_vocab_txt(made: Path, copy: Path, vocabulary: str | None) -> None:
    (copy / "vocab.txt").unlink()
    if vocabulary:
        numbers = {token: number for number, token in enumerate(vocabulary_tokens(3))}
        (copy / vocabulary).write_text(json.dumps({"model": {"vocab": numbers}}))
    assert_same_parameters(copy, made)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_weights_are_read_as_they_are(made: Path, copy: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    narrow = {name: tensor.to(dtype) for name, tensor in tensors_of(made).items()}
    safetensors.torch.save_file(narrow, copy / "model.safetensors")
    pickled = Path(shutil.copytree(copy, tmp_path / "pickled"))
    (pickled / "model.safetensors").unlink()
    as_pickle(pickled, narrow)
    assert_same_parameters(copy, pickled)
    table = load_directory(copy).model.parameters["bert"]["embeddings"]["token"]["table"][:69]
    assert np.array_equal(table, narrow["bert.embeddings.word_embeddings.weight"].float().numpy())


def test_heads_that_dnabert_lacks_are_left_out_and_a_pooler_is_kept(made: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    BertForPreTraining(BertConfig(**SIZE)).save_pretrained(tmp_path / "nsp")
    loaded = load_directory(tmp_path / "nsp")
    assert loaded.left_out.keys() == {"cls.seq_relationship.weight", "cls.seq_relationship.bias"}
    assert loaded.model.parameters.keys() == {"bert", "pooler", "head"}


def test_a_bare_encoder_has_names_without_prefix(tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = BertModel(BertConfig(**SIZE))
    model.save_pretrained(tmp_path / "encoder")
    parameters = load_directory(tmp_path / "encoder").model.parameters
    assert parameters.keys() == {"bert", "pooler"}
    kernel = parameters["pooler"]["dense"]["kernel"]
    assert np.array_equal(kernel, model.pooler.dense.weight.detach().numpy().T)


@pytest.mark.parametrize(
    ("settings", "problem", "labels"),
    [
        ({"num_labels": 1}, "regression", ("LABEL_0",)),
        ({"num_labels": 3}, "single_label_classification", ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"id2label": {0: "no", 1: "yes"}, "classifier_dropout": 0.3}, "single_label_classification", ("no", "yes")),
        ({"num_labels": 2, "problem_type": "regression"}, "regression", ("LABEL_0", "LABEL_1")),
        (
            {"id2label": {0: "a", 1: "b"}, "problem_type": "multi_label_classification"},
            "multi_label_classification",
            ("a", "b"),
        ),
    ],
)
def test_classifiers_survive_the_round_trip_to_the_bit(
    tmp_path: Path, settings: dict, problem: str, labels: tuple[str, ...]
) -> None:
    torch.manual_seed(3)
    theirs = BertForSequenceClassification(BertConfig(**SIZE, **settings))
    theirs.save_pretrained(tmp_path / "theirs")
    model = load_directory(tmp_path / "theirs").model
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


def test_labels_that_nobody_named_may_be_too_few(copy: Path) -> None:
    labels(**{"0": "LABEL_0", "1": "LABEL_1"})(copy)
    task = load_directory(copy).model.description.task
    assert task is not None
    assert task.labels == ("LABEL_0", "LABEL_1", "LABEL_2")


def test_the_bias_that_the_original_adds_twice_can_be_doubled(made: Path, tmp_path: Path) -> None:
    """The head as BertLMPredictionHead of the original computes it: decoder.bias is bias, and both are added."""
    ours = load_directory(made, double_bias=True).model.parameters["head"]["bias"][:69]
    assert np.array_equal(ours, 2 * tensors_of(made)["cls.predictions.bias"].numpy())
    assert np.abs(ours).max() > 0
    BertModel(BertConfig(**SIZE)).save_pretrained(tmp_path / "encoder")
    with pytest.raises(InputError, match="no masked-LM head whose bias"):
        load_directory(tmp_path / "encoder", double_bias=True)


def test_parameters_lie_where_jax_takes_them_without_a_copy(made: Path) -> None:
    for leaf in jax.tree.leaves(load_directory(made).model.parameters):
        assert jax.device_put(leaf, jax.devices()[0]).unsafe_buffer_pointer() == leaf.ctypes.data


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_export_rounds_once(made: Path, tmp_path: Path, dtype: str) -> None:
    export_model(load_directory(made).model, tmp_path / "out", file_format="both", dtype=dtype)
    pickled = torch.load(tmp_path / "out/pytorch_model.bin")
    tensors = tensors_of(tmp_path / "out")
    assert pickled.keys() == tensors.keys()
    for name, tensor in tensors_of(made).items():
        assert torch.equal(tensors[name], tensor.to(getattr(torch, dtype)))
        assert torch.equal(pickled[name], tensors[name])
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "out").dtype == getattr(torch, dtype)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("sprung"),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (copy / "model.safetensors").unlink()
    torch.save({"trap": Trap()}, copy / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        InputError, match=r"pytorch_model.bin holds more than tensors, or is damaged, and was not loaded"
    ):
        load_directory(copy)
    assert not Path("sprung").exists()
    # The trap does work.
    torch.load(copy / "pytorch_model.bin", weights_only=False)
    assert Path("sprung").exists()


def test_a_bare_malicious_pickle_is_refused(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match=r"pytorch_model.bin"):
        load_directory(copy)
    assert not Path("sprung").exists()


def drop(name: str) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        tensors = tensors_of(directory)
        del tensors[name]
        safetensors.torch.save_file(tensors, directory / "model.safetensors")

    return damage


def put(name: str, tensor: torch.Tensor) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        safetensors.torch.save_file({**tensors_of(directory), name: tensor}, directory / "model.safetensors")

    return damage


def settings(**changed: object) -> Callable[[Path], None]:
    return lambda directory: change_config(directory, **changed)


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda directory: (directory / name).write_text(content)


def truncate(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def second_file(directory: Path) -> None:
    tensors = tensors_of(directory)
    tensors["cls.predictions.bias"] = tensors["cls.predictions.bias"] + 1
    as_pickle(directory, tensors)


def second_file_with_less(directory: Path) -> None:
    tensors = tensors_of(directory)
    del tensors["cls.predictions.bias"]
    as_pickle(directory, tensors)


def pickled(contents: object) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        (directory / "model.safetensors").unlink()
        torch.save(contents, directory / "pytorch_model.bin")

    return damage


def disagreeing_parts(directory: Path) -> None:
    tensors = tensors_of(directory)
    as_parts(directory, {**tensors, "cls.predictions.bias": tensors["cls.predictions.bias"] + 1})


def rnn_of_five_gates(directory: Path) -> None:
    put("classifier.weight", torch.ones(2, 30))(directory)
    put("rnn.weight_hh_l0", torch.ones(150, 30))(directory)


def no_vocabulary(directory: Path) -> None:
    (directory / "vocab.txt").unlink()
    change_config(directory, vocab_size=[1])


def labels(**of: object) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        put("classifier.weight", torch.ones(3, 30))(directory)
        put("classifier.bias", torch.ones(3))(directory)
        put("bert.pooler.dense.weight", torch.ones(30, 30))(directory)
        put("bert.pooler.dense.bias", torch.ones(30))(directory)
        change_config(directory, id2label=of)

    return damage


def labels_no_names(directory: Path) -> None:
    put("classifier.weight", torch.ones(2, 30))(directory)
    change_config(directory, id2label={"0": 1, "1": ["a"]})


def missing_part(directory: Path) -> None:
    tensors = tensors_of(directory)
    (directory / "model.safetensors").unlink()
    as_parts(directory, tensors)
    (directory / "model-00002-of-00002.safetensors").unlink()


def outside_part(directory: Path) -> None:
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "../model.safetensors"}}))


QUERY = "bert.encoder.layer.1.attention.self.query.weight"

BAD_INPUT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda directory: (directory / "model.safetensors").unlink(), "has no weights"),
    "no config": (lambda directory: (directory / "config.json").unlink(), "has no config.json"),
    "config no JSON": (text("config.json", "{"), "config.json is no JSON"),
    "config a list": (text("config.json", "[]"), "config.json holds no values by name"),
    "config too deep": (text("config.json", "[" * 100_000), "config.json is no JSON"),
    "truncated": (truncate, "model.safetensors is damaged"),
    "empty file": (text("model.safetensors", ""), "model.safetensors is damaged"),
    "missing tensor": (drop(QUERY), rf"Tensors are missing: {QUERY} \(30, 30\)\."),
    "other shape": (put(QUERY, torch.ones(30, 20)), rf"{QUERY} is \(30, 20\), not \(30, 30\)"),
    "unknown tensor": (put("bert.extra.weight", torch.ones(1)), "that no BERT of its config.json has: bert.extra"),
    "a layer more": (put(QUERY.replace("1", "2"), torch.ones(30, 30)), "has tensors that no BERT .*layer.2"),
    "decoder not tied": (put("cls.predictions.decoder.weight", torch.ones(69, 30)), "which it must repeat"),
    "gamma and weight": (put("bert.embeddings.LayerNorm.gamma", torch.ones(30)), "LayerNorm.weight twice"),
    "files disagree": (second_file, "disagree on cls.predictions.bias"),
    "a file has less": (second_file_with_less, "disagree: cls.predictions.bias is in one of them only"),
    "no tensors by name": (pickled([torch.ones(2)]), "other things than named, dense tensors"),
    "part missing": (missing_part, "names model-00002-of-00002.safetensors, which is not in"),
    "part outside": (outside_part, r"names \.\./model.safetensors, which is not in"),
    "index a list": (text("model.safetensors.index.json", "[]"), "holds no values by name"),
    "index no index": (text("model.safetensors.index.json", '{"weight_map": 1}'), "no index of weight files"),
    "part a number": (text("model.safetensors.index.json", '{"weight_map": {"x": 1}}'), "names 1, which is not in"),
    "parts disagree with the whole": (disagreeing_parts, "disagree on cls.predictions.bias"),
    "eight bits": (put(QUERY, torch.ones(30, 30).to(torch.float8_e5m2)), f"has {QUERY} as F8_E5M2"),
    "whole numbers": (put(QUERY, torch.ones(30, 30, dtype=torch.int64)), f"{QUERY} is of int64"),
    "name a number": (pickled({1: torch.ones(1)}), "other things than named, dense tensors"),
    "sparse": (pickled({"x": torch.ones(1).to_sparse()}), "other things than named, dense tensors"),
    "a few bytes of any size": (pickled({"x": torch.ones(1).expand(10**12)}), "than named, dense tensors"),
    "classifier no matrix": (put("classifier.weight", torch.ones(3)), r"classifier.weight is \(3,\): it must be a m"),
    "classifier a bias": (put("classifier.bias", torch.ones(3)), "that no BERT of its config.json has: classifier.b"),
    "rnn of five gates": (rnn_of_five_gates, "that no BERT of its config.json has: rnn.weight_hh_l0"),
    "layers without end": (settings(num_hidden_layers=10**6), "tensors, too few for num_hidden_layers 1000000"),
    "sizes without end": (settings(hidden_size=10**30), "that must be at most 1048576"),
    "sizes far too large": (settings(intermediate_size=10**6), r"is \(70, 30\), not \(1000000, 30\)"),
    "vocabulary no number": (no_vocabulary, r"vocab_size = \[1\]: a vocabulary of k-mers has"),
    "labels too few": (labels(**{"0": "no", "1": "yes"}), "names 2 labels in id2label: the classifier has 3, 0 to 2"),
    "labels no names": (labels_no_names, r"config.json cannot be used as TaskConfig"),
    "not finite": (put("cls.predictions.bias", torch.full((69,), torch.nan)), "cls.predictions.bias has values that"),
    "classifier of tokens": (put("classifier.weight", torch.ones(3, 30)), "a classifier and no pooler"),
    "RoBERTa": (settings(model_type="roberta"), "says model_type = 'roberta': only BERT"),
    "DNABERT-2": (settings(alibi_starting_size=512), "says ALiBi, as DNABERT-2 does"),
    "relative positions": (settings(position_embedding_type="relative_key"), "embedding_type = 'relative_key'"),
    "other activation": (settings(hidden_act="relu"), "hidden_act = 'relu'"),
    "vocabulary of another size": (settings(vocab_size=70), "vocab_size = 70: a vocabulary of 3-mers has 69 tokens"),
    "vocabulary in another order": (
        text("vocab.txt", "\n".join(sorted(vocabulary_tokens(3)))), "is not the vocabulary of a DNABERT: token 0"
    ),
    "vocabulary of words": (text("vocab.txt", "[PAD]\n[UNK]\nsomething"), "ends with no k-mer"),
    "a number that is text": (settings(hidden_size="30"), "hidden_size = '30': that must be a number"),
    "heads do not divide": (settings(num_attention_heads=4), "does not divide over num_heads 4"),
    "other depth": (settings(num_hidden_layers=3), r"Tensors are missing: bert.encoder.layer.2.*and 8 more\."),
    "provenance no JSON": (text("provenance.json", "{"), "provenance.json is no JSON"),
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False])
def test_no_damage_of_a_pickle_gives_more_than_a_sentence(copy: Path, zipped: bool) -> None:
    as_pickle(copy, tensors_of(copy)) if zipped else as_old_pickle(copy, tensors_of(copy))
    (copy / "model.safetensors").unlink()
    path, rng = copy / "pytorch_model.bin", np.random.default_rng(0)
    whole = path.read_bytes()
    refused = 0
    for _ in range(100):
        changed = bytearray(whole)
        for place in rng.integers(0, 3000, 3):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            open_weights(copy)
        except InputError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("name", list(BAD_INPUT))
def test_bad_input_is_one_sentence(copy: Path, name: str) -> None:
    damage, sentence = BAD_INPUT[name]
    damage(copy)
    with pytest.raises(InputError, match=sentence) as caught:
        load_directory(copy)
    assert "\n" not in str(caught.value)


def test_the_commands_import_and_export(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", str(copy), "--to", str(tmp_path / "model")]) == 0
    said = capsys.readouterr().out
    assert "k = 3, 2 layers of 30" in said
    assert "--preset dnabert3 --model.hidden-size 30 --model.num-layers 2 --model.num-heads 5" in said
    assert run(["export", str(tmp_path / "model"), "--to", str(tmp_path / "back"), "--format", "both"]) == 0
    assert_same_parameters(tmp_path / "back", copy)
    truncate(copy)
    capsys.readouterr()
    assert run(["import", str(copy), "--out", str(tmp_path / "again")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "again").exists()


def test_safetensors_need_neither_torch_nor_transformers(copy: Path, tmp_path: Path) -> None:
    program = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "transformers", "tokenizers", "huggingface_hub"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from launch.cli import run
sys.exit(run(["import", {str(copy)!r}, "--out", {str(tmp_path / "m")!r}])
         or run(["export", {str(tmp_path / "m")!r}, "--to", {str(tmp_path / "e")!r}])
         or 10 * run(["export", {str(tmp_path / "m")!r}, "--to", {str(tmp_path / "p")!r}, "--format", "pytorch"]))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 20, result.stderr
    assert "needs PyTorch, which is not installed" in result.stderr
    assert_same_parameters(tmp_path / "e", copy)
