"""The report in a real browser: it shows what the files have, asks for nothing and runs no name as markup."""

import base64
import csv
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from dnabert_jax.commands.cli import run
from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interpret.motifs.known_motifs import Match, write_matches
from dnabert_jax.interpret.report.sections import column_table
from dnabert_jax.tasks.measures.curves import Curves, draw_curves
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.tasks.measures.results import Result, SeedResult
from dnabert_jax.typed_json import read_json, to_json
from tests.interpret.conftest import write_scores
from tests.interpret.motifs.conftest import plant

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "</script><script>alert(1)</script><img/src=x/onerror=alert(2)>{{data}}"
TASK = TaskConfig("single_label_classification", ("no", "yes"))
VARIANTS = 130
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
          "--disable-sync", "--no-first-run"]  # fmt: skip

# What scrolls and can not be come to with the Tab key, nor anything in it. Browsers differ in whether they help.
UNREACHABLE = """() => [...document.body.querySelectorAll("*")].filter((element) => {
  const { overflowX, overflowY } = getComputedStyle(element);
  const scrolls = (flow, size, room) => (flow === "auto" || flow === "scroll") && size > room + 1;
  const sideways = scrolls(overflowX, element.scrollWidth, element.clientWidth);
  return (sideways || scrolls(overflowY, element.scrollHeight, element.clientHeight)) &&
    element.tabIndex < 0 &&
    ![...element.querySelectorAll("*")].some((inner) => inner.tabIndex >= 0);
}).map((element) => element.outerHTML.slice(0, 80))"""

# Of each element with text of its own: text, contrast with the nearest background that is there (WCAG 2.1).
CONTRASTS = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  for (const element of document.body.querySelectorAll("*:not(script):not(noscript):not(:disabled):not(option)")) {
    const text = [...element.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join("");
    if (!text || !element.getClientRects().length || element.closest(".instance, title")) continue;
    const style = getComputedStyle(element);
    let behind = element;
    while (behind && channels(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    const ink = channels(element instanceof SVGElement ? style.fill : style.color);
    const [one, other] = [light(ink), light(channels(getComputedStyle(behind ?? document.body).backgroundColor))];
    found.push([text, (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)]);
  }
  return found;
}"""


class Made(NamedTuple):
    """The folder of report.html, and what it was made of: scores and effects, [bases, 4], of each sequence."""

    folder: Path
    scores: list[np.ndarray]
    effects: list[np.ndarray]
    variants: list[dict[str, str]]


def write_results(folder: Path, task: TaskConfig, labels: np.ndarray) -> None:
    """Writes what `dnabert-jax finetune` does, of a model that is often right."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    odds = np.exp(rng.normal(1.5 * np.eye(len(task.labels))[labels], 1.0))
    scores = odds / odds.sum(axis=1, keepdims=True)
    draw_curves(task, scores, labels, folder / "curves", HOSTILE)
    seeds = tuple(SeedResult(seed, 1.0, measure(task, scores, labels, resamples=20)) for seed in (0, 1))
    result = Result(HOSTILE, "a model", task, {"train": 5, "test": len(labels)}, seeds)
    (folder / "result.json").write_text(to_json(result))


def write_variants(path: Path) -> list[dict[str, str]]:
    differences = np.random.default_rng(2).normal(size=VARIANTS)
    rows = [
        {
            "contig": str(1 + row % 3), "position": str(row * 1000), "id": HOSTILE if row == 7 else f"rs{row}",
            "ref": "A", "alt": "CGT"[row % 3], "difference": "" if row % 10 == 9 else repr(float(difference)),
            "left_out": "",
        }
        for row, difference in enumerate(differences)
    ]  # fmt: skip
    path.write_text("".join("\t".join(row) + "\n" for row in (rows[0], *(row.values() for row in rows))))
    return rows


def report(out: Path, **flags: object) -> Path:
    """Makes a report; flags by name, several values as a list."""
    words = ["report", "--out", out]
    for name, value in flags.items():
        words += [f"--{name}", *(value if isinstance(value, list) else [value])]
    assert run(list(map(str, words))) == 0
    return out


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A report of everything, of sequences with a planted motif and names that would run if they were markup."""
    folder = tmp_path_factory.mktemp("report")
    data = plant()
    names = [HOSTILE if row == 1 else f"p{row}" for row in range(len(data.positives))]
    rng = np.random.default_rng(0)
    effects = [rng.normal(size=(len(text), 4)).astype(np.float32) for text in data.positives]
    joined = np.concatenate(effects)
    write_scores(folder / "attention.npz", names, data.positives, scores=np.concatenate(data.scores))
    write_scores(folder / "mutagenesis.npz", names, data.positives, scores=-joined.mean(axis=1), effects=joined)
    pairs = ("positives", zip(names, data.positives, strict=True)), ("negatives", enumerate(data.negatives))
    for name, records in pairs:
        (folder / name).write_text("".join(f">{record}\n{text}\n" for record, text in records))
    files = {"scores": "attention.npz", "positives": "positives", "negatives": "negatives", "out": "motifs"}
    assert run(["motifs", *(f"--{flag}={folder / name}" for flag, name in files.items()), "--no-logos"]) == 0
    with (folder / "motifs/motifs.tsv").open() as table:
        first = next(csv.DictReader(table, delimiter="\t"))["motif"]
    match = Match(first, "MA0099.4", "FOS::JUN", 1.234e-12, 1e-09, "-", -1, 10)
    write_matches(folder / "motifs/matches.tsv", [match])
    write_results(folder / "results", TASK, np.random.default_rng(1).integers(0, 2, 200))
    made = Made(folder, data.scores, effects, write_variants(folder / "variants"))
    scores = [f"attention={folder / 'attention.npz'}", folder / "mutagenesis.npz"]
    others = {name: folder / name for name in ("motifs", "results", "variants")}
    report(folder / "report.html", scores=scores, title=HOSTILE, sequences=20, **others)
    return made


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Chromium; without it a user's tests are skipped, and those of .ci/run fail."""
    path = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if path is None:
        assert "DNABERT_JAX_NEEDS_CHROMIUM" not in os.environ, "no Chromium is installed"
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_QUIET)
        yield browser
        browser.close()


Open = Callable[..., Any]


@pytest.fixture(scope="session")
def opened(browser: "Browser", made: Made) -> Open:
    """Opens the report; as the block ends, no error was logged, no dialog opened, and only the file was asked for."""

    @contextmanager
    def open_page(width: int = 1100, report: Path | None = None, **settings: Any) -> "Iterator[Page]":
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        page, told, asked = context.new_page(), [], []
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
        context.on("request", lambda request: asked.append(request.url))
        address = (report or made.folder / "report.html").as_uri()
        page.goto(address)
        yield page
        assert told == []
        assert asked == [address]
        context.close()

    return open_page


def numbers(text: str) -> list[float]:
    """Those in a text of the page, which has typographic minus signs and separators."""
    text = text.replace("−", "-").replace(",", "")
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text)]


