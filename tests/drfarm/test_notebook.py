"""In a notebook objects show themselves, and nothing that they are named becomes markup."""

import html.parser
import os
import re
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pyarrow as pa
import pytest

import aggregate
import drfarm as face
from drfarm import InvalidRequest, RunReport, import_results, open_store
from drfarm.notebook import comparison_html, plan_html, redundancy_html
from drfarm.progress import Figures, NotebookView, TerminalReporter, kernel_shell
from drfarm.progress._notebook import line

EVIL = "<script>alert(1)</script>&\"'<b>x</b>"


class Parsed(html.parser.HTMLParser):
    """Collects tags and texts, and sees whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return "".join(self.texts)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    lines = ["model,layer,dataset,solver,method,seed,n_neurons,width,accuracy"]
    for model, crossing in (("plain", 60), ('"' + EVIL.replace('"', '""') + '"', 30)):
        for seed in (1, 2, 3):
            for k in (10, 20, 50, 100):
                lines.append(f"{model},l,c,sgd,random,{seed},{k},100,{min(0.9, 0.9 * (k + seed) / crossing)}")
    (folder / "r.csv").write_text("\n".join(lines) + "\n")
    import_results(folder / "r.csv", folder / "store")
    return folder / "store"


def shown(of):
    """Parse what an object shows: no script, no handler, and no tag out of a name."""
    parsed = Parsed(of if isinstance(of, str) else of._repr_html_())
    assert {tag for tag, _ in parsed.tags} <= {
        "div", "span", "b", "table", "caption", "thead", "tbody", "tr", "th", "td",
        "svg", "title", "line", "rect", "circle",
    }  # fmt: skip
    assert not any(name.startswith("on") or name in ("href", "src") for _, attrs in parsed.tags for name in attrs)
    return parsed


def test_a_redundancy_table_has_a_chart_in_each_row_and_names_are_text(store):
    table = face.redundancy(store, deltas=[0.8, 0.9])
    parsed = shown(face.show(table))
    assert EVIL in parsed.text
    charts = [attrs for tag, attrs in parsed.tags if tag == "svg"]
    assert len(charts) == 4
    assert charts[0]["role"] == "img"
    assert re.match(r"DR 0\.\d{3}, interval .* grid", charts[0]["aria-label"])
    assert (
        "All: layer l, data set c, measure accuracy, solver sgd, protocol imported, method random, rule strict."
        in parsed.text
    )
    assert face.show(table).table is table


def test_positions_in_the_chart_are_those_of_the_values():
    row = dict.fromkeys(aggregate.REDUNDANCY_SCHEMA.names) | {
        "model": "m", "rule": "strict", "delta": 0.9, "dr": 0.5, "width": 10, "n_neurons": 5, "n_seeds": 3,
        "bracket_low": 0.5, "bracket_high": 0.75, "ci_low": 0.25, "ci_high": 1.0, "censored": False,
    }  # fmt: skip
    parsed = shown(redundancy_html(pa.Table.from_pylist([row], schema=aggregate.REDUNDANCY_SCHEMA)))
    (dot,) = [a for t, a in parsed.tags if t == "circle"]
    (pale,) = [a for t, a in parsed.tags if t == "rect"]
    thick = next(a for t, a in parsed.tags if t == "line" and a.get("stroke-width") == "2")

    def at(share):
        return 6 + share * 178  # the axis has 6 on either side of 190

    assert float(dot["cx"]) == pytest.approx(at(0.5), abs=0.1)
    assert (float(pale["x"]), float(pale["width"])) == pytest.approx((at(0.5), at(0.75) - at(0.5)), abs=0.1)
    assert (float(thick["x1"]), float(thick["x2"])) == pytest.approx((at(0.25), at(1)), abs=0.1)


def test_what_is_unknown_is_said(store):
    table = face.redundancy(store, deltas=[0.8])
    assert "no rows" in shown(face.show(table.slice(0, 0))).text
    with pytest.raises(InvalidRequest, match=r"missing: .*ci_low.* Show what drfarm\.redundancy returned"):
        face.show(table.select(["model", "dr"]))


def test_a_store_and_a_comparison_show_themselves(store):
    parsed = shown(open_store(store))
    assert str(store) in parsed.text
    assert "It holds no features yet." in parsed.text
    found = face.compare("plain", f"model={EVIL}", store=store, deltas=[0.9])
    parsed = shown(comparison_html(found))
    assert "B is more redundant" in parsed.text or "undecided" in parsed.text
    assert EVIL in parsed.text


def test_a_study_shows_itself(study_in, pets):
    study = face.load_study(study_in(pets))
    parsed = shown(study)
    for word in ("tiny", "resnet", "pets", "timm:test_resnet", "k = 1, 24, 96"):
        assert word in parsed.text


def test_a_plan_and_a_report_show_what_is_left_and_what_failed():
    plan = SimpleNamespace(
        study=SimpleNamespace(study="s"), store_url="/s", jobs=(), jobs_left=(), tasks=(), grows=False,
        n_probes=4, n_probes_done=1, n_cka=0, n_cka_done=0, notes=(EVIL,),
    )  # fmt: skip
    parsed = shown(plan_html(plan))
    assert [a["aria-label"] for _, a in parsed.tags if a.get("role") == "img"] == ["100 %", "25 %", "100 %"]
    assert EVIL in parsed.text
    report = RunReport(n_images=3, failures=[(EVIL, "out of luck")], elapsed_s=61)
    parsed = shown(report)
    assert "1 job failed" in parsed.text
    assert "1 min 1 s" in parsed.text
    assert EVIL in parsed.text


def test_outside_of_a_notebook_nothing_changes():
    assert kernel_shell() is None
    assert not any(isinstance(v, NotebookView) for v in TerminalReporter()._reporter._views)


def test_the_line_of_a_stage_has_its_figures():
    figures = Figures("probe", 10, "results")
    figures.started("b", "title", "w", 2)
    figures.advance(4)
    figures.failed("b", 2)
    figures.end()
    text = line(figures.snapshot(), figures.unit)
    assert text.startswith("4 of 10 results · ")
    assert text.endswith(" · 1 failed")


CELLS = (
    """
    import drfarm
    store = drfarm.open_store(STORE)
    store
    """,
    "drfarm.redundancy(store, deltas=[0.9])",
    "store.query('SELECT 1 AS one')",
    """
    from drfarm.progress import TerminalReporter
    def work():
        reporter = TerminalReporter(study="s")
        with reporter.stage("probe", 4, "results") as meter:
            for i in range(4):
                meter.advance(1)
        reporter.message("well <b>done</b>")
    work()
    """,
    """
    import importlib.util
    importlib.util.find_spec = lambda name: None
    work()
    """,
)


RUN = """
import sys
import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient

