"""The command line: the main job end to end, and one sentence with exit status 2 for every bad input."""

import contextlib
import io
import itertools
import json
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dnabert_jax import storage
from dnabert_jax.commands.cli import _COMMANDS, run
from dnabert_jax.commands.console import command
from dnabert_jax.commands.pretrain import TrainingBar, parse_pretrain
from dnabert_jax.data.tfrecord import RecordLayout
from dnabert_jax.sample import HELDOUT_FASTA
from dnabert_jax.typed_json import to_json

SMALL_FLAGS = [
    "--preset", "tiny", "--global-batch", "8", "--steps", "3", "--evaluation-rows", "8",
    "--model.num-layers", "1", "--model.hidden-size", "16", "--model.num-heads", "8", "--model.intermediate-size", "16",
]  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rows") / "rows"
    assert run(["prepare", "genome", "--fasta", str(HELDOUT_FASTA), "--k", "3", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def trained(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run, and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert run(["pretrain", "--data", str(rows), "--out", str(out), *SMALL_FLAGS]) == 0
    return out, printed.getvalue()


def test_the_main_job_from_fasta_to_an_exported_model(trained: tuple[Path, str], tmp_path: Path) -> None:
    (out, printed), model = trained, tmp_path / "model"
    assert run(["export", str(out), "--out", str(model)]) == 0
    assert "Step 3 of 3." in printed
    assert f"dnabert-jax export {out}" in printed
    assert (model / "model.safetensors").is_file()
    config = json.loads((model / "config.json").read_text())
    assert (config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]) == (16, 1, 69)


def test_the_main_job_with_everything_but_the_run_on_a_store(
    store: type, tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    storage.upload(HELDOUT_FASTA, "store://bucket/sample.fa.gz")
    data, out, cache = "store://bucket/rows", tmp_path / "run", tmp_path / "cache"
    assert run(["prepare", "genome", "--fasta", "store://bucket/sample.fa.gz", "--k", "3", "--out", data]) == 0
    assert run(["prepare", "verify", data]) == 0
    assert "is sound" in capsys.readouterr().out
    train = ["pretrain", "--data", data, "--data-cache", str(cache), "--out", str(out), *SMALL_FLAGS]
    assert run(train) == 0
    assert run(["export", str(out), "--out", "store://bucket/model"]) == 0
    assert "model.safetensors" in storage.names("store://bucket/model")
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


def test_what_must_be_local_is_no_url(rows: Path, fails: Callable[..., str]) -> None:
    assert "gs://bucket/run" in fails("pretrain", "--data", rows, "--out", "gs://bucket/run", *SMALL_FLAGS)
    assert not Path("gs:").exists()
    for flag in ("--fasta", "--out"):  # an optional flag, and a required one
        files = {"--fasta": str(HELDOUT_FASTA), "--out": "x.tsv", flag: "gs:/bucket/x"}
        assert "gs:/bucket/x" in fails("predict", "--model", "m", *itertools.chain(*files.items()))


def test_a_saved_configuration_is_reloaded_and_overridden(trained: tuple[Path, str]) -> None:
    saved = trained[0] / "config.json"
    job = parse_pretrain(["--data", "rows", "--out", "run", "--config", str(saved), "--seed", "7"])
    before, after = json.loads(saved.read_text()), json.loads(to_json(job.settings))
    assert before["model"]["hidden_size"] == 16
    assert after == before | {"seed": 7}


@pytest.mark.parametrize(
    ("content", "named"), [(b">a\nNNNN\n", "window"), (b">a\nACGT1ACGTACGT\n", "'1' at position 5")]
)
def test_bad_fasta(tmp_path: Path, fails: Callable[..., str], content: bytes, named: str) -> None:
    """What is not FASTA at all is refused by its reader: tests/io/test_genome.py."""
    path = tmp_path / "bad.fa"
    path.write_bytes(content)
    line = fails("prepare", "genome", "--fasta", path, "--out", tmp_path / "out", within=tmp_path)
    assert named in line
    assert "bad.fa" in line


def test_bad_places(rows: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_bad_settings(rows: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    for flags, named in (
        ("--preset dnabert6", "k = 6"),
        ("SMALL --mesh.tensor 3", "8 devices"),
        ("SMALL --model.dropout 2", "dropout is 2.0"),
        ("SMALL --global-batch 12", "12"),
        ("--preset tiny --steps 10000", "schedule_steps"),
        ("", "--preset"),
        ("--preset huge", "'huge'"),
        ("--preset tiny --config c.json", "--config"),
        ("--config c.json", "c.json"),
    ):
        words = flags.replace("SMALL", " ".join(SMALL_FLAGS)).split()
        assert named in fails("pretrain", "--data", rows, "--out", tmp_path / "run", *words, within=tmp_path)
    prepare = ("prepare", "genome", "--out", tmp_path / "out", "--fasta")
    assert "k is 12" in fails(*prepare, "a", "--k", "12")
    assert "0.5" in fails(*prepare, HELDOUT_FASTA, "--weights", "0.5")
    assert "2 weights" in fails(*prepare, HELDOUT_FASTA, "--weights", "0.5", "0.5", within=tmp_path)


def test_damaged_shards(rows: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    data = shutil.copytree(rows, tmp_path / "data")
    shard = data / "train-00000-of-00001.tfrecord"
    whole, stride = shard.read_bytes(), RecordLayout(512).stride
    flipped = whole[:500] + bytes([whole[500] ^ 4]) + whole[501:]
    from_another_run = whole[stride:] + whole[:stride]
    for content in (whole[:-1], None, flipped, from_another_run):
        shard.unlink(missing_ok=True)
        if content is not None:
            shard.write_bytes(content)
        assert shard.name in fails("pretrain", "--data", data, *SMALL_FLAGS, "--out", "run", within=tmp_path)


def test_rows_made_on_beam_pass_verification(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(tmp_path / "rows")
    prepare = ["prepare", "genome-beam", "--fasta", str(HELDOUT_FASTA), "--k", "3", "--out", data, "--"]
    assert run([*prepare, "--direct_running_mode", "multi_threading"]) == 0
    assert run(["prepare", "verify", data]) == 0
    assert data in capsys.readouterr().out
    assert data in fails(*prepare)
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    assert "(the extra beam)" in fails(*prepare[:-2], tmp_path / "other")


@pytest.mark.parametrize(
    ("k", "length", "flags"),
    [(4, 512, "--preset dnabert4"), (2, 1024, "--preset dnabert6 --model.k 2 --model.max-positions 1024")],
)
def test_the_next_command_is_for_these_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], k: int, length: int, flags: str
) -> None:
    out = tmp_path / "rows"
    shape = ["--k", str(k), "--row-length", str(length)]
    assert run(["prepare", "genome", "--fasta", str(HELDOUT_FASTA), "--out", str(out), *shape]) == 0
    assert f"Next: dnabert-jax pretrain --data {out} {flags} --out RUN" in capsys.readouterr().out


@pytest.mark.parametrize("command", sorted(_COMMANDS))
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run([*command.split(), "--help"])
    assert f"Example: dnabert-jax {command}" in " ".join(capsys.readouterr().out.split())


def test_help_without_a_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert "prepare genome" in capsys.readouterr().out
    assert run([]) == 2
    assert run(["prepare", "--help"]) == 0


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        ("prepare genome --fasta a.fa --out rows --fasta b.fa", "--fasta"),
        ("prepare genome --fasta a.fa --out rows --heldout-records=chr1 --heldout_records=chr2", "--heldout-records"),
        ("prepare tfbs --fasta a --peaks p --negatives shuffle --out x --negatives gc-windows", "--negatives"),
        ("variants --vcf v --fasta f --model m --out o.vcf --scores effect --scores likelihood", "--scores"),
        ("report --out r.html --results a --results b", "--results"),
        ("finetune --model m --data d --out o --labels a --labels b", "--labels"),
    ],
)
def test_a_list_given_in_parts_is_refused(
    arguments: str, flag: str, fails: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last part would count alone; of a flag with one value, such as --out, the last one counts."""
    monkeypatch.chdir(tmp_path)
    for name in arguments.split():
        Path(name).touch()
    assert f" {flag} " in fails(*arguments.split(), "--out", "o.vcf")


def test_a_mistyped_preset_is_named_before_a_missing_one(
    capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    data = ["--data", "rows", "--out", "run"]
    with pytest.raises(SystemExit, match="2"):
        run(["pretrain", "--prest", "tiny", *data])
    error = capsys.readouterr().err
    assert "--prest," in error
    assert "--preset " in error
    assert "--preset" in fails("pretrain", "--process", "0", "--processes", "2", *data)


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("fly", ""),
        ("pretrian", "pretrain"),
        ("prepare genme", "prepare genome"),
        ("prepare genome-beem", "prepare genome-beam"),
        ("tfbs", "prepare tfbs"),
    ],
)
def test_a_mistyped_command_is_told_what_was_meant(fails: Callable[..., str], mistyped: str, meant: str) -> None:
    sentence = fails(*mistyped.split(), "--out", "x")
    assert f"{mistyped!r}" in sentence
    assert meant in sentence


def test_commands_are_advised_as_the_program_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "my env" / "bin" / "dnabert-jax"
    script.parent.mkdir(parents=True)
    script.write_text("")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(script), "demo"])
    assert shlex.split(command("export", "my run")) == [str(script), "export", "my run"]
    monkeypatch.setenv("PATH", str(script.parent))
    assert command("export", "run") == "dnabert-jax export run"
    monkeypatch.setattr(sys, "argv", ["-c"])
    assert command("export", "run") == "dnabert-jax export run"


def test_the_bar_shows_utilisation_where_it_is_known() -> None:
    figures = {"loss": 2.5, "accuracy": 0.25, "tokens_per_second": 1234.5}
    with TrainingBar() as bar:
        bar.started(0, 10, True)
        bar.trained(5, figures | {"mfu": 0.4567})
        assert "loss 2.500, accuracy 0.250, 1,234 tokens/s, MFU 45.7%]" in str(bar._bar)
        bar.trained(6, figures)
        assert "1,234 tokens/s]" in str(bar._bar)


def test_profiles_are_set_beforehand_or_asked_for_by_a_signal(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    fails: Callable[..., str],
) -> None:  # fmt: skip
    stepped = TrainingBar.stepped

    def staged_and_signalled(data: Path, *_: object) -> Path:
        signal.raise_signal(signal.SIGUSR1)
        return data

    def stepped_and_signalled(bar: TrainingBar, step: int) -> None:
        stepped(bar, step)
        if step == 2:
            signal.raise_signal(signal.SIGUSR1)

    monkeypatch.setattr(TrainingBar, "stepped", stepped_and_signalled)
    monkeypatch.setattr("dnabert_jax.commands.pretrain.stage", staged_and_signalled)
    before, out = signal.getsignal(signal.SIGUSR1), tmp_path / "run"
    train = ["pretrain", "--data", str(rows), "--out", str(out), *SMALL_FLAGS]
    assert run([*train, "--profile-from", "2", "--profile-steps", "1"]) == 0
    printed = capsys.readouterr().out
    for step in (1, 2, 3):
        place = out / "tensorboard" / "plugins" / "profile" / f"from-step-{step}-process-0"
        assert str(place) in printed
        assert list(place.glob("*.xplane.pb"))
        assert list(place.glob("*.trace.json.gz"))
    assert signal.getsignal(signal.SIGUSR1) == before
    assert run([*train, "--profile-from", "2", "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "all its 3 steps" in printed
    assert "no profile from step 2" in printed
    assert "--profile-from is 4" in fails(*train, "--profile-from", "4")
    assert "--profile-steps is 0" in fails(*train, "--profile-steps", "0")