def shown(page: "Page") -> tuple[int, int]:
    """The first and the last base in view, once the picture is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    first, last, _ = numbers(page.locator("#range").inner_text())
    return int(first), int(last)


def tab_to(page: "Page", selector: str) -> None:
    """Presses Tab until an element has the focus."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab does not come to {selector}")


def column(page: "Page", number: int) -> list[str]:
    return page.locator(f"#variants tbody tr td:nth-child({number})").all_inner_texts()


def place(page: "Page", share: float, y: float) -> tuple[float, float]:
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    return box["x"] + share * box["width"], box["y"] + y


@pytest.mark.parametrize("width", [360, 700, 1100])
def test_no_page_scrolls_sideways_and_the_keyboard_comes_to_all_that_scrolls(opened: Open, width: int) -> None:
    with opened(width=width) as page:
        shown(page)
        assert page.evaluate(UNREACHABLE) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#canvas").bounding_box()["width"] > width * 0.6


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_modes(opened: Open, scheme: str) -> None:
    with opened(color_scheme=scheme) as page:
        shown(page)
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 300
        assert [own for own in contrasts if own[1] < 4.5] == []
        # The button goes against the system, either way.
        for dark in (scheme == "dark", False, True):
            background = numbers(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            assert max(background) < 60 if dark else min(background) > 200
            page.locator("#theme").click()


def test_names_are_text_and_nothing_more(opened: Open) -> None:
    with opened() as page:
        assert page.title() == HOSTILE
        assert page.locator("h1").inner_text() == HOSTILE
        assert page.get_by_role("button", name=HOSTILE, exact=True).count() == 1
        assert HOSTILE in column(page, 3)
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 2


def test_a_page_can_ask_for_nothing_and_says_so_where_javascript_is_off(opened: Open) -> None:
    with pytest.raises(AssertionError, match="Content Security Policy"), opened() as page:
        assert page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'asked', () => 'refused')") == "refused"
    with opened(java_script_enabled=False) as page:
        assert "JavaScript" in page.locator("main").inner_text()


def test_everything_moves_the_view(opened: Open) -> None:
    with opened(width=420) as page:
        assert shown(page) == (0, 59)
        assert page.locator("#canvas path.base-A").count() == 0
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
        # Bars become letters of their height.
        for _ in range(3):
            page.keyboard.press("+")
        first, last = shown(page)
        drawn = page.locator("#canvas path[class^=base-]").count()
        assert last - first < drawn <= 2 * (last - first + 1)


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
    for name, most, label in (("weak", 0.1, {}), ("strong", 10, {"label": np.array("bound")})):
        arrays = {"scores": effects.mean(axis=1), "effects": np.float32(most) * effects, **label}
        write_scores(tmp_path / f"{name}.npz", ["one"], [f"C{'N' * 18}A"], **arrays)
    files = [tmp_path / f"{name}.npz" for name in ("weak", "strong")]
    with opened(report=report(tmp_path / "report.html", scores=files)) as page:
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
    table = tmp_path / "motifs/motifs.tsv"
    motifs = [line.split("\t")[0] for line in table.read_text().splitlines()[1:]]
    table.write_text(table.read_text().rstrip("\n") + 200 * f";{motifs[0]}" + "\n")
    # The second lies over the first.
    instances = [
        ["p0", str(start), str(start + 12), motifs[-(row % 2)], "0", "+-"[row % 2], str(start + 2), str(start + 9)]
        for row, start in enumerate((3, 9, 30, 47))
    ]
    (tmp_path / "motifs/instances.bed").write_text("".join("\t".join(row) + "\n" for row in reversed(instances)))
    flags = {"scores": made.folder / "attention.npz", "motifs": tmp_path / "motifs"}
    with opened(report=report(tmp_path / "report.html", **flags)) as page:
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


