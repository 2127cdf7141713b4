"""The Beam pipeline makes the files of `prepare genome`, to the byte, and fails with the same sentences."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dnabert_jax import storage
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_beam import _in_order, _write_shard, prepare_genome_on_beam
from dnabert_jax.data_prep.genome_job import Counts, GenomeJob
from dnabert_jax.data_prep.verify import verify_directory
from dnabert_jax.errors import InputError, JobError
from dnabert_jax.sample import HELDOUT_FASTA, TRAIN_FASTA
from tests.data_prep.conftest import contents


@pytest.mark.parametrize(
    "settings",
    [
        {"k": 6, "rows_per_shard": 1000},
        {"k": 3, "row_length": 64, "rows_per_shard": 97, "weights": (0.02, 0.98), "reverse_complement": True},
        {"k": 4, "rows": "single", "heldout_records": ("b",), "lower_case": "drop", "seed": 5},
        {"k": 5, "row_length": 32, "rows_per_shard": 1, "heldout_fraction": 0.0},
    ],
)
def test_the_files_are_those_of_one_machine(fasta: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    sources = (fasta,) if settings["k"] == 5 else (fasta, HELDOUT_FASTA)
    phases: list[str] = []
    made = prepare_genome_on_beam(GenomeJob(sources, tmp_path / "beam", **settings), (), phases.append)
    assert made == prepare_genome(GenomeJob(sources, tmp_path / "one", **settings))
    assert contents(tmp_path / "beam") == contents(tmp_path / "one")
    assert list(verify_directory(tmp_path / "beam")) == []
    assert phases == ["survey", "write"]


@pytest.mark.slow
def test_several_processes_make_the_same_files(tmp_path: Path) -> None:
    sources = (HELDOUT_FASTA, TRAIN_FASTA)
    options = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    prepare_genome_on_beam(GenomeJob(sources, tmp_path / "beam", rows_per_shard=500), options)
    prepare_genome(GenomeJob(sources, tmp_path / "one", rows_per_shard=500))
    assert contents(tmp_path / "beam") == contents(tmp_path / "one")


@pytest.mark.slow
def test_a_job_server_takes_the_pipeline_and_hands_back_errors(tmp_path: Path) -> None:
    """The protocol by which Flink and Spark take jobs, spoken with Beam's own job server."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    module = "apache_beam.runners.portability.local_job_service_main"
    command = [sys.executable, "-m", module, "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as server:
        try:
            options = ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}", "--environment_type=LOOPBACK"]
            prepare_genome_on_beam(GenomeJob((HELDOUT_FASTA,), tmp_path / "beam", rows_per_shard=20), options)
            prepare_genome(GenomeJob((HELDOUT_FASTA,), tmp_path / "one", rows_per_shard=20))
            assert contents(tmp_path / "beam") == contents(tmp_path / "one")
            (tmp_path / "no.fa").write_text("no")
            with pytest.raises(InputError, match=r"no\.fa does not begin with '>'"):
                prepare_genome_on_beam(GenomeJob((tmp_path / "no.fa",), tmp_path / "bad"), options)
        finally:
            server.terminate()


