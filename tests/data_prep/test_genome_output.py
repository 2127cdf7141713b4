"""What `prepare genome` leaves behind, killed, beside other jobs, and on stores: all of it or nothing."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dnabert_jax import storage
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.data_prep.verify import verify_directory
from dnabert_jax.errors import InputError
from tests.data_prep.conftest import contents

KILLED = """
import multiprocessing, os, signal, sys
from pathlib import Path
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob

def kill(phase, letters, total):
    if phase == sys.argv[3]:
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

prepare_genome(GenomeJob((Path(sys.argv[1]),), Path(sys.argv[2])), 2, kill)
"""

WITHOUT_GUARD = """
from dnabert_jax.data_prep.ordered_map import ordered_map
open("runs", "a").write("x")
print(list(ordered_map(abs, [-1, 2, -3], 2)))
"""


@pytest.mark.parametrize("phase", ["survey", "write"])
def test_what_a_killed_job_left_does_not_keep_the_next_from_its_work(fasta: Path, tmp_path: Path, phase: str) -> None:
    """A real process and its workers, killed while it works: none of them stays."""
    command = [sys.executable, "-c", KILLED, str(fasta), str(tmp_path / "out"), phase]
    killed = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    workers = [Path(f"/proc/{number}") for number in killed.stdout.split()]
    assert bool(workers) == (phase == "write")
    deadline = time.monotonic() + 10
    while any(worker.exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlives the process that it works for"
        time.sleep(0.05)
    assert not (tmp_path / "out").exists()
    prepare_genome(GenomeJob((fasta,), tmp_path / "out"))
    assert list(verify_directory(tmp_path / "out")) == []


def test_processes_do_not_run_the_script_that_starts_them(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(WITHOUT_GUARD)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[(-1, 1), (2, 2), (-3, 3)]\n"
    assert (tmp_path / "runs").read_text() == "x"


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
    made = contents(tmp_path / "out")
    assert {name: storage.read(f"store://bucket/out/{name}") for name in storage.names("store://bucket/out")} == made
    assert phases["download"] == fasta.stat().st_size
    assert phases["upload"] == sum(map(len, made.values()))
    assert list(verify_directory("store://bucket/out")) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b">a\nACGTX\n", r"^Record 'a' of store://bucket/a\.fa has 'X' at position 5"),
        (b"no", r"^store://bucket/a\.fa does not begin with '>'"),
        (None, r"^store://bucket/a\.fa does not exist"),
    ],
)
def test_errors_call_a_file_of_a_store_by_its_url(
    store: type, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        storage.write("store://bucket/a.fa", content)
    with pytest.raises(InputError, match=message):
        prepare_genome(GenomeJob(("store://bucket/a.fa",), tmp_path / "out"))
    assert not list(tmp_path.iterdir())
