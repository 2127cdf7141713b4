"""A folder of peak files to a suite of sets: each is what its file alone gives, and a bad file stops no other."""

import dataclasses
import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest

from dnabert_jax.data_prep.derived import suite
from dnabert_jax.data_prep.derived.derive import derive
from dnabert_jax.data_prep.derived.suite import prepare_suite
from dnabert_jax.data_prep.derived.tasks import Tfbs, TfbsJob
from dnabert_jax.errors import InputError
from dnabert_jax.tasks.suites.suite import find_sets
from tests.data_prep.conftest import contents
from tests.data_prep.derived.conftest import Assembly, peak_lines


@pytest.fixture
def job(assembly: Assembly, tmp_path: Path) -> TfbsJob:
    """A folder of three peak files: plain, gzip, and without summits."""
    folder = tmp_path / "peaks"
    folder.mkdir()
    (folder / "A_x.narrowPeak").write_text(peak_lines(300, 1500))
    (folder / "B_y.narrowPeak.gz").write_bytes(gzip.compress(peak_lines(700, 2500).encode()))
    (folder / "C_z.v2.bed").write_text(peak_lines(500, 3000, summit=-1))
    (folder / "README.txt").write_text("no peaks")
    blacklist = tmp_path / "black.bed"
    blacklist.write_text("chr1\t300\t400\n")
    choices = {"negatives": ("gc-windows", "shuffle"), "negative_distance": 100}
    return TfbsJob(fasta=(assembly.fasta,), peaks=folder, out=tmp_path / "suite", blacklist=(blacklist,), **choices)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_set_is_what_its_file_alone_gives(job: TfbsJob, tmp_path: Path, processes: int) -> None:
    record, before = prepare_suite(job, processes)
    assert (list(record.sets), record.failed, before) == (["A_x", "B_y", "C_z.v2"], {}, 0)
    for name, made in record.sets.items():
        alone = dataclasses.replace(job, peaks=job.peaks / made.file, out=tmp_path / "alone" / name)
        manifest = derive(Tfbs(alone))
        assert contents(job.out / name) == contents(alone.out)
        assert manifest.name == name == json.loads((alone.out / "dataset_info.json").read_text())["name"]
        assert made.splits == {split: sum(counts["label"].values()) for split, counts in manifest.splits.items()}
    # Nothing else is there, and what is there is a suite to evaluate.
    assert sorted(path.name for path in job.out.iterdir()) == [*record.sets, "suite.json"]
    assert [found.name for found in find_sets(job.out)] == list(record.sets)


def test_the_same_again_adds_what_is_missing(job: TfbsJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(task: Tfbs, **settings: object) -> object:
        if task.set_name != "A_x":
            raise KeyboardInterrupt
        return derive(task, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(suite, "derive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare_suite(job)
    # The largest file is the first.
    assert [path.name for path in job.out.iterdir()] == ["A_x"]
    # As a process that is killed leaves it.
    (job.out / ".unfinished" / "B_y").mkdir(parents=True)
    times = {path: path.stat().st_mtime_ns for path in (job.out / "A_x").iterdir()}
    record, before = prepare_suite(job)
    assert (len(record.sets), before) == (3, 1)
    assert {path: path.stat().st_mtime_ns for path in (job.out / "A_x").iterdir()} == times
    finished = contents(job.out)
    assert prepare_suite(job) == (record, 3)
    assert contents(job.out) == finished


def test_a_set_that_was_made_otherwise_is_refused(job: TfbsJob, tmp_path: Path) -> None:
    prepare_suite(job)
    finished = contents(job.out)
    fasta = tmp_path / "other.fa"
    fasta.write_bytes(job.fasta[0].read_bytes().replace(b"ACGT", b"TTTT"))
    for other in ({"seed": 1}, {"length": 99}, {"fasta": (fasta,)}, {"blacklist": ()}):
        with pytest.raises(InputError, match=r"suite/A_x\b"):
            prepare_suite(dataclasses.replace(job, **other))
    (job.peaks / "C_z.v2.bed").write_text(peak_lines(500, 2000))
    with pytest.raises(InputError, match=r"suite/C_z\.v2\b"):
        prepare_suite(job)
    (job.peaks / "A_x.narrowPeak").rename(job.peaks / "D.narrowPeak")
    with pytest.raises(InputError, match=r"\bA_x\b"):
        prepare_suite(job)
    assert contents(job.out) == finished


def test_a_bad_file_stops_no_other(job: TfbsJob) -> None:
    bad = {
        "empty.bed": b"",
        "text.bed": b"chr1\t1\t90\nno peaks\n",
        "cut.narrowPeak.gz": gzip.compress(peak_lines(300, 20).encode())[:-90],
        "elsewhere.bed": b"chrUn\t1\t90\n",
        "md5.bed": peak_lines(300, 1500).encode(),
    }
    for name, content in bad.items():
        (job.peaks / name).write_bytes(content)
    beyond = "".join(f"chr1\t{start}\t{start + 9}\n" for start in range(60_000, 62_000, 10))
    (job.peaks / "beyond.bed").write_text(peak_lines(300, 1500) + beyond)
    right = hashlib.md5((job.peaks / "A_x.narrowPeak").read_bytes(), usedforsecurity=False).hexdigest()
    sums = {"md5.bed": "00", "A_x.narrowPeak": right}
    index = "".join(f"{name}\tcell=K562; md5sum={digest}\n" for name, digest in sums.items())
    index += "gone.bed.gz\tcell=A549\n"
    (job.peaks / "files.txt").write_text(index)
    record, _ = prepare_suite(job)
    assert list(record.sets) == ["A_x", "B_y", "C_z.v2", "beyond"]
    assert [name for name, made in record.sets.items() if made.beyond] == ["beyond"]
    assert list(record.failed) == ["cut", "elsewhere", "empty", "md5", "text"]
    for name in bad:
        assert str(job.peaks / name) in record.failed[name.split(".")[0]]
    assert "Line 2 " in record.failed["text"]
    assert record.absent == ("gone.bed.gz",)
    assert (job.out / "files.txt").read_text() == index
    assert json.loads((job.out / "suite.json").read_text())["failed"] == record.failed
    # What was made before the index said otherwise is not passed over.
    (job.peaks / "files.txt").write_text(index.replace(right, "00"))
    with pytest.raises(InputError, match=r"A_x\.narrowPeak\b.*\b00\b"):
        prepare_suite(job)


def test_folders_of_which_no_suite_can_be_made(job: TfbsJob) -> None:
    with pytest.raises(InputError, match=re.escape(str(job.fasta[0].parent))):
        prepare_suite(dataclasses.replace(job, peaks=job.fasta[0].parent))
    with pytest.raises(InputError, match="store://bucket/suite"):
        prepare_suite(dataclasses.replace(job, out="store://bucket/suite"))
    (job.peaks / "A_x.bed.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"A_x\.bed\.gz\b.*A_x\.narrowPeak\b"):
        prepare_suite(job)
    assert not job.out.exists()
