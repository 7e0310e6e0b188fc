"""Scripts and plots of a page: Bokeh's, DataTables', and the few lines that start them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup

from aggregate.report._content import Plot, Section, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What the page needs so that plots and tables come alive, all of it inside the page."""

    scripts: Markup
    """`<script>` elements for the end of the body: libraries, then what starts them."""
    plots: Mapping[str, Markup]
    """For the id of each plot the element that it is drawn in."""


def embed(sections: Sequence[Section]) -> Embedded:
    """Return the scripts that these sections need, and no more: a page without plots holds no Bokeh."""
    parts = [part for section in sections for part in section.parts]
    plots = {part.id: part.model for part in parts if isinstance(part, Plot)}
    scripts = []
    elements: dict[str, Markup] = {}
    if plots:
        from bokeh.embed import components
        from bokeh.resources import Resources

        start, found = components(plots, wrap_script=False)
        scripts += [_script(text) for text in Resources(mode="inline", components=["bokeh"]).js_raw]
        scripts += [_script(start), _script(_file("aggregate.report", "plots.js"))]
        elements = {name: Markup(element) for name, element in found.items()}
    if any(isinstance(part, Table) and part.interactive for part in parts):
        scripts.append(_script(_file("itables", "html", "dt_bundle.js"), 'type="text/plain" id="datatables"'))
        scripts.append(_script(_file("aggregate.report.page", "tables.js"), 'type="module"'))
    return Embedded(scripts=Markup("\n").join(scripts), plots=elements)


def _file(package: str, *path: str) -> str:
    return files(package).joinpath(*path).read_text(encoding="utf-8")


def _script(text: str, attributes: str = "") -> Markup:
    r"""Return a script element; in JavaScript ``<\/`` is ``</``, and does not end the element."""
    safe = text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    return Markup(f"<script{' ' * bool(attributes)}{attributes}>{safe}</script>")
