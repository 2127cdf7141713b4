"""The command line: the main job end to end, and one sentence with exit status 2 for every bad input."""

import itertools
import json
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path

import pytest

from dnabert_jax import storage
from dnabert_jax.commands.cli import _COMMANDS, run
from dnabert_jax.commands.console import command
from dnabert_jax.commands.pretrain import TrainingBar, parse_pretrain
from dnabert_jax.sample import HELDOUT_FASTA
from dnabert_jax.typed_json import to_json
from tests.commands.conftest import SMALL_RUN, Capture, Fails, Patch

SMALL_FLAGS = [*SMALL_RUN, "--steps", "3"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rows") / "rows"
    assert run(["prepare", "genome", "--fasta", str(HELDOUT_FASTA), "--k", "3", "--out", str(out)]) == 0
    return out


def test_the_main_job_with_all_but_the_run_on_a_store(
    store: type, tmp_path: Path, capsys: Capture, fails: Fails
) -> None:
    storage.upload(HELDOUT_FASTA, "store://bucket/sample.fa.gz")
    data, out, cache = "store://bucket/rows", tmp_path / "run", tmp_path / "cache"
    assert run(["prepare", "genome", "--fasta", "store://bucket/sample.fa.gz", "--k", "3", "--out", data]) == 0
    assert run(["prepare", "verify", data]) == 0
    train = ["pretrain", "--data", data, "--data-cache", str(cache), "--out", str(out), *SMALL_FLAGS]
    assert run(train) == 0
    assert f"dnabert-jax export {out}" in capsys.readouterr().out
    assert run(["export", str(out), "--out", "store://bucket/model"]) == 0
    assert "model.safetensors" in storage.names("store://bucket/model")
    config = json.loads(storage.read("store://bucket/model/config.json"))
    assert (config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]) == (16, 1, 69)
    job = parse_pretrain(["--data", "rows", "--out", "run", "--config", str(out / "config.json"), "--seed", "7"])
    assert json.loads(to_json(job.settings)) == json.loads((out / "config.json").read_text()) | {"seed": 7}
    shard = storage.names(data)[-1]
    storage.write(f"{data}/{shard}", storage.read(f"{data}/{shard}")[:-1])
    with pytest.raises(SystemExit, match="1"):
        run(["prepare", "verify", data])
    assert f"{data}/{shard} has " in capsys.readouterr().out
    shutil.rmtree(cache)
    assert f"{data}/{shard} is not the file that its manifest lists" in fails(*train)


