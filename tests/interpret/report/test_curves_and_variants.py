"""Curves and the table of variants of the report in a real browser."""

from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.config import TaskConfig
from dnabert_jax.tasks.measures.curves import Curves
from dnabert_jax.typed_json import read_json
from launch.cli import run
from tests.interpret.report.conftest import UNREACHABLE, Made, Open, column, numbers, tab_to, write_results


def test_a_curve_is_read_where_its_points_are(opened: Open, made: Made) -> None:
    curves = read_json(Curves, made.folder / "results/curves/curves.json")
    with opened() as page:
        for number, (curve,) in enumerate((curves.roc, curves.precision_recall, curves.calibration)):
            figure = page.locator(".curves figure").nth(number)
            figure.locator("svg").hover(position={"x": 150, "y": 100})
            assert f"yes: {curve.figure}" in figure.inner_text()
            point = numbers(figure.locator("output").inner_text())
            points = np.array([curve.x, curve.y]).T
            assert np.abs(points - point).max(axis=1).min() < 1e-3


def test_the_keyboard_reads_curves(opened: Open, made: Made) -> None:
    curves = read_json(Curves, made.folder / "results/curves/curves.json")
    with opened() as page:
        for number, (curve,) in enumerate((curves.roc, curves.precision_recall, curves.calibration)):
            readout = page.locator(".curves figure").nth(number).locator("output")
            assert "arrow keys" in readout.inner_text()
            tab_to(page, ".curves svg")
            assert page.locator(".curves svg").nth(number).evaluate("own => own === document.activeElement")
            points = list(zip(curve.x, curve.y, strict=True))
            for key, place in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowLeft", 0), ("End", -1)):
                page.keyboard.press(key)
                assert numbers(readout.inner_text()) == pytest.approx(points[place], abs=1e-3)


def test_the_keyboard_goes_to_the_next_curve_that_has_points(opened: Open, tmp_path: Path) -> None:
    task = TaskConfig("single_label_classification", ("one", "none", "two", "three", *"abcdefgh"))
    write_results(tmp_path / "runs", task, np.arange(60) % 3 + (np.arange(60) % 3 > 0))
    curves = {curve.label: curve for curve in read_json(Curves, tmp_path / "runs/curves/curves.json").roc}
    assert not curves["none"].x
    assert run(["report", "--results", str(tmp_path / "runs"), "--out", str(tmp_path / "report.html")]) == 0
    with opened(report=tmp_path / "report.html") as page:
        assert page.evaluate(UNREACHABLE) == []
        tab_to(page, ".curves svg")
        readout = page.locator(".curves output").first
        for _ in range(9):
            page.keyboard.press("ArrowRight")
        assert readout.locator("b").inner_text() == "one"
        before = np.array(numbers(readout.inner_text()))
        for key, label in (("Down", "two"), ("Down", "three"), ("Down", "one"), ("Up", "three")):
            page.keyboard.press(f"Arrow{key}")
            assert readout.locator("b").inner_text() == label
            points = np.array([curves[label].x, curves[label].y]).T
            now = np.array(numbers(readout.inner_text()))
            nearest = np.linalg.norm(points - before, axis=1).min()
            assert np.linalg.norm(now - before) == pytest.approx(nearest, abs=2e-3)
            before = now


def test_the_table_sorts_and_filters_as_numbers_and_as_text(opened: Open, made: Made) -> None:
    with opened() as page:
        known = [row for row in made.variants if row["difference"]]
        header = page.locator("#variants th", has=page.get_by_role("button", name="difference"))
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == "descending"
        ids = [row["id"] for row in sorted(known, key=lambda row: -float(row["difference"]))]
        assert column(page, 3) == ids[:50]
        header.get_by_role("button").press("Enter")
        assert header.get_attribute("aria-sort") == "ascending"
        assert column(page, 3) == ids[::-1][:50]
        # What is missing is last, whichever way.
        page.get_by_label("Last rows").click()
        assert set(column(page, 6)[-13:]) == {"–"}
        page.get_by_label("difference: min").fill("0.5")
        page.get_by_label("alt: contains").fill("g")
        chosen = [row for row in known if float(row["difference"]) >= 0.5 and row["alt"] == "G"]
        assert sorted(column(page, 3)) == sorted(row["id"] for row in chosen)
        assert f"of {len(chosen)} (filtered from 130)" in page.locator("#variants [role=status]").inner_text()
        page.get_by_label("alt: contains").fill("none such")
        assert "no row of 130" in page.locator("#variants [role=status]").inner_text()
