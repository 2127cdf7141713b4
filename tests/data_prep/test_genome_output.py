"""What `prepare genome` leaves behind, killed, beside other jobs, and on stores: all of it or nothing."""

import itertools
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data_prep.genome import prepare_genome
from data_prep.genome_job import GenomeJob
from data_prep.verify import verify_directory
from dnabert_jax import storage
from dnabert_jax.errors import InputError
from dnabert_jax.sample import TRAIN_FASTA


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_an_output_that_exists_is_left_alone(fasta: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("keep")
    with pytest.raises(InputError, match="exists already"):
        prepare_genome(GenomeJob((fasta,), out))
    assert (out / "mine").read_text() == "keep"


def test_what_a_killed_job_left_does_not_keep_the_next_from_its_work(fasta: Path, tmp_path: Path) -> None:
    """A real process and its workers, killed while it writes: none of them stays."""
    program = """
import multiprocessing, os, signal, sys
from pathlib import Path
from data_prep.genome import prepare_genome
from data_prep.genome_job import GenomeJob

def kill(phase, letters, total):
    if phase == "write":
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

prepare_genome(GenomeJob((Path(sys.argv[1]),), Path(sys.argv[2])), 2, kill)
"""
    command = [sys.executable, "-c", program, str(fasta), str(tmp_path / "out")]
    killed = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    workers = [Path(f"/proc/{number}") for number in killed.stdout.split()]
    assert len(workers) >= 1
    deadline = time.monotonic() + 10
    while any(worker.exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlives the process that it works for"
        time.sleep(0.05)
    assert not (tmp_path / "out").exists()
    prepare_genome(GenomeJob((fasta,), tmp_path / "out"))
    assert list(verify_directory(tmp_path / "out")) == []


@pytest.mark.slow
def test_a_job_killed_at_any_moment_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    """Real processes, killed at random; the one that is left alone makes what an undisturbed one does."""
    random = np.random.default_rng(0)
    out = tmp_path / "out"
    arguments = ["prepare", "genome", "--fasta", *[str(TRAIN_FASTA)] * 3, "--processes", "2", "--out", str(out)]
    program = "import sys; from launch.cli import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *arguments]
    prepare_genome(GenomeJob((TRAIN_FASTA,) * 3, tmp_path / "undisturbed"))
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    seconds = time.monotonic() - start
    killed = 0
    for _ in range(6):
        shutil.rmtree(out, ignore_errors=True)
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as job:
            try:
                job.wait(random.uniform(0.2, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                job.kill()
                killed += 1
        assert not out.exists() or list(verify_directory(out)) == []
    assert killed > 1
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert contents(out) == contents(tmp_path / "undisturbed")
    # A killed job leaves its unfinished directory, under a name that nobody takes for an output, and nothing else.
    unfinished = [path for path in tmp_path.iterdir() if path.name.startswith("out.") and path.suffix == ".partial"]
    assert len(unfinished) <= killed
    assert {path.name for path in set(tmp_path.iterdir()) - set(unfinished)} == {"out", "undisturbed"}


def test_sequence_and_rows_on_a_store_give_the_same_bytes(
    store: type, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that fails now and then; with progress told in bytes."""
    monkeypatch.setattr(storage, "BLOCK_BYTES", 1000)
    storage.upload(fasta, "store://bucket/genome.fa")
    phases: dict[str, int] = {}

    def progress(phase: str, done: int, total: int | None) -> None:
        phases[phase] = phases.get(phase, 0) + done

    for method in ("cat_file", "put_file", "find", "info"):
        store.trouble[method] = iter([None, OSError("unavailable"), OSError("unavailable")])
    settings = {"rows_per_shard": 7, "heldout_fraction": 0.2}
    prepare_genome(GenomeJob(("store://bucket/genome.fa",), "store://bucket/out", **settings), 1, progress)
    prepare_genome(GenomeJob((fasta,), tmp_path / "out", **settings))
    for path in (tmp_path / "out").iterdir():
        assert storage.read(f"store://bucket/out/{path.name}") == path.read_bytes()
    assert len(storage.names("store://bucket/out")) == len(list((tmp_path / "out").iterdir()))
    assert phases["download"] == fasta.stat().st_size
    assert phases["upload"] == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert list(verify_directory("store://bucket/out")) == []


def test_a_store_that_fails_for_good_leaves_no_rows(store: type, fasta: Path, tmp_path: Path) -> None:
    storage.upload(fasta, "store://bucket/genome.fa")
    with pytest.raises(InputError, match=r"store://bucket/none\.fa does not exist"):
        prepare_genome(GenomeJob(("store://bucket/none.fa",), tmp_path / "out"))
    store.trouble["cat_file"] = itertools.repeat(OSError("unavailable"))
    with pytest.raises(InputError, match=r"store://bucket/genome\.fa cannot be used: 3 attempts failed"):
        prepare_genome(GenomeJob(("store://bucket/genome.fa",), tmp_path / "out"))
    assert list(tmp_path.iterdir()) == [fasta]


def test_errors_call_a_file_of_a_store_by_its_url(store: type, tmp_path: Path) -> None:
    storage.write("store://bucket/a.fa", b">a\nACGTX\n")
    with pytest.raises(InputError, match=r"Record 'a' of store://bucket/a\.fa has 'X' at position 5"):
        prepare_genome(GenomeJob(("store://bucket/a.fa",), tmp_path / "out"))
    storage.write("store://bucket/a.fa", b"no")
    with pytest.raises(InputError, match=r"^store://bucket/a\.fa does not begin with '>'"):
        prepare_genome(GenomeJob(("store://bucket/a.fa",), tmp_path / "out"))
