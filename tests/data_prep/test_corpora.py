"""The scripts that download public data: what they ask for, that they resume, and what they leave when one fails."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "data_prep"
# Writes into the file after --output: what FILES_TXT says for the index, and the address for all else.
CURL = """#!/usr/bin/env bash
echo "$@" >> "$CALLS"
if [[ ${!#} == */files.txt ]]; then printf "$FILES_TXT" > "${@: -2:1}"; else echo "${!#}" > "${@: -2:1}"; fi
[[ ${!#} != *"${BROKEN:-nothing}"* ]] || exit 22
"""
INDEX = "wgA.narrowPeak.gz\\tcell=A549; md5sum=1\\nwgB.narrowPeak.gz\\tcell=K562\\nREADME.txt\\tx\\n"


def start(script: str, folder: Path, *arguments: str, **environment: str) -> tuple[int, list[str]]:
    """Runs a script with programs that note their arguments in place of curl and dnabert-jax."""
    programs, calls = folder / "bin", folder / "calls"
    programs.mkdir(exist_ok=True)
    for name, text in (("curl", CURL), ("dnabert-jax", '#!/usr/bin/env bash\necho dnabert-jax "$@" >> "$CALLS"\n')):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    calls.write_text("")
    path = f"{programs}:{os.environ['PATH']}"
    names = {**os.environ, "PATH": path, "CALLS": str(calls), "FILES_TXT": INDEX, **environment}
    done = subprocess.run([SCRIPTS / script, *arguments], cwd=folder, env=names, capture_output=True, check=False)
    return done.returncode, calls.read_text().splitlines()


@pytest.mark.parametrize(
    ("script", "files", "prepared"),
    [
        ("human.sh", ["GRCh38.primary_assembly.genome.fa.gz"],
         "prepare genome --fasta data/GRCh38.primary_assembly.genome.fa.gz --heldout-records chr21 chr22"
         " --out data/rows --seed 1"),
        ("encode690.sh", ["hg19.2bit", "peaks/files.txt", "peaks/wgA.narrowPeak.gz", "peaks/wgB.narrowPeak.gz"],
         "prepare tfbs --fasta data/hg19.2bit --peaks data/peaks --out data/sets --seed 1"),
    ],
)  # fmt: skip
def test_data_are_downloaded_once_and_prepared(script: str, files: list[str], prepared: str, tmp_path: Path) -> None:
    status, calls = start(script, tmp_path, "data", "--seed", "1", BROKEN=Path(files[-1]).name)
    assert status == 22
    assert not (tmp_path / "data" / files[-1]).exists()
    assert not any(call.startswith("dnabert-jax") for call in calls)

    status, (*downloads, command) = start(script, tmp_path, "data", "--seed", "1")
    assert status == 0
    assert [call.split("/")[-1] for call in downloads] == [Path(files[-1]).name], "what is there is not fetched again"
    assert command == f"dnabert-jax {prepared}"
    found = {str(path.relative_to(tmp_path / "data")) for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert found == {*files}


@pytest.mark.parametrize("script", ["human.sh", "encode690.sh"])
def test_help_is_shown(script: str, tmp_path: Path) -> None:
    assert start(script, tmp_path, "--help") == (0, [])
    assert start(script, tmp_path) == (2, [])
