"""What a page may do, told to the browser: run its own scripts, and fetch nothing. Pure (no I/O).

A name that slipped through as HTML could then still not run a script: only those whose digest stands here run.
https://www.w3.org/TR/CSP3/#framework-directive-source-list
"""

import base64
import hashlib
from html.parser import HTMLParser

_DATA_TYPES = ("application/json", "text/plain")
"""Types of a ``<script>`` that holds data: a browser never runs it."""


def content_policy(scripts: str) -> str:
    """Return the Content-Security-Policy of a page that runs these scripts and no others.

    ``blob:`` is for the module of DataTables, which a script of ours starts; Bokeh styles its shadow roots with
    ``<style>``.

    Parameters
    ----------
    scripts
        The page's own ``<script>`` elements, as HTML.
    """
    reader = _Scripts()
    reader.feed(scripts)
    reader.close()
    digests = dict.fromkeys(f"'sha256-{_digest(text)}'" for text in reader.texts)
    rules = {
        "default-src": ["'none'"],
        "script-src": [*digests, "blob:"] if digests else ["'none'"],
        "style-src": ["'unsafe-inline'"],
        "img-src": ["data:", "blob:"],
        "font-src": ["data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in rules.items())


class _Scripts(HTMLParser):
    """Collects the texts of the scripts that a browser would run."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.texts: list[str] = []
        self._runs = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._runs = tag == "script" and (dict(attrs).get("type") or "") not in _DATA_TYPES
        if self._runs:
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._runs = self._runs and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._runs:
            self.texts[-1] += data


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