def test_a_file_url_is_a_local_path(tmp_path: Path) -> None:
    out = tmp_path / "rows"
    assert run(["prepare", "genome", "--fasta", f"file://{HELDOUT_FASTA}", "--k", "3", "--out", f"file://{out}"]) == 0
    assert (out / "manifest.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_what_must_be_local_is_no_url(rows: Path, fails: Fails) -> None:
    assert "gs://bucket/run" in fails("pretrain", "--data", rows, "--out", "gs://bucket/run", *SMALL_FLAGS)
    assert not Path("gs:").exists()
    for flag in ("--fasta", "--out"):  # an optional flag, and a required one
        files = {"--fasta": str(HELDOUT_FASTA), "--out": "x.tsv", flag: "gs:/bucket/x"}
        assert "gs:/bucket/x" in fails("predict", "--model", "m", *itertools.chain(*files.items()))


def test_bad_places(rows: Path, tmp_path: Path, fails: Fails) -> None:
    file = tmp_path / "file"
    file.write_text("")
    prepare = ("prepare", "genome", "--fasta", HELDOUT_FASTA, "--out")
    assert str(rows) in fails(*prepare, rows)
    assert str(file) in fails(*prepare, file / "out")
    assert "/proc" in fails(*prepare, "/proc/nowhere/out")
    assert "no.fa" in fails("prepare", "genome", "--fasta", tmp_path / "no.fa", "--out", tmp_path / "o")
    train = ("pretrain", *SMALL_FLAGS, "--data")
    assert "manifest.json" in fails(*train, tmp_path, "--out", tmp_path / "run")
    assert "manifest.json" in fails("prepare", "verify", tmp_path)
    assert str(file) in fails(*train, rows, "--out", file / "run")
    assert str(tmp_path) in fails("export", tmp_path, "--out", tmp_path / "model")
    (shard,) = shutil.copytree(rows, tmp_path / "data").glob("train-*")
    shard.unlink()
    assert shard.name in fails(*train, shard.parent, "--out", tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "file"]


def test_bad_settings(rows: Path, tmp_path: Path, fails: Fails) -> None:
    for flags, named in (
        ("--preset dnabert6", "k = 6"),
        ("SMALL --mesh.tensor 3", "8 devices"),
        ("SMALL --model.dropout 2", "dropout is 2.0"),
        ("SMALL --global-batch 12", "12"),
        ("", "--preset"),
        ("--preset huge", "'huge'"),
        ("--preset tiny --config c.json", "--config"),
        ("--config c.json", "c.json"),
    ):
        words = flags.replace("SMALL", " ".join(SMALL_FLAGS)).split()
        assert named in fails("pretrain", "--data", rows, "--out", tmp_path / "run", *words, within=tmp_path)
    assert "k is 12" in fails("prepare", "genome", "--fasta", "a", "--k", "12", "--out", "out", within=tmp_path)


def test_rows_made_on_beam_pass_verification(tmp_path: Path, capsys: Capture, fails: Fails, monkeypatch: Patch) -> None:
    data = str(tmp_path / "rows")
    prepare = ["prepare", "genome-beam", "--fasta", str(HELDOUT_FASTA), "--k", "3", "--out"]
    assert run([*prepare, data, "--", "--direct_running_mode", "multi_threading"]) == 0
    assert run(["prepare", "verify", data]) == 0
    assert data in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    assert "(the extra beam)" in fails(*prepare, tmp_path / "other")


def test_the_next_command_is_for_these_rows(tmp_path: Path, capsys: Capture) -> None:
    for k, length, flags in (("4", "512", "4"), ("2", "1024", "6 --model.k 2 --model.max-positions 1024")):
        out, shape = tmp_path / k, ["--k", k, "--row-length", length]
        assert run(["prepare", "genome", "--fasta", str(HELDOUT_FASTA), "--out", str(out), *shape]) == 0
        assert f"pretrain --data {out} --preset dnabert{flags} --out RUN" in capsys.readouterr().out


@pytest.mark.parametrize("command", sorted(_COMMANDS))
def test_help_has_an_example(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="0"):
        run([*command.split(), "--help"])
    assert f"Example: dnabert-jax {command}" in " ".join(capsys.readouterr().out.split())


def test_help_without_a_command_lists_them(capsys: Capture) -> None:
    assert [run(words) for words in (["--help"], ["prepare", "--help"], [])] == [0, 0, 2]
    assert capsys.readouterr().out.count("prepare genome ") == 3


def test_a_list_given_in_parts_is_refused(fails: Fails) -> None:
    for arguments, flag in (
        ("prepare genome --fasta a.fa --out rows --heldout-records=chr1 --heldout_records=chr2", "--heldout-records"),
        ("finetune --model m --data . --out o --labels a --labels b", "--labels"),
    ):
        """Its last part would count alone; of a flag with one value, such as --out, the last one counts."""
        assert f" {flag} " in fails(*arguments.split(), "--out", "o.html")


def test_a_mistyped_preset_is_named_before_a_missing_one(capsys: Capture, fails: Fails) -> None:
    data = ["--data", "rows", "--out", "run"]
    with pytest.raises(SystemExit, match="2"):
        run(["pretrain", "--prest", "tiny", *data])
    assert re.search("--prest,.*--preset ", capsys.readouterr().err, re.DOTALL)
    assert "--preset" in fails("pretrain", "--process", "0", "--processes", "2", *data)


def test_a_mistyped_command_is_told_what_was_meant(fails: Fails) -> None:
    for mistyped, meant in (
        ("fly", "'fly'"), ("pretrian", "pretrain"), ("prepare genme", "prepare genome"), ("tfbs", "prepare tfbs")
    ):  # fmt: skip
        assert meant in fails(*mistyped.split(), "--out", "x")


def test_commands_are_advised_as_the_program_was_called(tmp_path: Path, monkeypatch: Patch) -> None:
    script = tmp_path / "my env" / "dnabert-jax"
    script.parent.mkdir()
    script.touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(script), "demo"])
    assert shlex.split(command("export", "my run")) == [str(script), "export", "my run"]
    monkeypatch.setenv("PATH", str(script.parent))
    for called in (str(script), "-c"):
        monkeypatch.setattr(sys, "argv", [called])
        assert command("export", "run") == "dnabert-jax export run"


def test_the_bar_shows_utilisation_where_it_is_known() -> None:
    for mfu in ({}, {"mfu": 0.4567}):
        with TrainingBar() as bar:
            bar.started(0, 10, True)
            bar.trained(5, {"loss": 2.5, "accuracy": 0.25, "tokens_per_second": 1234.5, **mfu})
            assert ("1,234" in str(bar._bar), "45.7%" in str(bar._bar)) == (True, bool(mfu))


def test_profiles_are_set_or_asked_for(
    rows: Path, tmp_path: Path, capsys: Capture, monkeypatch: Patch, fails: Fails
) -> None:
    def staged_and_signalled(data: Path, *_: object) -> Path:
        signal.raise_signal(signal.SIGUSR1)
        return data

    monkeypatch.setattr("dnabert_jax.commands.pretrain.stage", staged_and_signalled)
    before, out = signal.getsignal(signal.SIGUSR1), tmp_path / "run"
    train = ["pretrain", "--data", str(rows), "--out", str(out), *SMALL_FLAGS]
    assert run([*train, "--profile-from", "2", "--profile-steps", "1"]) == 0
    printed = capsys.readouterr().out
    for step in (1, 2):
        place = out / "tensorboard" / "plugins" / "profile" / f"from-step-{step}-process-0"
        assert str(place) in printed
        assert list(place.glob("*.xplane.pb"))
    assert signal.getsignal(signal.SIGUSR1) == before
    assert run([*train, "--profile-from", "2", "--resume"]) == 0
    assert "step 2" in capsys.readouterr().out
    assert "--profile-from is 4" in fails(*train, "--profile-from", "4")
    assert "--profile-steps is 0" in fails(*train, "--profile-steps", "0")
