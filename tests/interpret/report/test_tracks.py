"""Tracks, heat maps and motif instances of the report in a real browser."""

import csv
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from launch.cli import run
from tests.interpret.report.conftest import UNREACHABLE, Made, Open, numbers, shown, tab_to, write_scores

if TYPE_CHECKING:
    from playwright.sync_api import Page


def place(page: "Page", share: float, y: float) -> tuple[float, float]:
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    return box["x"] + share * box["width"], box["y"] + y


def test_everything_moves_the_view(opened: Open) -> None:
    with opened() as page:
        assert shown(page) == (0, 59)
        canvas = page.locator("#canvas")
        canvas.focus()
        page.keyboard.press("+")
        first, last = by_key = shown(page)
        assert 0 < first < last < 59
        page.keyboard.press("ArrowRight")
        moved = shown(page)
        assert moved[0] > first
        assert abs((moved[1] - moved[0]) - (last - first)) <= 1
        page.keyboard.press("0")
        assert shown(page) == (0, 59)
        page.get_by_label("Zoom in").click()
        assert shown(page) == by_key
        # The base under the pointer stays where it is.
        page.mouse.move(*place(page, 0.9, 160))
        before = numbers(page.locator("#readout").inner_text())[0]
        canvas.focus()
        page.mouse.wheel(0, -200)
        zoomed = shown(page)
        assert zoomed[1] - zoomed[0] < last - first
        page.mouse.move(*place(page, 0.9, 161))
        assert abs(numbers(page.locator("#readout").inner_text())[0] - before) <= 1
        page.mouse.down()
        page.mouse.move(*place(page, 0.5, 161), steps=4)
        page.mouse.up()
        assert shown(page)[1] > zoomed[1]
        page.mouse.dblclick(*place(page, 0.5, 161))
        assert shown(page) == (0, 59)


def test_a_base_is_read_as_the_files_have_it(opened: Open, made: Made) -> None:
    with opened() as page:
        page.get_by_role("button", name="p2", exact=True).click()
        # What is drawn for a sequence is drawn a frame later.
        page.locator("svg .heat").wait_for()
        shown(page)
        y = page.locator("svg .heat").bounding_box()["y"] - page.locator("#canvas").bounding_box()["y"]
        for zooms, share in ((0, 0.3), (0, 0.75), (4, 0.5)):
            page.locator("#canvas").focus()
            for _ in range(zooms):
                page.keyboard.press("+")
            shown(page)
            page.mouse.move(*place(page, share, 130))
            position, attention, mutagenesis, *changes = numbers(page.locator("#readout").inner_text())
            effects = made.effects[2][int(position)]
            assert attention == pytest.approx(made.scores[2][int(position)], rel=1e-3)
            assert mutagenesis == pytest.approx(-effects.mean(), rel=1e-3)
            base = re.search(r"position\s*\d+ ([ACGT])", page.locator("#readout").inner_text())
            assert base is not None
            others = [effects["ACGT".index(other)] for other in "ACGT" if other != base[1]]
            assert changes[:3] == pytest.approx(others, rel=1e-3)
            for row in range(4):
                page.mouse.move(*place(page, share, y + 17 * row + 8))
                cell = re.search(r"([ACGT])→([ACGT])\s*(\S+)", page.locator("#readout").inner_text())
                assert (cell is None) == ("ACGT"[row] == base[1])
                if cell is not None:
                    assert cell[2] == "ACGT"[row]
                    assert numbers(cell[3]) == pytest.approx([effects[row]], rel=1e-3)


def test_each_heat_map_has_its_own_scale_and_says_which(opened: Open, tmp_path: Path) -> None:
    effects = np.linspace(-1, 1, 80, dtype=np.float32).reshape(20, 4)
    for name, most in (("weak", 0.1), ("strong", 10)):
        label = {"label": np.array("bound")} if name == "strong" else {}
        arrays = {"scores": effects.mean(axis=1), "effects": np.float32(most) * effects, **label}
        write_scores(tmp_path / f"{name}.npz", ["one"], ["CNNNNNNNNNNNNNNNNNNA"], **arrays)
    files = [str(tmp_path / f"{name}.npz") for name in ("weak", "strong")]
    assert run(["report", "--scores", *files, "--out", str(tmp_path / "report.html")]) == 0
    with opened(report=tmp_path / "report.html") as page:
        shown(page)
        labels = page.locator("#canvas .label").all_text_contents()
        assert labels == [
            "Mean loss: weak", "Substitutions, ±0.1: weak",
            "Mean loss: strong, label bound", "Substitutions, ±10: strong, label bound",
        ]  # fmt: skip
        for number in range(2):
            cells = page.locator("#canvas .heat").nth(number).locator("path[fill-opacity]")
            shades = cells.evaluate_all("paths => paths.map((path) => path.getAttribute('fill-opacity'))")
            assert max(map(float, shades)) == 1
        # The legend is of all maps, so it can have no number of any.
        assert numbers(page.locator(".scale").inner_text()) == []


