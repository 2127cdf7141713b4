"""What is wrong with a directory of a model is one sentence, and no pickle runs code."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from dnabert_jax.errors import InputError
from dnabert_jax.interop.load import load_directory
from dnabert_jax.interop.weights import open_weights
from dnabert_jax.sequence.kmers import KmerTokenizer
from tests.interop.conftest import Trap, as_old_pickle, as_parts, as_pickle, change_config, tensors_of, truncate

Damage = Callable[[Path], object]
QUERY, BIAS = "bert.encoder.layer.1.attention.self.query.weight", "cls.predictions.bias"


def as_safetensors(directory: Path, tensors: dict[str, torch.Tensor]) -> None:
    safetensors.torch.save_file(tensors, directory / "model.safetensors")


def put(name: str, tensor: torch.Tensor | None, save: Callable = as_safetensors, **more: torch.Tensor) -> Damage:
    """Writes the weights with another tensor, or without it; in names of further ones, __ stands for a dot."""

    def damage(directory: Path) -> None:
        tensors = tensors_of(directory) | {name: tensor} | {key.replace("__", "."): more[key] for key in more}
        save(directory, {key: each for key, each in tensors.items() if each is not None})

    return damage


def settings(**changed: object) -> Damage:
    return lambda directory: change_config(directory, **changed)


def text(name: str, content: str) -> Damage:
    return lambda directory: (directory / name).write_text(content)


def removed(name: str, then: Damage = lambda _: None) -> Damage:
    def damage(directory: Path) -> None:
        then(directory)
        (directory / name).unlink()

    return damage


def pickled(contents: object) -> Damage:
    return removed("model.safetensors", lambda directory: torch.save(contents, directory / "pytorch_model.bin"))


def labels(**of: object) -> Damage:
    classifier = put(
        "classifier.weight", torch.ones(3, 30), classifier__bias=torch.ones(3),
        bert__pooler__dense__weight=torch.ones(30, 30), bert__pooler__dense__bias=torch.ones(30),
    )  # fmt: skip
    return lambda directory: (classifier(directory), change_config(directory, id2label=of))


def adapter(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text("{}")


def missing_part(directory: Path) -> None:
    put(BIAS, torch.ones(69), as_parts)(directory)
    (directory / "model.safetensors").unlink()
    (directory / "model-00002-of-00002.safetensors").unlink()


INDEX = "model.safetensors.index.json"

BAD_INPUT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (removed("model.safetensors"), "has no weights"),
    "no config": (removed("config.json"), "has no config.json"),
    "config no JSON": (text("config.json", "{"), "config.json is no JSON"),
    "config a list": (text("config.json", "[]"), "config.json holds no values by name"),
    "config too deep": (text("config.json", "[" * 100_000), "config.json is no JSON"),
    "truncated": (truncate, "model.safetensors is damaged"),
    "empty file": (text("model.safetensors", ""), "model.safetensors is damaged"),
    "missing tensor": (put(QUERY, None), rf"Tensors are missing: {QUERY} \(30, 30\)\."),
    "other shape": (put(QUERY, torch.ones(30, 20)), rf"{QUERY} is \(30, 20\), not \(30, 30\)"),
    "unknown tensor": (put("bert.extra.weight", torch.ones(1)), "has: bert.extra"),
    "a layer more": (put(QUERY.replace("1", "2"), torch.ones(30, 30)), "layer.2"),
    "decoder not tied": (put("cls.predictions.decoder.weight", torch.ones(69, 30)), "which it must repeat"),
    "gamma and weight": (put("bert.embeddings.LayerNorm.gamma", torch.ones(30)), "LayerNorm.weight twice"),
    "files disagree": (put(BIAS, torch.ones(69), as_pickle), "disagree on cls.predictions.bias"),
    "a file has less": (put(BIAS, None, as_pickle), "disagree: cls.predictions.bias is in one of them only"),
    "no tensors by name": (pickled([torch.ones(2)]), "other things than named, dense tensors"),
    "part missing": (missing_part, "names model-00002-of-00002.safetensors, which is not in"),
    "part outside": (text(INDEX, '{"weight_map": {"x": "../model.safetensors"}}'), r"names \.\./model"),
    "index a list": (text(INDEX, "[]"), "holds no values by name"),
    "index no index": (text(INDEX, '{"weight_map": 1}'), "no index of weight files"),
    "part a number": (text(INDEX, '{"weight_map": {"x": 1}}'), "names 1, which is not in"),
    "parts disagree with the whole": (put(BIAS, torch.ones(69), as_parts), "disagree on cls.predictions.bias"),
    "eight bits": (put(QUERY, torch.ones(30, 30).to(torch.float8_e5m2)), f"has {QUERY} as F8_E5M2"),
    "whole numbers": (put(QUERY, torch.ones(30, 30, dtype=torch.int64)), f"{QUERY} is of int64"),
    "name a number": (pickled({1: torch.ones(1)}), "other things than named, dense tensors"),
    "sparse": (pickled({"x": torch.ones(1).to_sparse()}), "other things than named, dense tensors"),
    "a few bytes of any size": (pickled({"x": torch.ones(1).expand(10**12)}), "than named, dense tensors"),
    "classifier no matrix": (put("classifier.weight", torch.ones(3)), r"classifier.weight is \(3,\): it must be a m"),
    "classifier a bias": (put("classifier.bias", torch.ones(3)), "has: classifier.b"),
    "rnn of five gates": (
        put("classifier.weight", torch.ones(2, 30), rnn__weight_hh_l0=torch.ones(150, 30)), "has: rnn.weight_hh_l0"
    ),
    "layers without end": (settings(num_hidden_layers=10**6), "tensors, too few for num_hidden_layers 1000000"),
    "sizes without end": (settings(hidden_size=10**30), "that must be at most 1048576"),
    "sizes far too large": (settings(intermediate_size=10**6), r"is \(70, 30\), not \(1000000, 30\)"),
    "vocabulary no number": (removed("vocab.txt", settings(vocab_size=[1])), r"vocab_size = \[1\]"),
    "labels too few": (labels(**{"0": "no", "1": "yes"}), "names 2 labels in id2label: the classifier has 3, 0 to 2"),
    "labels no names": (labels(**{"0": 1, "1": ["a"], "2": "b"}), r"config.json cannot be used as TaskConfig"),
    "not finite": (put(BIAS, torch.full((69,), torch.nan)), "cls.predictions.bias has values that"),
    "classifier of tokens": (put("classifier.weight", torch.ones(3, 30)), "a classifier and no pooler"),
    "RoBERTa": (settings(model_type="roberta"), "says model_type = 'roberta': only BERT"),
    "DNABERT-2": (settings(alibi_starting_size=512), "says ALiBi, as DNABERT-2 does"),
    "relative positions": (settings(position_embedding_type="relative_key"), "embedding_type = 'relative_key'"),
    "other activation": (settings(hidden_act="relu"), "hidden_act = 'relu'"),
    "vocabulary too small": (settings(vocab_size=68), "vocab_size = 68.*69"),
    "vocabulary of another size": (settings(vocab_size=72), "69 rows.*72"),
    "an adapter alone": (adapter, "merge_and_unload"),
    "vocabulary in another order": (
        text("vocab.txt", "\n".join(sorted(KmerTokenizer(3).tokens))), "vocab.txt.* token 0 is "
    ),
    "vocabulary of words": (text("vocab.txt", "[PAD]\n[UNK]\nsomething"), "vocab.txt.* token 5 is "),
    "a number that is text": (settings(hidden_size="30"), "hidden_size = '30': that must be a number"),
    "heads do not divide": (settings(num_attention_heads=4), "does not divide over num_heads 4"),
    "other depth": (settings(num_hidden_layers=3), r"Tensors are missing: bert.encoder.layer.2.*and 8 more\."),
    "provenance no JSON": (text("provenance.json", "{"), "provenance.json is no JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BAD_INPUT))
def test_bad_input_is_one_sentence(copy: Path, name: str) -> None:
    damage, sentence = BAD_INPUT[name]
    damage(copy)
    with pytest.raises(InputError, match=sentence) as caught:
        load_directory(copy)
    assert "\n" not in str(caught.value)


def test_labels_that_nobody_named_may_be_too_few(copy: Path) -> None:
    labels(**{"0": "LABEL_0", "1": "LABEL_1"})(copy)
    task = load_directory(copy).description.task
    assert task is not None
    assert task.labels == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize("how", ["zipped", "old", "bare"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (copy / "model.safetensors").unlink()
    path = copy / "pytorch_model.bin"
    if how == "bare":
        path.write_bytes(pickle.dumps(Trap()))
    else:
        torch.save({"trap": Trap()}, path, _use_new_zipfile_serialization=how == "zipped")
    with pytest.raises(InputError, match=path.name):
        load_directory(copy)
    assert not Path("sprung").exists()
    # The trap does work.
    if how != "bare":
        torch.load(path, weights_only=False)
        assert Path("sprung").exists()


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
