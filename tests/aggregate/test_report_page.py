"""The page of a report, without a browser: one file, nothing fetched, no name taken for HTML, headings in order."""

import base64
import hashlib
import itertools
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest

import aggregate
from aggregate.report import Paragraphs, ReportInput, Section
from aggregate.report.page import content_policy, page

sys.path.insert(0, str(Path(__file__).parent))
from report_tables import EVIL, report_input


class Outline(HTMLParser):
    """Reads what a page has: tags with attributes, headings, texts of elements without scripts and styles."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[int, str]] = []
        self.text = ""
        self.scripts: list[tuple[str | None, str]] = []
        self._within = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._within = tag if tag in ("script", "style") or re.fullmatch("h[1-6]", tag) else self._within
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))

    def handle_endtag(self, tag):
        if tag == self._within:
            self._within = ""

    def handle_data(self, data):
        if self._within not in ("script", "style"):
            self.text += data
        if self._within == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        if self._within.startswith("h"):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)


@pytest.fixture(scope="module")
def given():
    return report_input()


@pytest.fixture(scope="module")
def html(given):
    return aggregate.report_page(given)


@pytest.fixture(scope="module")
def outline(html):
    return Outline(html)


def of_tag(outline, name):
    return [attrs for tag, attrs in outline.tags if tag == name]


def test_every_executable_script_is_named_by_its_digest_and_no_other_may_run(outline):
    (policy,) = [m["content"] for m in of_tag(outline, "meta") if m.get("http-equiv") == "Content-Security-Policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    texts = [text for kind, text in outline.scripts if kind in (None, "module")]
    digests = {f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in texts}
    assert len(digests) > 3
    assert set(rules["script-src"]) == digests | {"blob:"}
    assert rules["default-src"] == ["'none'"]


def test_it_names_no_other_place(outline):
    fetched = [a[key] for _, a in outline.tags for key in ("src", "href", "srcset", "data", "action") if key in a]
    assert [place for place in fetched if not place.startswith(("#", "data:"))] == []
    assert of_tag(outline, "link") == [{"rel": "icon", "href": "data:,"}]


def test_names_that_are_html_show_as_text(html, outline):
    assert of_tag(outline, "img") == []
    assert not [a for _, a in outline.tags if any(name.startswith("on") for name in a)]
    assert outline.text.count(EVIL) > 20
    assert EVIL not in re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


def test_headings_are_in_order_and_the_contents_lead_to_every_section(outline):
    levels = [level for level, _ in outline.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    ids = [a["id"] for _, a in outline.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    links = [a["href"].removeprefix("#") for a in of_tag(outline, "a")]
    assert links[0] == "content"
    assert links[1:] == [a["id"] for a in of_tag(outline, "section")]
    assert set(links) <= set(ids)
    assert links[-4:] == ["cost", "provenance", "failures", "reproduce"]
    assert {tag for tag, _ in outline.tags} >= {"header", "nav", "main", "footer"}
    assert of_tag(outline, "html")[0]["lang"] == "en"


def test_a_report_without_results_says_so_and_shows_what_failed(given):
    empty = ReportInput(
        title="nothing",
        probes=None,
        cka=None,
        redundancy=given.redundancy.slice(0, 0),
        failures=given.failures,
    )
    outline = Outline(aggregate.report_page(empty))
    assert of_tag(outline, "script") == []
    assert "110 results missing" in outline.text
    assert "tried 3 times" in outline.text
    assert [h for _, h in outline.headings][:2] == ["nothing", "Summary"]
    assert "Nothing has been measured" in outline.text


def test_a_report_without_failures_says_that(given):
    good = ReportInput(title="good", probes=None, cka=None, redundancy=given.redundancy.slice(0, 0))
    assert "Nothing failed." in Outline(page(good, [])).text


def test_words_between_backquotes_are_code_and_still_escaped():
    section = Section(id="one", title="One", parts=(Paragraphs(texts=("set `<b>refine</b>` & run",)),))
    report = ReportInput(title="t", probes=None, cka=None, redundancy=pa.table({}))
    assert "<p>set <code>&lt;b&gt;refine&lt;/b&gt;</code> &amp; run</p>" in page(report, [section])


def test_the_totals_are_counts(outline):
    shown = re.sub(r"\s+", " ", outline.text)
    assert "models2 layers2 data sets2 probes140 CKA values60 failure1" in shown


def test_a_policy_without_scripts_lets_none_run():
    assert "script-src 'none'" in content_policy("")
    assert "script-src 'none'" in content_policy('<script type="application/json">{}</script>')


def test_the_pages_files_lie_in_the_package():
    folder = Path(aggregate.report.page.__file__).parent
    assert {p.name for p in folder.iterdir()} >= {"report.html.j2", "report.css", "tables.js"}
