"""What a collection's index says of its peak files."""

from pathlib import Path

import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.io.peak_index import PeakFile, read_peak_index


def _written(directory: Path, *lines: str) -> Path:
    path = directory / "files.txt"
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def test_fields_are_read_by_key_in_any_order(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        "# comment",
        "wgEncodeAwgTfbsHaibA549Atf3UniPk.narrowPeak.gz\tproject=wgEncode; cell=A549; lab=HudsonAlpha; "
        "treatment=EtOH_0.02pct; antibody=ATF3_v2; factor=ATF3; md5sum=04B555; size=168KB",
        "",
        "b.bed\tMD5SUM=ff; treatment=None;antibody=CTCF ;cell=K562",
        "c.narrowPeak\t",
    )
    assert read_peak_index(path) == {
        "wgEncodeAwgTfbsHaibA549Atf3UniPk": PeakFile(
            "wgEncodeAwgTfbsHaibA549Atf3UniPk.narrowPeak.gz", "A549", "ATF3", "EtOH_0.02pct", "HudsonAlpha", "04b555"
        ),
        "b": PeakFile("b.bed", "K562", "CTCF", md5="ff"),
        "c": PeakFile("c.narrowPeak"),
    }


@pytest.mark.parametrize("line", ["a.narrowPeak cell=K562", "a.narrowPeak\tcell", "\tcell=K562", "b.bed.gz\tcell=A549"])
def test_a_line_of_another_form_or_of_a_set_listed_before_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match=r"\b2\b.*files\.txt"):
        read_peak_index(_written(tmp_path, "b.bed\tcell=K562", line))
