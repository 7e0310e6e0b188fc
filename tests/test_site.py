"""The docs site: it builds without a warning, holds what the code has, and fetches nothing from a network."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[1]
PACKAGES = ("drfarm", "store", "extract", "probe", "aggregate")


class Loaded(HTMLParser):
    """What a browser would fetch for a page by itself: scripts, styles, fonts, images, frames."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed") and given.get("src"):
            self.addresses.append(given["src"])
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev", "alternate"):
            self.addresses.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site once, strictly: each warning of mkdocs ends it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def text_of(page):
    return page.read_text(encoding="utf-8")


def leaves(command, name):
    below = getattr(command, "commands", None)
    return [(name, command)] if below is None else [x for w, c in below.items() for x in leaves(c, f"{name} {w}")]


def test_every_page_of_the_docs_is_there(site):
    pages = sorted((ROOT / "docs").rglob("*.md"))
    assert len(pages) > 20
    for page in pages:
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), page
    for made in ("index", "changelog", "contributing", "design/aggregate", "files/deploy/clusters/slurm.yaml"):
        assert (site / f"{made}.html").is_file(), made


def test_nothing_comes_from_a_network(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        loaded = Loaded()
        loaded.feed(text_of(page))
        assert len(loaded.addresses) >= 3, page
        for address in loaded.addresses:
            assert not re.match(r"(https?:)?//", address), f"{page.relative_to(site)}: {address}"
            # The page for what is not found does not know where it stands: its addresses begin at the root.
            home = site if address.startswith("/") else page.parent
            if not address.startswith("data:"):
                assert (home / re.sub("[?#].*", "", address).lstrip("/")).is_file(), f"{page}: {address}"
        # Material's script would fetch the program that draws such a block.
        assert 'class="mermaid"' not in text_of(page)
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", text_of(style)), style


def test_links_between_pages_lead_somewhere(site):
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        for link in re.findall(r'href="([^"#?]+)[^"]*"', text_of(page)):
            if not re.match(r"[a-z]+:", link):
                assert (page.parent / link).exists(), f"{page.relative_to(site)}: {link}"


def test_the_command_reference_has_every_command_and_option(site):
    from drfarm.cli import app

    text = text_of(site / "reference" / "command.html")
    found = leaves(typer.main.get_command(app), "drfarm")
    assert len(found) > 20
    for name, command in found:
        (section,) = re.findall(rf'<h2 id="{name.replace(" ", "-")}">.*?(?=<h2|</article>)', text, flags=re.S)
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("-"):
                    assert f"<code>{option}</code>" in section, (name, option)
    for code in (0, 1, 2, 130):
        assert f"<td><code>{code}</code></td>" in text
    assert "One of <code>auto</code>, <code>cpu</code>, <code>cuda</code>." in text


def test_the_study_reference_has_every_key_and_its_values(site):
    from drfarm.study import Study

    text = text_of(site / "reference" / "study.html")
    schema = Study.model_json_schema()
    parts = {"Study": schema, **schema["$defs"]}
    assert len(parts) >= 10
    for name, part in parts.items():
        for key, rules in part["properties"].items():
            assert f"<td><code>{key}</code></td>" in text, (name, key)
            for value in rules.get("enum", []):
                assert f"<code>{value}</code>" in text, (name, key, value)
    assert re.search(r"<code>val_fraction</code></td>\s*<td>number; above 0, below 1</td>", text)
    assert "``" not in text
    assert "as-released:main" in text


@pytest.mark.parametrize("package", PACKAGES)
def test_the_python_reference_has_every_public_name(package, site):
    module = __import__(package)
    text = text_of(site / "reference" / "python" / f"{package}.html")
    headings = re.findall(r"<h3 id=.*?</h3>", text, flags=re.S)
    names = {re.sub("<[^>]+>|¶|&para;", "", h).split()[0] for h in headings}
    assert {f"{package}.{name}" for name in module.__all__ if not name.startswith("__")} <= names
    assert "doc-symbol-module" not in text  # a name that a module has too


def test_the_search_index_is_there(site):
    index = json.loads(text_of(site / "search" / "search_index.json"))
    assert any("quickstart" in d["location"] for d in index["docs"])


def test_links_out_of_the_docs_lead_to_pages_that_show_the_file(site):
    assert 'href="files/deploy/clusters/slurm.yaml.html"' in text_of(site / "clusters.html")
    assert 'href="../files/examples/table1.yaml.html"' in text_of(site / "howto" / "table1.html")
    assert "n_jobs" in text_of(site / "files" / "deploy" / "clusters" / "slurm.yaml.html")
    assert 'href="study.html"' in text_of(site / "index.html")
