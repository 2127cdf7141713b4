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
from dnabert_jax.commands.cli import run
from dnabert_jax.config import ModelConfig
from dnabert_jax.tasks.measures.results import Result
from dnabert_jax.training.saved_model import read_saved_model
from dnabert_jax.typed_json import read_json
from tests.commands.conftest import Capture, Fails, write_encoder
from tests.tasks.conftest import write_table

SETTINGS = ["--preset", "dnabert", "--seeds", "2", "--batch-size", "16", "--peak-learning-rate", "3e-3"]
"""With the same ones less is compiled."""
LONG = ModelConfig(
    k=3, hidden_size=32, num_layers=1, num_heads=2, intermediate_size=64, max_positions=128, initializer_range=0.2
)


def command(model: Path, data: Path, out: Path) -> list[str]:
    return ["finetune", "--model", str(model), "--data", str(data), "--out", str(out)]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences of A and T are "yes", those of C and G are "no"; a tenth is mislabelled."""
    draw = random.Random(0)  # noqa: S311

    def row(number: int) -> tuple[str, str]:
        right = (number % 2) ^ (draw.random() < 0.1)
        return "".join(draw.choices(("CG", "AT")[number % 2], k=30)), ("no", "yes")[right]

    return write_table(tmp_path_factory.mktemp("tables") / "at.csv", (160, 32, 64), row)


@pytest.fixture(scope="module")
def finetuned(encoder: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    assert run([*command(encoder, table, out), *SETTINGS, "--epochs", "8"]) == 0
    return out


def test_it_learns_and_writes_what_came_of_it(finetuned: Path) -> None:
    result = read_json(Result, finetuned / "result.json")
    assert result.sizes == {"train": 160, "validation": 32, "test": 64}
    assert [seed.seed for seed in result.seeds] == [0, 1]
    accuracy = [seed.metrics.values["accuracy"].value for seed in result.seeds]
    assert min(value for value in accuracy if value is not None) > 0.8
    assert "| mcc |" in (finetuned / "result.md").read_text()
    assert {path.name for path in (finetuned / "curves").iterdir()} > {"curves.json", "roc.png"}
    provenance = json.loads((finetuned / "model.json").read_text())["provenance"]["finetuning"]
    assert (provenance["config"]["epochs"], provenance["positive"]) == (8, "yes")
    assert provenance["lengths"] == {"minimum": 30, "median": 30, "maximum": 30}


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


def test_labels_drawn_at_random_are_at_chance(encoder: Path, tmp_path: Path, capsys: Capture) -> None:
    draw = random.Random(1)  # noqa: S311
    data = write_table(
        tmp_path / "random.csv", (160, 32, 400), lambda _: ("".join(draw.choices("ACGT", k=30)), draw.randrange(2))
    )
    assert run([*command(encoder, data, tmp_path / "run"), *SETTINGS, "--epochs", "2", "--restarts", "0"]) == 0
    assert re.search("test split: .* 800/800 .* sequences/s", capsys.readouterr().err)
    figure = read_json(Result, tmp_path / "run/result.json").seeds[0].metrics.values["accuracy"].value
    assert figure == pytest.approx(0.5, abs=4 * 0.5 / 400**0.5)


def test_two_columns_in_the_directory_of_a_set_are_enough(encoder: Path, tmp_path: Path, capsys: Capture) -> None:
    draw = random.Random(1)  # noqa: S311
    rows = ["".join(draw.choices("ACGT", k=20)) + f"\t{label}" for label in ("NA", "other") * 50]
    (tmp_path / "at").mkdir()
    (tmp_path / "at" / "examples.tsv").write_text("\n".join(["sequence\tlabel", *rows]) + "\n")
    (tmp_path / "at" / ".DS_Store").write_bytes(b"\0")
    begin = [*command(encoder, tmp_path / "at", tmp_path / "run"), "--epochs", "1", "--restarts", "0"]
    assert run(begin) == 2
    assert "--literal-labels" in capsys.readouterr().err
    assert run([*begin, "--literal-labels", "--test-share", "0.3"]) == 0
    result = read_json(Result, tmp_path / "run" / "result.json")
    assert (result.name, result.sizes) == ("at", {"train": 63, "validation": 7, "test": 30})
    printed = capsys.readouterr().out
    notes = json.loads((tmp_path / "run" / "model.json").read_text())["provenance"]["finetuning"]["notes"]
    assert any("30 of 100" in note for note in notes)
    assert all(note in printed for note in notes)


@pytest.mark.parametrize(
    "flags",
    ["--test-share 1.0", "--seeds 0", "--preset best", "--select-by beauty", "--model nowhere", "--out .",
     "--sequence dna", "--positive exon"],
)  # fmt: skip
def test_bad_input_is_one_sentence(encoder: Path, table: Path, tmp_path: Path, fails: Fails, flags: str) -> None:
    flag, value = flags.split()
    if flag == "--test-share":
        text = "".join(line for line in table.read_text().splitlines(keepends=True) if "test" not in line)
        (table := tmp_path / "train.csv").write_text(text)
    given = {"--model": encoder, "--data": table, "--out": tmp_path / "out", flag: value}
    assert value in fails("finetune", *(part for pair in given.items() for part in pair), within=tmp_path)


def test_what_lies_beyond_the_first_window_is_learned(tmp_path: Path, fails: Fails) -> None:
    model, out, draw = write_encoder(tmp_path / "model", LONG), tmp_path / "run", random.Random(0)  # noqa: S311

    def row(number: int) -> tuple[str, str]:
        """A sequence with or without a motif, which lies beyond the first two windows."""
        sequence = "".join(draw.choices("ACGT", k=draw.choice((700, 620))))
        begin = draw.randrange(300, 460)
        with_motif = sequence[:begin] + "AT" * 80 + sequence[begin + 160 :]
        return (with_motif, "yes") if number % 2 else (sequence, "no")

    table = write_table(tmp_path / "motif.csv", (96, 32, 64), row)
    settings = "--epochs 3 --batch-size 8 --peak-learning-rate 1e-2 --dropout 0 --restarts 0 --strands forward"
    assert run([*command(model, table, out), *settings.split(), "--long", "attention"]) == 0
    assert (read_json(Result, out / "result.json").seeds[0].metrics.values["roc_auc"].value or 0) > 0.9
    task = read_saved_model(out).description.task
    # An eighth of 126 k-mers is shared, and 698 are covered.
    assert (task.long, task.window, task.overlap, task.split) == ("attention", 126, 15, 7)
    export = ["export", str(out), "--to", str(tmp_path / "hf")]
    assert "architecture encoder" in fails(*export)
    assert run([*export, "--architecture", "encoder"]) == 0
    assert DNAModel.from_pretrained(tmp_path / "hf").embed("ACGTACGT").shape == (32,)
