"""A file has its name when it is complete, and is not there at all otherwise."""

import errno
import fcntl
from pathlib import Path

import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.output_file import output_file, output_files


def test_it_is_renamed_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "new" / "x.tsv"
    with output_file(final) as file:
        file.write(b"row")
        assert [path.name for path in final.parent.iterdir()] == ["x.tsv.partial"]
    assert [path.name for path in final.parent.iterdir()] == ["x.tsv"]
    assert final.read_bytes() == b"row"
    with pytest.raises(InputError, match="exists already"), output_file(final):
        pass
    assert final.read_bytes() == b"row"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputError("bad"), OSError(errno.ENOSPC, "no space")])
def test_of_what_fails_nothing_is_left(tmp_path: Path, error: BaseException) -> None:
    def write() -> None:
        with output_file(tmp_path / "x.tsv") as file:
            file.write(b"row")
            raise error

    with pytest.raises(type(error)):
        write()
    assert list(tmp_path.iterdir()) == []
    if isinstance(error, OSError):
        assert error.filename == str(tmp_path / "x.tsv")


def test_what_a_killed_job_left_is_written_over_and_what_another_writes_is_not(tmp_path: Path) -> None:
    (tmp_path / "x.tsv.partial").write_bytes(b"a long row of a killed job")
    with output_file(tmp_path / "x.tsv") as file:
        file.write(b"row")
        with pytest.raises(InputError, match="Another job is writing"), output_file(tmp_path / "x.tsv"):
            pass
    assert (tmp_path / "x.tsv").read_bytes() == b"row"


def test_what_another_job_finishes_at_this_moment_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened as its partial file, and renamed before the lock is there."""
    final, partial = tmp_path / "x.tsv", tmp_path / "x.tsv.partial"
    partial.write_bytes(b"theirs")
    monkeypatch.setattr(fcntl, "flock", lambda *_: partial.rename(final))
    with pytest.raises(InputError, match="Another job is writing"), output_file(final):
        pass
    assert final.read_bytes() == b"theirs"


@pytest.mark.parametrize("blocked", ["a.vcf", "a.tsv"])
def test_several_files_get_their_names_together_or_not_at_all(tmp_path: Path, blocked: str) -> None:
    finals = [tmp_path / "a.vcf", tmp_path / "a.tsv"]
    with output_files(*finals) as files:
        for file in files:
            file.write(b"row")
    assert [final.read_bytes() for final in finals] == [b"row", b"row"]
    for final in finals:
        final.unlink()
    # A directory that comes there meanwhile keeps a file from its name.
    with pytest.raises(OSError, match=blocked), output_files(*finals):
        (tmp_path / blocked).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [blocked]
