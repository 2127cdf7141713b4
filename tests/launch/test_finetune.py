"""`dnabert-jax finetune`: from a model and a table to a model that predicts, and its figures."""

import json
import random
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification

from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig
from dnabert_jax.tasks.measures.results import Result
from dnabert_jax.typed_json import read_json
from launch.cli import run
from tests.launch.conftest import write_encoder

CONFIG = ModelConfig(k=3, hidden_size=32, num_layers=1, num_heads=2, intermediate_size=64, max_positions=40)
SETTINGS = ["--preset", "dnabert", "--seeds", "2", "--batch-size", "16", "--peak-learning-rate", "3e-3"]
"""With the same ones less is compiled."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("models") / "model", CONFIG)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences of A and T are "yes", those of C and G are "no"; a tenth is mislabelled."""
    draw = random.Random(0)  # noqa: S311
    lines = ["split,sequence,label"]
    for split, count in (("train", 160), ("dev", 32), ("test", 64)):
        for number in range(count):
            letters, label = ("AT", "yes") if number % 2 else ("CG", "no")
            wrong = {"yes": "no", "no": "yes"}[label]
            sequence = "".join(draw.choices(letters, k=30))
            lines.append(f"{split},{sequence},{wrong if draw.random() < 0.1 else label}")
    path = tmp_path_factory.mktemp("tables") / "at.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def finetuned(model: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    paths = ["--model", str(model), "--data", str(table), "--out", str(out)]
    assert run(["finetune", *paths, *SETTINGS, "--epochs", "8"]) == 0
    return out


def test_it_learns_and_writes_what_came_of_it(finetuned: Path) -> None:
    result = read_json(Result, finetuned / "result.json")
    assert result.sizes == {"train": 160, "validation": 32, "test": 64}
    assert [seed.seed for seed in result.seeds] == [0, 1]
    accuracy = [seed.metrics.values["accuracy"].value for seed in result.seeds]
    assert min(value for value in accuracy if value is not None) > 0.8
    assert "| mcc |" in (finetuned / "result.md").read_text()
    assert sorted(path.name for path in (finetuned / "curves").iterdir()) == [
        "calibration.png", "curves.json", "precision_recall.png", "roc.png",
    ]  # fmt: skip
    provenance = json.loads((finetuned / "model.json").read_text())["provenance"]
    assert provenance["finetuning"]["config"]["epochs"] == 8
    assert provenance["finetuning"]["lengths"] == {"minimum": 30, "median": 30, "maximum": 30}
    assert provenance["finetuning"]["positive"] == "yes"


def test_the_model_predicts_here_and_in_transformers(finetuned: Path, tmp_path: Path) -> None:
    sequences = ["ATTATATTAATATATTATTA", "CGGCGCGGCCGCGGGCCGCG"]
    ours = DNAModel.from_pretrained(finetuned)
    assert ours.labels == ("no", "yes")
    found = ours.predict(sequences)
    assert found.argmax(axis=1).tolist() == [1, 0]
    assert run(["export", str(finetuned), "--to", str(tmp_path / "hf")]) == 0
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "hf").eval()
    assert theirs.config.id2label == {0: "no", 1: "yes"}
    card = (tmp_path / "hf/README.md").read_text()
    accuracy = json.loads((finetuned / "model.json").read_text())["provenance"]["finetuning"]["test"]["accuracy"]
    assert f"{accuracy:.4f}" in card
    import torch

    with torch.no_grad():
        logits = theirs(input_ids=torch.tensor(np.stack(ours.encode(sequences)).astype(np.int64))).logits
    np.testing.assert_allclose(found, np.asarray(jax.nn.softmax(logits.numpy())), atol=1e-5)


def test_labels_drawn_at_random_are_at_chance(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(1)  # noqa: S311
    lines = ["split,sequence,label"]
    for split, count in (("train", 160), ("dev", 32), ("test", 400)):
        lines += [f"{split},{''.join(draw.choices('ACGT', k=30))},{draw.randrange(2)}" for _ in range(count)]
    (tmp_path / "random.csv").write_text("\n".join(lines) + "\n")
    command = [
        "finetune",
        "--model",
        str(model),
        "--data",
        str(tmp_path / "random.csv"),
        "--out",
        str(tmp_path / "run"),
    ]
    assert run([*command, *SETTINGS, "--epochs", "2", "--restarts", "0"]) == 0
    assert re.search("test split: .* 800/800 .* sequences/s", capsys.readouterr().err)
    figure = read_json(Result, tmp_path / "run/result.json").seeds[0].metrics.values["accuracy"].value
    assert figure == pytest.approx(0.5, abs=4 * 0.5 / 400**0.5)


def test_two_columns_in_the_directory_of_a_set_are_enough(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(1)  # noqa: S311
    rows = ["".join(draw.choices("ACGT", k=20)) + f"\t{label}" for label in ("NA", "other") * 50]
    (tmp_path / "at").mkdir()
    (tmp_path / "at" / "examples.tsv").write_text("\n".join(["sequence\tlabel", *rows]) + "\n")
    (tmp_path / "at" / ".DS_Store").write_bytes(b"\0")
    command = ["finetune", "--model", str(model), "--data", str(tmp_path / "at"), "--out", str(tmp_path / "run")]
    assert run([*command, "--epochs", "1"]) == 2
    assert "--literal-labels" in capsys.readouterr().err
    assert run([*command, "--epochs", "1", "--literal-labels", "--test-share", "0.3", "--restarts", "0"]) == 0
    result = read_json(Result, tmp_path / "run" / "result.json")
    assert (result.name, result.sizes) == ("at", {"train": 63, "validation": 7, "test": 30})
    printed = capsys.readouterr().out
    notes = json.loads((tmp_path / "run" / "model.json").read_text())["provenance"]["finetuning"]["notes"]
    assert any("30 of 100" in note for note in notes)
    assert all(note in printed for note in notes)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--test-share", "1"], "1.0"),
        (["--seeds", "0"], "seeds is 0"),
        (["--preset", "best"], "There is no preset 'best'"),
        (["--select-by", "beauty"], "'beauty'"),
        (["--model", "nowhere"], "nowhere"),
        (["--out", "."], "exists already"),
        (["--sequence", "dna"], "dna"),
        (["--positive", "exon"], "--positive 'exon'"),
    ],
)
def test_bad_input_is_one_sentence(
    model: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], sentence: str
) -> None:
    train_only = tmp_path / "train.csv"
    train_only.write_text("\n".join(line for line in table.read_text().splitlines() if "test" not in line) + "\n")
    table = train_only if flags[0] == "--test-share" else table
    given = {"--model": str(model), "--data": str(table), "--out": str(tmp_path / "out")} | dict([tuple(flags)])
    assert run(["finetune", *(part for pair in given.items() for part in pair)]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert not list(tmp_path.glob("out*"))
