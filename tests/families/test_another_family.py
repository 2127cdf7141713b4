"""A family that nobody published, in one file, goes the whole way: single bases in the order of the alphabet."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest

from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig, PretrainConfig
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.data_prep.verify import verify_directory
from dnabert_jax.errors import InputError
from dnabert_jax.families import FAMILIES, PRESETS
from dnabert_jax.families.family import Entry, Family, Settings, dense, norm
from dnabert_jax.interop.export import export_model
from dnabert_jax.sequence.bases import AMBIGUOUS
from dnabert_jax.sequence.tokenizer import Tokenizer, window_positions
from dnabert_jax.sequence.tokenizers import TOKENIZERS
from dnabert_jax.sequence.vocabulary import NUM_SPECIAL, SPECIAL_TOKENS, UNK
from dnabert_jax.training.loop import pretrain
from dnabert_jax.training.saved_model import read_saved_model


@dataclasses.dataclass(frozen=True)
class Letters(Tokenizer):
    """A token for each base, in the order of the alphabet."""

    overlap = shortest = stride = 1
    unit = "bases"

    @functools.cached_property
    def tokens(self) -> list[str]:
        return [*SPECIAL_TOKENS, *"ACGT"]

    @functools.cached_property
    def advance(self) -> np.ndarray:
        return np.ones(self.vocabulary_size, np.uint8)

    def encode(self, codes: np.ndarray) -> np.ndarray:
        by_code = [NUM_SPECIAL + "ACGT".index(base) for base in "ATCG"]
        return np.array([*by_code, UNK], np.uint16)[np.minimum(codes, AMBIGUOUS)]

    def count(self, bases: int) -> int:
        return bases

    def capacity(self, tokens: int) -> int:
        return tokens

    def encode_windows(self, codes: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return self.encode(codes)[window_positions(starts, counts)]


class Toy(Family):
    """The network of the tiny preset on letters."""

    title, tag, tokens, prefix = "Toy", "toy", "letters", "toy."
    tensors = (
        Entry("toy.letters", "backbone.embeddings.token.table", vocabulary=True),
        Entry("toy.places", "backbone.embeddings.position.table"),
        Entry("toy.types", "backbone.embeddings.token_type.table"),
        *norm("toy.norm", "backbone.embeddings.norm"),
        *(tensor for name in ("query", "key", "value", "output")
          for tensor in dense(f"toy.{{layer}}.{name}", f"backbone.layers.attention.{name}")),
        *norm("toy.{layer}.first_norm", "backbone.layers.attention_norm"),
        *dense("toy.{layer}.up", "backbone.layers.intermediate"),
        *dense("toy.{layer}.down", "backbone.layers.output"),
        *norm("toy.{layer}.second_norm", "backbone.layers.output_norm"),
        *dense("head.dense", "head.transform"),
        *norm("head.norm", "head.norm"),
        Entry("head.bias", "head.bias", vocabulary=True),
    )  # fmt: skip
    architectures = {"masked-lm": "Toy", "encoder": "Toy", "classifier": "Toy"}  # noqa: RUF012
    presets = {}  # noqa: RUF012

    def recognises(self, settings: Settings) -> bool:
        return settings.get("model_type") == "toy"

    def model_config(self, settings: Settings, directory: Path) -> ModelConfig:
        return ModelConfig(**settings["network"])

    def settings(self, config: ModelConfig) -> Settings:
        network = dataclasses.asdict(config)
        return {"model_type": "toy", "vocab_size": config.vocabulary_size, "network": network}

    def write_tokenizer(self, directory: Path, config: ModelConfig) -> None:
        (directory / "letters.json").write_text(json.dumps(config.tokenizer.tokens), "utf-8")

    def summary(self, config: ModelConfig) -> str:
        return "A toy."

    def tokenizer_section(self, config: ModelConfig) -> str:
        return "It reads letters."


@pytest.fixture(autouse=True)
def _family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOKENIZERS, "letters", lambda k: Letters())
    monkeypatch.setattr("dnabert_jax.families.FAMILIES", [*FAMILIES, Toy()])


def test_a_new_family_goes_the_whole_way(tmp_path: Path) -> None:
    fasta, rng = tmp_path / "x.fa", np.random.default_rng(0)
    fasta.write_text(">x\n" + "".join(rng.choice(list("ACGT"), 20_000)) + "\n")
    data, run = tmp_path / "data", tmp_path / "run"
    manifest = prepare_genome(GenomeJob((fasta,), data, tokens="letters", row_length=128), 1)
    assert manifest.tokenizer == Letters()
    assert list(verify_directory(data)) == []

    model = dataclasses.replace(PRESETS["tiny"].model, tokens="letters")
    config = PretrainConfig(model, global_batch=8, steps=2, evaluation_rows=8)
    result = pretrain(config, data, run)
    # Nothing overlaps, so that a hidden token hides its base unless it is left as it is.
    assert result.evaluation is not None
    assert 0 < result.evaluation.hidden_bases <= result.evaluation.masked_kmers
    with pytest.raises(InputError, match="3-mers"):
        pretrain(dataclasses.replace(config, model=dataclasses.replace(config.model, tokens="kmers")), data, run)

    export_model(read_saved_model(run), tmp_path / "exported")
    ours, back = (DNAModel.from_pretrained(source) for source in (run, tmp_path / "exported"))
    assert back.config == ours.config
    sequences = ["ACGTNACGT", "GATTACA"]
    assert [ids.tolist() for ids in back.encode(sequences)] == [
        [2, *("ACGTN".index(letter) + 5 if letter != "N" else UNK for letter in sequence), 3] for sequence in sequences
    ]
    np.testing.assert_array_equal(back.embed(sequences), ours.embed(sequences))
    for bases, sequence in zip(ours.embed(sequences, pooling="bases"), sequences, strict=True):
        assert len(bases) == len(sequence)
