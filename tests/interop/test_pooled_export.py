"""Classifiers that pool over k-mers: the lines of the model card and what is read back predict what we do."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.interop.load import load_directory
from tests.test_pretrained import random_dna, random_model

SEQUENCES = [random_dna(length, length) for length in (12, 40)]


@pytest.mark.parametrize("strands", ["forward", "both"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "mean-max", "attention"])
def test_the_card_computes_the_logits(
    small_model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pooling: Any, strands: Any
) -> None:
    task = TaskConfig("regression", ("signal", "fold"), pooling=pooling, strands=strands)
    model = DNAModel(random_model(small_model, task))
    model.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path / "model")
    (code,) = re.findall(r"## Use\n\n```python\n(.*?)```", Path("README.md").read_text("utf-8"), re.DOTALL)
    for sequence in SEQUENCES:
        names: dict[str, Any] = {}
        exec(code.replace("ACGTTGCAAGCT", sequence), names)  # noqa: S102
        expected = model.predict(sequence)
        np.testing.assert_allclose(names["logits"].detach().numpy()[0], expected, atol=1e-5)
    again = DNAModel.from_pretrained(tmp_path / "model")
    assert again.task == model.task
    np.testing.assert_array_equal(again.predict(SEQUENCES), model.predict(SEQUENCES))


def test_the_encoder_of_a_pooled_classifier_is_exported_alone(small_model: ModelConfig, tmp_path: Path) -> None:
    task = TaskConfig("regression", ("signal",), pooling="mean")
    model = DNAModel(random_model(small_model, task))
    model.save_pretrained(tmp_path / "model", "encoder")
    loaded = load_directory(tmp_path / "model")
    assert loaded.model.description.task is None
    assert set(loaded.model.parameters) == {"backbone"}
