"""Every command and every Python block of the README and the docs runs, on the demo's study, in the page's order."""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from drfarm.study import study_from_dict
from store.schema import CKA, PROBES, REPRESENTATIONS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NAMES = [p.relative_to(ROOT).as_posix() for p in PAGES]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Block:
    """A code block of a page. One with a title is a file that the blocks after it use; others are run."""

    language: str
    title: str | None
    text: str


def blocks(page):
    """Return the code blocks of a page, in order."""
    found = re.finditer(r"^(`{3,})([\w-]*)([^\n]*)\n(.*?)^\1", page.read_text(), flags=re.M | re.S)
    return [Block(m[2], next(iter(re.findall(r'title="(.+?)"', m[3])), None), m[4]) for m in found]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Make the demo once, in a folder of its own."""
    folder = tmp_path_factory.mktemp("docs")
    done = subprocess.run([BIN / "drfarm", "demo"], cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.mark.slow
def test_the_demo_prints_the_table_and_where_the_figures_are(demo):
    folder, done = demo
    assert re.search(r"resnet10t-digits04/penultimate\s+digits59\s+accuracy\s+0\.9\s+0\.\d+", done.stdout)
    assert "accuracy.png" in done.stdout
    assert (folder / "demo" / "store" / "reports" / "demo" / "accuracy.png").stat().st_size > 10_000
    assert "pre-trained on the digits 0-4: accuracy 0.9" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_runs(page, demo, drfarm, monkeypatch):
    folder, _ = demo
    monkeypatch.chdir(folder)
    for block in blocks(page):
        if block.title is not None:
            (folder / block.title).write_text(block.text)
        elif block.language == "python":
            exec(compile(block.text, str(page), "exec"), {"__name__": "__main__"})
        elif block.language == "sh":
            for line in block.text.splitlines():
                run_line(shlex.split(line, comments=True), drfarm)


def run_line(words, drfarm):
    """Run a line of a shell block: the command in this process, as it is much faster; a script in one of its own."""
    if not words:
        return
    if words[0] == "make":
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    elif words[0] == "python":
        run_python(words[1:])
    else:
        assert words[0] == "drfarm", words
        done = drfarm(*words[1:])
        assert done.code == 0, f"{words}\n{done.text}"
        if words[1:3] == ["run", "demo/study.yaml"]:
            assert "nothing was left to do" in done.err or "--quiet" in words


def run_python(words):
    done = subprocess.run([sys.executable, *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_study_parses(page):
    import yaml

    for block in blocks(page):
        if block.language == "yaml":
            study_from_dict(yaml.safe_load(block.text), base=ROOT, where=page.name)


def test_blocks_are_found_with_their_titles():
    found = blocks(DOCS / "howto" / "own-model.md")
    assert [(b.language, b.title) for b in found] == [
        ("python", "my_network.py"),
        ("sh", None),
        ("yaml", "my-network.yaml"),
        ("sh", None),
    ]
    assert found[0].text.startswith("import torch\n")
    assert len(PAGES) > 20
    assert sum(b.language == "sh" for p in PAGES for b in blocks(p)) > 20
    assert sum(b.language == "python" for p in PAGES for b in blocks(p)) > 5


def test_the_examples_parse():
    import yaml

    files = sorted((ROOT / "examples").glob("*.yaml"))
    assert files
    for file in files:
        study_from_dict(yaml.safe_load(file.read_text()), base=file.parent, where=file.name)


def test_links_lead_somewhere():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_views_are_documented_as_they_are():
    text = (ROOT / "docs" / "store.md").read_text()
    import aggregate

    for name, schema in (
        ("representations", REPRESENTATIONS),
        ("probes", PROBES),
        ("cka", CKA),
        ("redundancy", aggregate.REDUNDANCY_SCHEMA),
    ):
        assert f"| `{name}` | {', '.join(schema.names)} |" in text
