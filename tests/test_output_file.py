"""A file has its name when it is complete, and is not there at all otherwise."""

import errno
from pathlib import Path

import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.output_file import output_file, output_files


def test_it_is_renamed_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "new" / "x.tsv"
    with output_file(final) as file:
        file.write(b"row")
        assert not final.exists()
    assert [path.name for path in final.parent.iterdir()] == ["x.tsv"]
    assert final.read_bytes() == b"row"
    with pytest.raises(InputError, match=str(final)), output_file(final):
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


def test_of_two_jobs_the_second_to_end_is_refused_and_both_write_whole_files(tmp_path: Path) -> None:
    final = tmp_path / "x.tsv"

    def write_twice() -> None:
        with output_file(final) as file:
            file.write(b"half of a row, ")
            with output_file(final) as other:
                other.write(b"row")
            file.write(b"and the rest")

    with pytest.raises(InputError, match=str(final)):
        write_twice()
    assert [path.name for path in tmp_path.iterdir()] == ["x.tsv"]
    assert final.read_bytes() == b"row"


@pytest.mark.parametrize("blocked", ["a.vcf", "a.tsv"])
def test_several_files_get_their_names_together_or_not_at_all(tmp_path: Path, blocked: str) -> None:
    finals = [tmp_path / "a.vcf", tmp_path / "a.tsv"]
    with output_files(*finals) as files:
        for file in files:
            file.write(b"row")
    assert [final.read_bytes() for final in finals] == [b"row", b"row"]
    for final in finals:
        final.unlink()
    with pytest.raises(InputError, match=blocked), output_files(*finals):
        (tmp_path / blocked).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [blocked]
