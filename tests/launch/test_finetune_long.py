"""`dnabert-jax finetune --long`: what lies beyond the first window is learned, and predictions are those of all."""

import random
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.tasks.measures.results import Result
from dnabert_jax.training.saved_model import (
    read_saved_model,
)
from dnabert_jax.typed_json import read_json
from launch.cli import run
from tests.launch.conftest import write_encoder

CONFIG = ModelConfig(
    k=3, hidden_size=32, num_layers=1, num_heads=2, intermediate_size=64, max_positions=128, initializer_range=0.2
)
BASES, BEFORE, MOTIF = 700, 300, "AT" * 80
"""The motif lies anywhere behind `BEFORE`, beyond the first two windows."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("models") / "model", CONFIG)


def write_table(path: Path, length: int) -> list[str]:
    """Sequences with and without the motif, cut to a length; those of the test split are returned."""
    draw = random.Random(0)  # noqa: S311
    lines, test = ["split,sequence,label"], []
    for split, count in (("train", 96), ("dev", 32), ("test", 64)):
        for number in range(count):
            # Not all are as long: some have fewer windows.
            sequence = "".join(draw.choices("ACGT", k=draw.choice((BASES, BASES - 80))))
            begin = draw.randrange(BEFORE, BASES - 80 - len(MOTIF))
            with_motif = sequence[:begin] + MOTIF + sequence[begin + len(MOTIF) :]
            own = (with_motif if number % 2 else sequence)[:length]
            lines.append(f"{split},{own},{('no', 'yes')[number % 2]}")
            test += [own] if split == "test" else []
    path.write_text("\n".join(lines) + "\n")
    return test


def finetune(model: Path, data: Path, out: Path, *flags: str) -> int:
    settings = {
        "epochs": 3,
        "batch-size": 8,
        "peak-learning-rate": 1e-2,
        "dropout": 0,
        "restarts": 0,
        "strands": "forward",
    }
    given = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    return run(["finetune", "--model", str(model), "--data", str(data), "--out", str(out), *given, *flags])


def roc_auc(out: Path) -> float:
    value = read_json(Result, out / "result.json").seeds[0].metrics.values["roc_auc"].value
    assert value is not None
    return value


def test_what_lies_beyond_the_first_window_is_learned(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    test = write_table(tmp_path / "motif.csv", BASES)
    out = tmp_path / "run"
    assert finetune(model, tmp_path / "motif.csv", out, "--long", "attention") == 0
    assert roc_auc(out) > 0.9
    write_table(tmp_path / "first.csv", 128)
    assert finetune(model, tmp_path / "first.csv", tmp_path / "first") == 0
    assert 0.25 < roc_auc(tmp_path / "first") < 0.75
    predicts_by_its_windows(out, test[:3])
    exports_its_encoder_alone(out, tmp_path, capsys)


def predicts_by_its_windows(out: Path, sequences: list[str]) -> None:
    saved = read_saved_model(out)
    task = saved.description.task
    assert task is not None
    # An eighth of 126 k-mers is shared, and 698 are covered.
    assert (task.long, task.window, task.overlap, task.split) == ("attention", 126, 15, 7)
    assert task.windows is not None
    network = sequence_classifier(CONFIG, task, rngs=nnx.Rngs(0))
    nnx.update(network, jax.tree.map(jnp.asarray, saved.parameters))
    predict = jax.jit(lambda rows: jax.nn.softmax(network(rows)))
    expected = [
        predict(jnp.asarray(task.windows.cut(KmerTokenizer(3).encode_text(sequence).astype(np.int32))[None]))[0]
        for sequence in sequences
    ]
    np.testing.assert_allclose(DNAModel.from_pretrained(out).predict(sequences), expected, atol=1e-5)


def exports_its_encoder_alone(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(["export", str(out), "--to", str(tmp_path / "hf")]) == 2
    assert "architecture encoder" in capsys.readouterr().err
    assert run(["export", str(out), "--to", str(tmp_path / "hf"), "--architecture", "encoder"]) == 0
    assert DNAModel.from_pretrained(tmp_path / "hf").embed("ACGTACGT").shape == (32,)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "bases: the model takes at most 128. Give --long attention, mean, max or lstm"),
        (["--window", "60"], "window and overlap are of long sequences: give --long too"),
        (["--long", "mean", "--window", "127"], "window is 127 k-mers: the model takes at most 126"),
        (["--long", "mean", "--window", "60", "--overlap", "60"], "overlap is 60 k-mers: it must be below 60"),
    ],
)
def test_bad_input_is_one_sentence(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture, flags: list[str], sentence: str
) -> None:
    write_table(tmp_path / "motif.csv", BASES)
    assert finetune(model, tmp_path / "motif.csv", tmp_path / "out", *flags) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()