book = nbformat.read("in.ipynb", as_version=4)
# Sockets with names instead of ports: nobody else can have taken them.
kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip="k")
NotebookClient(book, km=kernel, timeout=300).execute()
nbformat.write(book, "out.ipynb")
"""


@pytest.mark.slow
def test_a_real_kernel_shows_all_this(store, tmp_path):
    for module in ("nbclient", "ipykernel", "ipywidgets"):
        pytest.importorskip(module)
    nbformat = pytest.importorskip("nbformat")
    sources = [textwrap.dedent(c).strip().replace("STORE", repr(str(store))) for c in CELLS]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    nbformat.write(book, tmp_path / "in.ipynb")
    folders = {name: str(tmp_path / name) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")}
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | folders, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    book = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    of_store, of_table, of_query, widget, plain = ([o.get("data", {}) for o in c.outputs] for c in book.cells)
    assert "drfarm store" in shown(of_store[0]["text/html"]).text
    assert [tag for tag, _ in shown(of_table[0]["text/html"]).tags].count("svg") == 2
    assert "text/html" not in of_query[0]  # other tables are as they were
    assert "application/vnd.jupyter.widget-view+json" in widget[0]
    (bar,) = [v["state"] for v in book.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
              if v["model_name"] == "FloatProgressModel"]  # fmt: skip
    assert (bar["value"], bar["bar_style"], bar["description"]) == (1.0, "success", "probe")
    assert "width:100.00%" in plain[0]["text/html"]
    assert "4 of 4 results" in plain[0]["text/html"]
    for cell in book.cells[3:]:
        said = "".join(o.text for o in cell.outputs if o.output_type == "stream")
        assert said.count("well <b>done</b>") == 1
        assert "probe: 4 of 4 results in" in said
