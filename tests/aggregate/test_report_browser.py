"""The page in a real browser: no fault, nothing fetched; it sorts, filters, hovers, prints, fits a phone, is read."""

import re
import sys
from pathlib import Path

import pytest

import aggregate

sys.path.insert(0, str(Path(__file__).parent))
from headless import Page, axe_source, chromium
from report_tables import EVIL, report_input

pytestmark = pytest.mark.slow

DESK, PHONE = (1280, 900), (390, 844)
ROWS = "[...document.querySelectorAll('table[data-enhance] tbody tr')]"
SHOWN = f"return {ROWS}.map(r => [...r.children].map(c => c.textContent.trim()))"
DRAWN = "return window.Bokeh?.documents.length && Bokeh.documents.every(d => d.is_idle)"
# The first point of the first line of the first figure, in pixels of the window.
POINT = """
const figure = Bokeh.documents[0].roots()[0];
const line = figure.renderers.find(r => r.data_source?.data?.mean?.length > 2 && r.visible);
const view = Bokeh.index.find_one(figure), place = view.canvas_view.el.getBoundingClientRect();
const {x, mean} = line.data_source.data, at = 1;
return [place.x + view.frame.x_scale.compute(x[at]), place.y + view.frame.y_scale.compute(mean[at])];
"""
TOOLTIPS = """
const found = [];
const look = root => root.querySelectorAll('*').forEach(e => {
  if (e.classList.contains('bk-tooltip-content') && e.getBoundingClientRect().width > 0) found.push(e.textContent);
  if (e.shadowRoot) look(e.shadowRoot);
});
look(document);
return found;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    place = tmp_path_factory.mktemp("report") / "report.html"
    place.write_text(aggregate.report_page(report_input()), encoding="utf-8")
    return place


@pytest.fixture
def page(browser, file) -> Page:
    browser.size(*DESK)
    browser.media()
    browser.open(file)
    browser.wait("return document.querySelector('.dt-container') !== null", seconds=60)
    browser.wait(DRAWN, seconds=60)
    return browser


def test_it_logs_no_fault_and_fetches_nothing(page, file):
    faults = [line for line in page.console() if not line.startswith(("INFO", "DEBUG"))]
    assert faults == []
    assert page.requests() == [file.as_uri()]
    assert page.run("return performance.getEntriesByType('resource').filter(e => !/^(data|blob):/.test(e.name))") == []


def test_names_that_are_html_stay_text(page):
    assert page.run("return document.images.length") == 0
    assert EVIL in page.run("return document.querySelector('h1').textContent")
    assert any(EVIL in cell for row in page.run(SHOWN) for cell in row)
    options = page.run("return [...document.querySelectorAll('option')].map(o => o.textContent)")
    assert any(EVIL in text for text in options)
    # No script but the page's own runs, even where something injects one.
    page.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    page.until(lambda: any("Content Security Policy" in line for line in page.console()), what="a refusal in the log")
    assert page.run("return window.ran") is None


def test_a_click_on_a_heading_sorts(page):
    heading = "const th = [...document.querySelectorAll('table[data-enhance] th')].find(t => /δ/.test(t.textContent));"
    column = int(page.run(f"{heading} return th.cellIndex"))
    seen = {}
    for _ in range(2):
        page.run(f"{heading} th.querySelector('.dt-column-order').click()")
        direction = page.wait(f"{heading} return th.getAttribute('aria-sort')")
        seen[direction] = [float(row[column]) for row in page.run(SHOWN)]
    assert set(seen) == {"ascending", "descending"}
    assert seen["ascending"] == sorted(seen["ascending"])
    assert seen["descending"] == sorted(seen["descending"], reverse=True)
    assert seen["ascending"] != seen["descending"]


def test_the_keyboard_sorts_too(page):
    from selenium.webdriver.common.keys import Keys

    button = page.driver.find_element("css selector", "table[data-enhance] th .dt-column-order")
    assert button.get_attribute("tabindex") == "0" or button.tag_name == "button"
    button.send_keys(Keys.ENTER)
    assert page.wait("return document.querySelector('table[data-enhance] th').getAttribute('aria-sort')") == "ascending"


def test_typing_leaves_the_rows_that_match(page):
    before = page.run(SHOWN)
    box = page.driver.find_element("css selector", ".dt-search input")
    box.send_keys("resnet cka")
    after = page.until(lambda: (rows := page.run(SHOWN)) != before and rows, what="fewer rows")
    assert after
    assert all("resnet" in " ".join(row) and "cka" in " ".join(row).lower() for row in after)


def test_a_filter_leaves_the_rows_of_one_value(page):
    every = page.run("return document.querySelector('.dt-info').textContent")
    chosen = page.run(
        "const s = document.querySelector('.filters select'); s.value = s.options[1].value;"
        "s.dispatchEvent(new Event('change')); return s.value"
    )
    page.until(lambda: page.run("return document.querySelector('.dt-info').textContent") != every, what="fewer rows")
    rows = page.run(SHOWN)
    assert rows
    assert all(chosen in row for row in rows)


def test_a_hover_tells_of_the_point(page):
    page.run("document.querySelector('figure .canvas').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y = page.run(POINT)
    for step in (6, 0):
        page.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x + step, "y": y})
    (text, *_) = page.until(lambda: page.run(TOOLTIPS), what="a tooltip")
    assert re.search(r"k = 8, k/d = 0\.1250 *mean: *0\.\d+ ± 0\.\d+ *seeds: *1–3 \(3\)", text)
    assert re.search(r"(resnet|<img src=x onerror=alert\(1\)>) / penultimate", text)


def test_a_choice_changes_the_figure(page):
    before = page.run("return JSON.stringify(Bokeh.documents[0].roots()[0].below.map(a => a.axis_label))")
    page.run(
        "const s = document.querySelector('select[data-control=x]'); s.value = '1';"
        "s.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    after = page.run("return JSON.stringify(Bokeh.documents[0].roots()[0].below.map(a => a.axis_label))")
    assert after != before
    assert [line for line in page.console() if line.startswith("SEVERE")] == []


def test_it_prints_whole(page):
    rows = "return document.querySelectorAll('table[data-enhance] tbody tr').length"
    shown = page.run(rows)
    page.run("window.addEventListener('beforeprint', () => { window.printed = document.querySelectorAll("
             "'table[data-enhance] tbody tr').length; })")  # fmt: skip
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF")
    assert page.run("return window.printed") > shown
    assert page.run(rows) == shown
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 4
    page.size(718, 1000)  # the width between the margins of A4
    page.media("print")
    wide = page.run(
        "return [...document.querySelectorAll('main table, main pre, main .scroll')].filter(e => e.offsetParent && "
        "(e.getBoundingClientRect().right > innerWidth + 1 || e.scrollWidth > e.clientWidth + 1)).map(e => "
        "e.outerHTML.slice(0, 120))"
    )
    assert wide == []
    assert page.run("return getComputedStyle(document.querySelector('nav')).display") == "none"


@pytest.mark.parametrize("width", [360, PHONE[0], 768, DESK[0]])
def test_it_never_scrolls_sideways(page, width):
    page.size(width, 800)
    page.until(lambda: page.run("return innerWidth") == width, what="the new width")
    assert page.wait("return document.documentElement.scrollWidth <= innerWidth")
    page.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.run("return document.documentElement.scrollWidth") <= width


def luminance(colour: str) -> float:
    r, g, b = (int(v) for v in re.findall(r"\d+", colour)[:3])
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_it_is_dark_in_the_dark_and_light_on_paper(page):
    style = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    light = page.run(style)
    page.media(scheme="dark")
    dark = page.run(style)
    assert luminance(light[0]) > 200 > 60 > luminance(light[1])
    assert luminance(dark[0]) < 60 < 200 < luminance(dark[1])
    assert "invert" in page.run("return getComputedStyle(document.querySelector('.canvas')).filter")
    page.media("print", scheme="dark")
    assert page.run(style) == light
    assert page.run("return getComputedStyle(document.querySelector('.canvas')).filter") == "none"


def test_nothing_moves_for_whom_motion_makes_ill(page):
    page.media(motion="reduce")
    assert page.run("return getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_the_first_tab_leads_past_the_contents(page):
    from selenium.webdriver.common.keys import Keys

    page.driver.find_element("css selector", "body").send_keys(Keys.TAB)
    link = "const a = document.activeElement; return "
    assert page.run(link + "a.textContent") == "Skip to the content"
    assert page.run(link + "a.getBoundingClientRect().left >= 0")
    assert page.run(link + "getComputedStyle(a).outlineStyle") == "solid"
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.wait("return location.hash === '#content'")


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)])
def test_axe_finds_no_serious_fault(page, scheme, size):
    page.media(scheme=scheme)
    page.size(*size)
    page.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.run(axe_source())
    page.driver.set_script_timeout(120)
    found = page.driver.execute_async_script(
        "const [tell] = arguments;"
        "axe.run().then(tell, e => tell({passes: [], violations: [{id: String(e), impact: 'critical', nodes: []}]}))"
    )
    assert len(found["passes"]) > 20
    faults = [
        (v["impact"], v["id"], [n["html"][:200] for n in v["nodes"][:3]])
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
    ]
    assert faults == []
