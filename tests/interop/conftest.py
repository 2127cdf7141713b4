"""A model as transformers writes it, and the ways to change its directory and to write its weights anew."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM

from dnabert_jax.sequence.kmers import KmerTokenizer

SIZE = {
    "vocab_size": 69, "hidden_size": 30, "num_hidden_layers": 2, "num_attention_heads": 5, "intermediate_size": 70,
    "max_position_embeddings": 40, "initializer_range": 0.2,
}  # fmt: skip


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model as transformers writes it, at odd sizes, with the original's vocabulary."""
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("made")
    model = BertForMaskedLM(BertConfig(**SIZE))
    torch.nn.init.normal_(model.cls.predictions.bias)
    model.save_pretrained(directory)
    (directory / "vocab.txt").write_text("\n".join(KmerTokenizer(3).tokens) + "\n")
    return directory


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def tensors_of(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


def change_config(directory: Path, **settings: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def as_pickle(directory: Path, tensors: dict[str, torch.Tensor]) -> None:
    torch.save(tensors, directory / "pytorch_model.bin")


def as_old_pickle(directory: Path, tensors: dict[str, torch.Tensor]) -> None:
    torch.save(tensors, directory / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def as_parts(
    directory: Path, tensors: dict[str, torch.Tensor], whole: str = "model.safetensors", save: Any = save_file
) -> None:
    stem, _, ending = whole.partition(".")
    names = sorted(tensors)
    where = {name: f"{stem}-0000{1 + number % 2}-of-00002.{ending}" for number, name in enumerate(names)}
    for file in set(where.values()):
        save({name: tensors[name] for name in names if where[name] == file}, directory / file)
    (directory / f"{whole}.index.json").write_text(json.dumps({"weight_map": where}))


def as_pickled_parts(directory: Path, tensors: dict[str, torch.Tensor]) -> None:
    as_parts(directory, tensors, "pytorch_model.bin", torch.save)


def truncate(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("sprung"),)
