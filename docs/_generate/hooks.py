"""What mkdocs calls while it builds the site: pages made from the code, and links that lead out of docs/."""

from pathlib import Path
from typing import Any

# Neighbours: mkdocs puts this folder on the import path while it loads the hook.
from command_page import command_page
from example_page import example_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from python_pages import PACKAGES, python_page
from repository_files import ROOT, links_out, page_of, rewritten, shown
from study_page import study_page

_SOURCES: dict[str, Path] = {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code and from files outside docs/."""
    _SOURCES.clear()
    _SOURCES.update({f.src_uri: ROOT / "docs" / f.src_uri for f in files.documentation_pages()})
    texts = {
        "reference/study.md": study_page(),
        "reference/command.md": command_page(),
        "reference/examples.md": example_page(ROOT / "examples"),
    }
    texts |= {f"reference/python/{name}.md": python_page(name) for name in PACKAGES}
    for source in (ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("*/DESIGN.md")):
        texts[page_of(source)] = source.read_text(encoding="utf-8")
        _SOURCES[page_of(source)] = source
    for uri, text in texts.items():
        files.append(File.generated(config, uri, content=text))
    for source in sorted({p for page in _SOURCES.values() for p in links_out(page)}):
        if page_of(source) not in _SOURCES:
            files.append(
                File.generated(config, page_of(source), content=shown(source), inclusion=InclusionLevel.NOT_IN_NAV)
            )
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Let links to files of the repository lead to the pages that show them."""
    source = _SOURCES.get(page.file.src_uri)
    return markdown if source is None else rewritten(markdown, source=source, uri=page.file.src_uri)
