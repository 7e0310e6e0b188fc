"""Every command and every Python block of the README and the docs runs, on the demo's study."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from drfarm.study import study_from_dict
from store.schema import CKA, PROBES, REPRESENTATIONS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BIN = Path(sys.executable).parent


def blocks(page, language):
    """Return the code blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.M | re.S)


def commands(page):
    """Return the command lines of a page's shell blocks, without comments."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line.strip() and not line.startswith("#")]


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
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_runs(page, demo, drfarm, monkeypatch):
    folder, _ = demo
    monkeypatch.chdir(folder)
    for line in commands(page):
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
            continue
        assert words[0] == "drfarm", line
        done = drfarm(*words[1:])
        assert done.code == 0, f"{line}\n{done.text}"
        if words[1] == "run":
            assert "nothing was left to do" in done.err or "--quiet" in words


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_python_block_runs(page, demo):
    folder, _ = demo
    for block in blocks(page, "python"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", block], cwd=folder, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_study_parses(page):
    import yaml

    for block in blocks(page, "yaml"):
        study_from_dict(yaml.safe_load(block), base=ROOT, where=page.name)


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