def test_files_and_output_may_be_on_a_store(store: type, fasta: Path, tmp_path: Path) -> None:
    storage.upload(fasta, "store://bucket/genome.fa")
    prepare_genome_on_beam(GenomeJob(("store://bucket/genome.fa",), "store://bucket/rows"))
    prepare_genome(GenomeJob((fasta,), tmp_path / "one"))
    names = storage.names("store://bucket/rows")
    assert {name: storage.read(f"store://bucket/rows/{name}") for name in names} == contents(tmp_path / "one")


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        ({"a.fa": ">a\nNNNNNNNNNNNNNNNNN\n"}, {}, "no window to train on"),
        ({"a.fa": ">a\nACGTACXTACGT\n"}, {}, "^Record 'a' of .*'X' at position 7"),
        ({"a.fa": f">a\n{'ACGT' * 10}\n"}, {"heldout_records": ("b",)}, "held-out record 'b'"),
        # Of several errors that of the first file is told.
        ({"y.fa": f">a\n{'ACGT' * 10}\n", "z.fa": "no", "x.fa": "no"}, {}, r"z\.fa does not begin"),
        ({}, {"fasta": ("none.fa",)}, r"none\.fa is not a file that this machine sees"),
        ({"a.fa": ">a\n"}, {"out": "a.fa"}, "exists already"),
    ],
)
def test_bad_input_leaves_nothing_behind(
    tmp_path: Path, files: dict[str, str], settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in files.items():
        Path(name).write_text(content)
    with pytest.raises(InputError, match=message):
        prepare_genome_on_beam(GenomeJob(**{"fasta": tuple(files), "out": "out", **settings}))
    assert {path.name for path in tmp_path.iterdir()} == files.keys()


@pytest.mark.parametrize(("content", "message"), [(">a\n", "changed while it was read"), (None, "is not a file")])
def test_a_file_that_changes_between_its_readings_is_named(
    fasta: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    def change(phase: str) -> None:
        if phase == "write":
            fasta.unlink() if content is None else fasta.write_text(content)

    with pytest.raises(JobError, match=rf"genome\.fa.* {message}"):
        prepare_genome_on_beam(GenomeJob((fasta,), tmp_path / "out"), (), change)
    assert not (tmp_path / "out").exists()


def test_the_order_in_which_a_runner_hands_things_over_does_not_matter(tmp_path: Path) -> None:
    orders = [(0, part, 0) for part in range(20)]
    counted = [(order, Counts(rows=number + 1)) for number, order in enumerate(orders)]
    pieces = [(first, bytes([first])) for first in range(20)]
    random = np.random.default_rng(0)
    for _ in range(5):
        split, blocks = _in_order(("train", [counted[place] for place in random.permutation(20)]))
        assert split == "train"
        assert [blocks.first[order] for order in orders] == [number * (number + 1) // 2 for number in range(20)]
        shuffled = [pieces[place] for place in random.permutation(20)]
        _, entry = _write_shard((("train", 0), shuffled), tmp_path, 20, 1, {"train": blocks})
        assert (tmp_path / entry.name).read_bytes() == bytes(range(20))
        assert entry.rows == 20


def test_what_a_failed_machine_left_half_written_is_removed(fasta: Path, tmp_path: Path) -> None:
    def leave(phase: str) -> None:
        if phase == "write":
            (partial,) = tmp_path.glob("out.*.partial")
            (partial / "train-00000-of-00001.tfrecord.0123.partial").write_text("half")

    prepare_genome_on_beam(GenomeJob((fasta,), tmp_path / "out"), (), leave)
    assert list(verify_directory(tmp_path / "out")) == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["DataflowRunner"], InputError, "'DataflowRunner' is no option"),
        (["--no_wait_until_finish"], InputError, "no_wait_until_finish"),
        (["--runer", "DataflowRunner"], InputError, "Beam does not know the option --runer: check"),
        (["--unheard_of=1", "--runner=DataflowRunner"], InputError, "Beam does not know the option --unheard_of"),
        (["--runner=Nothing"], JobError, "failed with ValueError: .*PipelineRunner subclass"),
        (["--runner=DataflowRunner"], JobError, "failed with ValueError: .*Missing required option: project"),
        # The job server may know an option that Beam's Python does not; here none answers.
        (["--runner=PortableRunner", "--job_endpoint=localhost:1", "--unheard_of=1", "--job_server_timeout=1"],
         JobError, "failed with FutureTimeoutError"),
    ],
)  # fmt: skip
def test_options_that_are_refused_and_runners_that_fail_leave_nothing_behind(
    fasta: Path, tmp_path: Path, options: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        prepare_genome_on_beam(GenomeJob((fasta,), tmp_path / "out"), options)
    assert list(tmp_path.iterdir()) == [fasta]
