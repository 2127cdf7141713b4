"""Processes of a map do not run the script that started them."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import operator
from data_prep.ordered_map import ordered_map
open("runs", "a").write("x")
print(list(ordered_map(operator.add, [1, 2, 3], 10, 2)))
"""


def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[11, 12, 13]\n"
    assert (tmp_path / "runs").read_text() == "x"