def test_bars_become_letters_of_their_height(opened: Open) -> None:
    with opened(width=420) as page:
        shown(page)
        assert page.locator("#canvas path.base-A").count() == 0
        page.locator("#canvas").focus()
        for _ in range(3):
            page.keyboard.press("+")
        first, last = shown(page)
        drawn = page.locator("#canvas path[class^=base-]").count()
        assert last - first < drawn <= 2 * (last - first + 1)


def test_an_instance_leads_to_the_sequence_and_to_its_motif(opened: Open, made: Made) -> None:
    with (made.folder / "motifs/motifs.tsv").open() as table:
        motifs = list(csv.DictReader(table, delimiter="\t"))
    with opened() as page:
        assert page.locator(".card h3").all_inner_texts() == [motif["motif"] for motif in motifs][:24]
        assert "FOS::JUN" in page.locator(".card").first.inner_text()
        chip = page.locator("#motif-0 .chips button").nth(1)
        name, _, start = chip.inner_text().rpartition(":")
        chip.click()
        assert page.locator(".tracks h3").inner_text() == name
        first, last = shown(page)
        assert first <= int(numbers(start)[0]) < last
        page.locator("#canvas .instance.chosen .core").first.click()
        assert page.evaluate("document.activeElement.id") == "motif-0"


def test_the_keyboard_steps_through_instances_and_comes_to_the_motif(opened: Open, made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.folder / "motifs", tmp_path / "motifs")
    with (tmp_path / "motifs/motifs.tsv").open() as table:
        motifs = [row["motif"] for row in csv.DictReader(table, delimiter="\t")]
    with (tmp_path / "motifs/motifs.tsv").open("r+") as table:
        long = table.read().rstrip("\n") + 200 * f";{motifs[0]}" + "\n"
        table.seek(0)
        table.write(long)
    # The second lies over the first.
    instances = [
        [
            "p0",
            str(start),
            str(start + 12),
            motifs[-(number % 2)],
            "0",
            "+-"[number % 2],
            str(start + 2),
            str(start + 9),
        ]
        for number, start in enumerate((3, 9, 30, 47))
    ]
    rows = ["\t".join(row) + "\n" for row in reversed(instances)]
    (tmp_path / "motifs/instances.bed").write_text("".join(rows))
    flags = ["--scores", str(made.folder / "attention.npz"), "--motifs", str(tmp_path / "motifs")]
    assert run(["report", *flags, "--out", str(tmp_path / "report.html")]) == 0
    with opened(report=tmp_path / "report.html") as page:
        assert page.evaluate(UNREACHABLE) == []
        tab_to(page, "#canvas")
        for _ in range(6):
            page.keyboard.press("+")
        for step in (*range(len(instances)), 0):
            page.keyboard.press("m")
            first, last = shown(page)
            told = page.locator("#readout").inner_text()
            start, end, motif, strand = (instances[step][place] for place in (1, 2, 3, 5))
            assert f"instance {step + 1} of {len(instances)}" in told
            assert f"{motif} ({strand})" in told
            assert f"{start} to {int(end) - 1}" in told
            assert first <= (int(start) + int(end)) / 2 <= last
            # It is outlined where it is drawn.
            title = page.locator("title", has_text=f", {int(start) + 2} to {int(start) + 8}:")
            drawn = page.locator("#canvas .instance", has=title).locator(".flank").bounding_box()
            mark = page.locator("#canvas .cell").bounding_box()
            assert mark["x"] == pytest.approx(drawn["x"], abs=2)
            assert mark["width"] == pytest.approx(drawn["width"], abs=3)
            assert mark["y"] < drawn["y"] < drawn["y"] + drawn["height"] < mark["y"] + mark["height"]
        page.keyboard.press("Shift+M")
        shown(page)
        assert f"instance {len(instances)} of" in page.locator("#readout").inner_text()
        page.keyboard.press("Enter")
        card = page.locator(":focus")
        assert card.get_attribute("aria-label") == f"Motif {instances[-1][3]}"
        # And back to the sequence.
        tab_to(page, ".card .chips button")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "canvas"
        assert "M steps through the motif instances" in page.locator(".tracks").inner_text()
