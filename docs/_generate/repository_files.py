"""Files of the repository outside docs/: which page of the site shows each, and links between them."""

import os
import re
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
_DOCS = ROOT / "docs"
_LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?(\))")
_LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".py": "python", ".sh": "sh", ".sbatch": "sh"}
_NAMED = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}


def page_of(path: Path) -> str:
    """Return the address in the site of what shows a file or folder of the repository."""
    relative = path.relative_to(ROOT).as_posix()
    if path.is_relative_to(_DOCS):
        return path.relative_to(_DOCS).as_posix()
    if path.name == "DESIGN.md":
        return f"design/{path.parent.name}.md"
    return _NAMED.get(relative, f"files/{relative}.md")


def links_out(page: Path) -> set[Path]:
    """Return the files and folders outside docs/ to which a page links."""
    targets = {_target(page, match[2]) for match in _LINK.finditer(page.read_text(encoding="utf-8"))}
    return {t for t in targets if t.is_relative_to(ROOT) and not t.is_relative_to(_DOCS) and t.exists()}


def rewritten(markdown: str, *, source: Path, uri: str) -> str:
    """Return a page's text with its links as they are from its place in the site.

    Parameters
    ----------
    source
        Where the text is in the repository.
    uri
        Where its page is in the site.
    """

    def moved(match: re.Match[str]) -> str:
        target = _target(source, match[2])
        if not target.exists() or not target.is_relative_to(ROOT):
            return match[0]  # mkdocs says what is wrong with it
        there = os.path.relpath(page_of(target), PurePosixPath(uri).parent)
        return f"{match[1]}{there}{match[3] or ''}{match[4]}"

    return _LINK.sub(moved, markdown)


def shown(path: Path) -> str:
    """Return the page that shows a file, or all files of a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and _is_text(p))
    title = f"# {path.relative_to(ROOT).as_posix()}\n\n"
    if path.is_file():
        return title + _fenced(path)
    return title + "\n\n".join(f"## {p.relative_to(path).as_posix()}\n\n{_fenced(p)}" for p in files)


def _target(page: Path, link: str) -> Path:
    return Path(os.path.normpath(page.parent / link))


def _is_text(path: Path) -> bool:
    return "__pycache__" not in path.parts and b"\0" not in path.read_bytes()[:1000]


def _fenced(path: Path) -> str:
    text = path.read_text(encoding="utf-8").rstrip("\n")
    return f"````{_LANGUAGES.get(path.suffix, 'text')}\n{text}\n````\n"
