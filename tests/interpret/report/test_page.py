"""The whole report in a real browser: it asks for nothing, can be read and reached, and runs no name as markup."""

import pytest

from tests.interpret.report.conftest import HOSTILE, UNREACHABLE, Open, column, numbers, shown

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


@pytest.mark.parametrize("width", [400, 1100])
def test_the_keyboard_comes_to_all_that_scrolls(opened: Open, width: int) -> None:
    with opened(width=width) as page:
        shown(page)
        assert page.evaluate(UNREACHABLE) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_modes(opened: Open, scheme: str) -> None:
    with opened(color_scheme=scheme) as page:
        shown(page)
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 300
        assert [own for own in contrasts if own[1] < 4.5] == []
        system = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(numbers(system)) < 60) == (scheme == "dark")
        # The button goes against the system, either way.
        page.locator("#theme").click()
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.locator("#theme").click()
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert min(numbers(light)) > 200 > 60 > max(numbers(dark))


@pytest.mark.parametrize("width", [360, 700])
def test_a_narrow_window_scrolls_no_page_sideways(opened: Open, width: int) -> None:
    with opened(width=width) as page:
        shown(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#canvas").bounding_box()["width"] > width * 0.6


def test_names_are_text_and_nothing_more(opened: Open) -> None:
    with opened() as page:
        assert page.title() == HOSTILE
        assert page.locator("h1").inner_text() == HOSTILE
        assert page.get_by_role("button", name=HOSTILE, exact=True).count() == 1
        assert HOSTILE in column(page, 3)
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 2


def test_no_page_of_ours_could_ask_for_anything(opened: Open) -> None:
    with pytest.raises(AssertionError, match="Content Security Policy"), opened() as page:
        assert page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'asked', () => 'refused')") == "refused"


def test_without_javascript_the_page_says_so(opened: Open) -> None:
    with opened(java_script_enabled=False) as page:
        assert "turn JavaScript on" in page.locator("main").inner_text()