def test_mouse_and_keyboard_read_the_points_of_a_curve(opened: Open, made: Made) -> None:
    curves = read_json(Curves, made.folder / "results/curves/curves.json")
    with opened() as page:
        for number, (curve,) in enumerate((curves.roc, curves.precision_recall, curves.calibration)):
            figure = page.locator(".curves figure").nth(number)
            readout, points = figure.locator("output"), np.array([curve.x, curve.y]).T
            assert "arrow keys" in readout.inner_text()
            tab_to(page, ".curves svg")
            assert figure.locator("svg").evaluate("own => own === document.activeElement")
            for key, place in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowLeft", 0), ("End", -1)):
                page.keyboard.press(key)
                assert numbers(readout.inner_text()) == pytest.approx(points[place], abs=1e-3)
            figure.locator("svg").hover(position={"x": 150, "y": 100})
            assert f"yes: {curve.figure}" in figure.inner_text()
            assert np.abs(points - numbers(readout.inner_text())).max(axis=1).min() < 1e-3


def test_the_keyboard_goes_to_the_next_curve_that_has_points(opened: Open, tmp_path: Path) -> None:
    task = TaskConfig("single_label_classification", ("one", "none", "two", "three", *"abcdefgh"))
    write_results(tmp_path / "runs", task, np.arange(60) % 3 + (np.arange(60) % 3 > 0))
    curves = {curve.label: curve for curve in read_json(Curves, tmp_path / "runs/curves/curves.json").roc}
    assert not curves["none"].x
    with opened(report=report(tmp_path / "report.html", results=tmp_path / "runs")) as page:
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


def write_table(path: Path, rows: int) -> list[float]:
    draw = random.Random(0)  # noqa: S311
    scores = [draw.choice([-1, 1]) * draw.randrange(1, 60) / 8 for _ in range(rows)]
    cells = ["" if row % 7 == 3 else str(score) for row, score in enumerate(scores)]
    lines = [f"{1 + row % 2}\t{row}\t1\t0.5\t{cell}\tx{row}" for row, cell in enumerate(cells)]
    path.write_text("contig\tposition\tlabel\treference\tdifference\tnote\n" + "\n".join(lines) + "\n")
    return [score if cell else 0.0 for score, cell in zip(scores, cells, strict=True)]


@pytest.mark.parametrize(("rows", "most"), [(30, 30), (31, 30), (200, 30), (60, 30), (61, 30)])
def test_of_too_many_rows_the_largest_are_shown_in_their_order(tmp_path: Path, rows: int, most: int) -> None:
    scores = write_table(tmp_path / "x.tsv", rows)
    table = column_table(tmp_path / "x.tsv", most)
    assert (table["rows"], table["total"], table["rankedBy"]) == (most, rows, "difference" if rows > most else "")
    # Of equal ones the first, which a sort keeps in front.
    expected = sorted(sorted(range(rows), key=lambda row: -abs(scores[row]))[:most])
    columns = {
        column["name"]: column.get("text") or np.frombuffer(base64.b64decode(column["numbers"]["data"]), "<f8").tolist()
        for column in table["columns"]
    }
    # Columns are numbers where all are, but contigs and labels are names.
    assert columns["position"] == expected
    assert columns["contig"] == [str(1 + row % 2) for row in expected]
    assert columns["label"] == ["1"] * most
    assert columns["note"] == [f"x{row}" for row in expected]
    assert [value if value == value else None for value in columns["difference"]] == [
        None if row % 7 == 3 else scores[row] for row in expected
    ]


@pytest.mark.parametrize(("by", "value"), [("none", "'none'.* contig, position"), ("note", "'x0'.*'note'")])
def test_what_cannot_be_chosen_by_is_said(tmp_path: Path, by: str, value: str) -> None:
    write_table(tmp_path / "x.tsv", 9)
    with pytest.raises(InputError, match=value):
        column_table(tmp_path / "x.tsv", 5, by)
    (tmp_path / "y.tsv").write_text("contig\tnote\n" + "1\tx\n" * 9)
    with pytest.raises(InputError, match="numbers"):
        column_table(tmp_path / "y.tsv", 5)
