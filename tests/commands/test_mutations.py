"""`dnabert-jax mutations`: a row for each change, a picture for each sequence, one sentence for bad flags."""

from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from matplotlib.image import imread

from dnabert_jax import DNAModel
from dnabert_jax.commands.cli import run
from dnabert_jax.config import ModelConfig, TaskConfig
from tests.commands.conftest import Capture, Fails, table, write_classifier

CONFIG = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32, max_positions=24)
TASKS = {
    "model": TaskConfig("single_label_classification", ("no", "yes")),
    "regression": TaskConfig("regression", ("level",)),
}
SEQUENCES = {"s0": "ACGTTGCA", "s 1/x": "TTNAC"}
CHANGES = ["id", "position", "kind", "ref", "alt", "label", "reference", "changed", "difference"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutations")
    for name, task in TASKS.items():
        write_classifier(folder / name, CONFIG, task)
    rows = "".join(f'"{name}",{text}\n' for name, text in SEQUENCES.items())
    (folder / "x.csv").write_text("id,sequence\n" + rows)
    (folder / "many.fa").write_text("".join(f">s{number}\nACGT\n" for number in range(101)))
    (folder / "m.txt").write_text("1\t0\t1\tC\n0\t2\t4\t\n0\t3\t3\tGG\n")
    return folder


def mutations(folder: Path, *flags: str | Path, model: str = "model") -> list[str]:
    return ["mutations", "--model", str(folder / model), "--table", str(folder / "x.csv"), *map(str, flags)]


def test_every_change_has_a_row_and_every_sequence_a_picture(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run(mutations(folder, "--out", tmp_path / "y.tsv", "--heat-maps", tmp_path / "maps")) == 0
    printed = capsys.readouterr().out
    assert "Of the label yes: its probability." in printed
    assert "Made 53 changes of 2 sequences, 1 of them with letters such as N" in printed
    rows = table(tmp_path / "y.tsv")
    assert list(rows[0]) == [*CHANGES, "log_odds_ratio"]
    assert len(rows) == 8 * 4 + 5 * 4 + 1
    assert {row["label"] for row in rows} == {"yes"}
    changed = []
    for row in rows:
        text, place = SEQUENCES[row["id"]], int(row["position"])
        assert row["ref"] == text[place]
        changed.append(text[:place] + row["alt"] + text[place + 1 :])
    predicted = DNAModel.from_pretrained(folder / "model").predict(changed)[:, 1]
    np.testing.assert_allclose([float(row["changed"]) for row in rows], predicted, atol=1e-6)
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["001_s0.png", "002_s_1_x.png"]
    picture = imread(tmp_path / "maps" / "001_s0.png")
    assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 20


def test_the_changes_of_a_file_are_made_in_its_order(folder: Path, tmp_path: Path) -> None:
    assert run(mutations(folder, "--mutations", folder / "m.txt", "--out", tmp_path / "y.tsv")) == 0
    found = [tuple(row[name] for name in CHANGES[:5]) for row in table(tmp_path / "y.tsv")]
    assert found == [
        ("s 1/x", "0", "substitution", "T", "C"),
        ("s0", "2", "deletion", "GT", ""),
        ("s0", "3", "insertion", "", "GG"),
    ]


def test_a_regression_has_no_odds(folder: Path, tmp_path: Path) -> None:
    flags = ("--kinds", "insertions", "--out", tmp_path / "y.parquet")
    assert run(mutations(folder, *flags, model="regression")) == 0
    written = pyarrow.parquet.read_table(tmp_path / "y.parquet")
    assert (written.column_names, written.num_rows) == (CHANGES, 4 * (9 + 6))
    columns = {name: np.array(written[name]) for name in CHANGES[6:]}
    np.testing.assert_allclose(columns["difference"], columns["changed"] - columns["reference"])


def test_bad_flags_are_one_sentence_and_leave_no_file(folder: Path, fails: Fails) -> None:
    for flags, word in (
        ("--fasta many.fa --heat-maps maps", "100"),
        ("--table x.csv --mutations m.txt --heat-maps maps", "--kinds"),
        ("--table x.csv --kinds deletions --heat-maps maps", "--kinds"),
        ("--table x.csv --mutations m.txt --kinds insertions", "--mutations"),
        ("--table x.csv --mutations none.txt", "none.txt"),
        ("--table x.csv --out y.txt", "y.txt"),
        ("--table x.csv --out x.csv", "x.csv"),
        ("--table x.csv --heat-maps model", "model"),
        ("--table x.csv --label maybe", "'maybe'"),
    ):
        out = "" if "--out" in flags else " --out y.tsv"
        assert word in fails("mutations", "--model", "model", *f"{flags}{out}".split(), within=folder)
