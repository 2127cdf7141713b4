"""Files of every kind that a report is made of, and a browser that holds the page to what it promises."""

import csv
import dataclasses
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dnabert_jax.config import TaskConfig
from dnabert_jax.tasks.measures.curves import draw_curves
from dnabert_jax.tasks.measures.metrics import measure
from dnabert_jax.tasks.measures.results import Result, SeedResult
from dnabert_jax.typed_json import to_json
from launch.cli import run
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


@dataclasses.dataclass(frozen=True)
class Made:
    """What a report was made of.

    Attributes:
        folder: with the files, and report.html.
        scores: of each sequence.
        effects: of each sequence, [bases, 4].
        variants: rows of the table.
    """

    folder: Path
    scores: list[np.ndarray]
    effects: list[np.ndarray]
    variants: list[dict[str, str]]

    @property
    def flags(self) -> list[str]:
        names = ["--scores", f"attention={self.folder / 'attention.npz'}", str(self.folder / "mutagenesis.npz")]
        for flag in ("motifs", "results", "variants"):
            names += [f"--{flag}", str(self.folder / flag)]
        return names


def write_scores(path: Path, names: list[str], texts: list[str], **arrays: np.ndarray) -> None:
    """Writes an npz file such as `dnabert-jax attention` does."""
    bases = np.frombuffer("".join(texts).encode(), "S1")
    np.savez(path, ids=np.array(names), bases=bases, offsets=np.cumsum([0, *map(len, texts)]), **arrays)


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


def _write_variants(path: Path) -> list[dict[str, str]]:
    rng = np.random.default_rng(2)
    rows = [
        {
            "contig": str(1 + row % 3), "position": str(row * 1000), "id": HOSTILE if row == 7 else f"rs{row}",
            "ref": "A", "alt": "CGT"[row % 3], "difference": "" if row % 10 == 9 else repr(float(rng.normal())),
            "left_out": "",
        }
        for row in range(VARIANTS)
    ]  # fmt: skip
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return rows


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
    pairs = {"positives": zip(names, data.positives, strict=True), "negatives": enumerate(data.negatives)}
    for name, records in pairs.items():
        (folder / f"{name}.fa").write_text("".join(f">{own}\n{text}\n" for own, text in records))
    files = [word for name in ("positives", "negatives") for word in (f"--{name}", str(folder / f"{name}.fa"))]
    flags = ["--scores", str(folder / "attention.npz"), *files, "--no-logos", "--out", str(folder / "motifs")]
    assert run(["motifs", *flags]) == 0
    with (folder / "motifs/motifs.tsv").open() as table:
        first = next(csv.DictReader(table, delimiter="\t"))["motif"]
    columns = ("motif", "target_name", "q_value", "target_id", "p_value", "strand", "offset", "overlap")
    match = (first, "FOS::JUN", "1e-09", "MA0099.4", "1.234e-12", "-", "-1", "10")
    (folder / "motifs/matches.tsv").write_text("".join("\t".join(row) + "\n" for row in (columns, match)))
    write_results(folder / "results", TASK, np.random.default_rng(1).integers(0, 2, 200))
    made = Made(folder, data.scores, effects, _write_variants(folder / "variants"))
    title = ["--title", HOSTILE, "--sequences", "20"]
    assert run(["report", *made.flags, *title, "--out", str(folder / "report.html")]) == 0
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
    return [
        float(found) for found in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text.replace("−", "-").replace(",", ""))
    ]


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
