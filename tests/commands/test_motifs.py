"""`dnabert-jax motifs`: what it writes is read by others and agrees with itself; bad input is one sentence."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from Bio import motifs as biopython
from Bio.Seq import reverse_complement
from matplotlib.image import imread

from dnabert_jax.commands.cli import run
from dnabert_jax.interpret.report.sections import motif_section
from tests.commands.conftest import Capture, Fails, Patch, table
from tests.interpret.conftest import write_scores
from tests.interpret.motifs.conftest import PLANTED, Planted, plant, probabilities, random_known, write_meme


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant()


def flags_of(folder: Path, **names: str) -> list[str]:
    """The flags that name the files of the data, or others."""
    files = {"scores": "scores.npz", "positives": "positives.fa", "negatives": "negatives.fa", "out": "out", **names}
    return ["motifs", *(word for flag, name in files.items() for word in (f"--{flag}", str(folder / name)))]


def write(folder: Path, data: Planted) -> list[str]:
    """Writes files of the data; returns the flags that name them."""
    for name in ("positives", "negatives"):
        records = (f">{name[0]}{row}\n{text}\n" for row, text in enumerate(getattr(data, name)))
        (folder / f"{name}.fa").write_text("".join(records))
    names = [f"p{row}" for row in range(len(data.scores))]
    write_scores(folder / "scores.npz", names, data.positives, scores=np.concatenate(data.scores))
    return flags_of(folder)


def test_files_agree_with_one_another(tmp_path: Path, planted: Planted, capsys: Capture) -> None:
    data = planted.half_turned()
    assert run([*write(tmp_path, data), "--reverse-complements"]) == 0
    printed = capsys.readouterr().out
    out = tmp_path / "out"
    (row,) = table(out / "motifs.tsv")
    seed = reverse_complement(PLANTED)
    assert (row["motif"], row["positives"], row["negatives"]) == (seed, "80", "0")
    assert seed in row["consensus"]
    assert f"{seed}  {row['instances']} instances" in printed
    with (out / "motifs.meme").open() as file:
        (motif,) = biopython.parse(file, "MINIMAL")
    windows = []
    for line in (out / "instances.bed").read_text().splitlines():
        name, start, end, _, _, strand, thick, thick_end = line.split("\t")
        text = data.positives[int(name[1:])]
        own, core = text[int(start) : int(end)], text[int(thick) : int(thick_end)]
        turn = strand == "-"
        windows.append(reverse_complement(own) if turn else own)
        assert (reverse_complement(core) if turn else core) == seed
    assert len(windows) == motif.num_occurrences == int(row["instances"]) > 40
    for base in "ACGT":
        assert list(motif.counts[base]) == [sum(own[place] == base for own in windows) for place in range(24)]
    assert imread(out / "logos" / f"001_{seed}.png").std() > 0.1


@pytest.mark.usefixtures("uncompiled_memelite")
def test_motifs_are_matched_to_known_ones(tmp_path: Path, planted: Planted, capsys: Capture, fails: Fails) -> None:
    database = tmp_path / "known.meme"
    write_meme(database, {**random_known(9), "MA1 SITE": probabilities(PLANTED[1:])})
    arguments = [*write(tmp_path, planted), "--no-logos", "--database", str(database)]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert "Known motifs: 10, of known.meme.\nWarning: with fewer than 50," in printed
    assert re.search(rf"  {PLANTED}  \d+ instances, adjusted p \S+, like SITE \(MA1\), q \S+e-\d\d\n", printed)
    assert printed.endswith(": instances.bed, matches.tsv, motifs.meme, motifs.tsv.\n")
    name, q, own_id, *_ = motif_section(tmp_path / "out", [])["matches"]["rows"][PLANTED][0]
    assert (name, own_id) == ("SITE", "MA1")
    assert float(q) < 0.05

    other = [*flags_of(tmp_path, out="other"), "--no-logos", "--database", str(database)]
    assert "--match-q is 0.0" in fails(*other, "--match-q", "0", within=tmp_path)
    assert run([*other, "--match-q", "1e-300"]) == 0
    assert ", like no known motif at q 1e-300\n" in capsys.readouterr().out
    assert table(tmp_path / "other" / "matches.tsv") == []
    database.write_text("nothing")
    assert "known.meme" in fails(
        *flags_of(tmp_path, out="third"), "--no-logos", "--database", database, within=tmp_path
    )


def test_no_enriched_word_is_a_result(tmp_path: Path, planted: Planted, capsys: Capture) -> None:
    write(tmp_path, planted)
    assert run(flags_of(tmp_path, negatives="positives.fa")) == 0
    assert "No enriched motif" in capsys.readouterr().out
    assert table(tmp_path / "out" / "motifs.tsv") == []
    with (tmp_path / "out" / "motifs.meme").open() as file:
        assert biopython.parse(file, "MINIMAL") == []


def test_scores_are_found_by_name(tmp_path: Path, planted: Planted) -> None:
    assert run([*write(tmp_path, planted), "--no-logos"]) == 0
    expected = (tmp_path / "out" / "instances.bed").read_text()
    records = (tmp_path / "positives.fa").read_text().split(">")[1:]
    rows = (",".join(record.split()) + "\n" for record in reversed(records))
    (tmp_path / "positives.csv").write_text("id,sequence\n" + "".join(rows))
    assert run([*flags_of(tmp_path, positives="positives.csv", out="other"), "--no-logos"]) == 0
    assert sorted((tmp_path / "other" / "instances.bed").read_text().splitlines()) == sorted(expected.splitlines())
    assert not (tmp_path / "other" / "logos").exists()


def test_bad_input_leaves_no_file(tmp_path: Path, planted: Planted, fails: Fails, monkeypatch: Patch) -> None:
    arguments = write(tmp_path, planted)
    (tmp_path / "none.csv").write_text("id,sequence\n")
    (tmp_path / "empty.fa").touch()
    for flag, name in (("positives", "none.csv"), ("negatives", "none.csv"), ("positives", "empty.fa")):
        assert name in fails(*flags_of(tmp_path, **{flag: name}), within=tmp_path)
    assert "'n0'" in fails(*flags_of(tmp_path, positives="negatives.fa"), within=tmp_path)
    assert "--sequence" in fails(*arguments, "--sequence", "seq", within=tmp_path)
    assert "window_size is 0" in fails(*arguments, "--window-size", "0")
    for module in ("logomaker", "memelite"):
        monkeypatch.setitem(sys.modules, module, None)
    assert "(the extra motifs)" in fails(*arguments, within=tmp_path)
    assert "memelite" in fails(*arguments, "--no-logos", "--database", "jaspar", within=tmp_path)
