"""How the command shows plans, states, catalogues and answers. Pure but for what it prints."""

import io
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from drfarm.progress import bytes_text
from drfarm.run_options import RunReport
from extract import Shard
from store import InvalidRequest, Store
from store.schema import KINDS

GROWS = "refine   sizes will be added where DR is decided, round by round: how many is known when these are measured"
"""Said of a study that refines."""
size = bytes_text
"""How sizes are said."""
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_size(text: str | None) -> int | None:
    """Read a size such as ``4GiB`` or ``500 MB`` as bytes."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].lower() not in _UNITS:
        raise InvalidRequest(f"--memory-limit: a size has the form 4GiB or 500MB, got {text!r}.")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def default_folder(store_url: str, study: str) -> Path:
    """Return where a study's table and figures go: into a local store, else beside the caller."""
    return Path(f"{study}-report") if "://" in store_url else Path(store_url) / "reports" / study


def shard_text(shard: Shard, report: RunReport) -> str:
    """Tell what a shard has done, which representations are complete, and what other shards have still to do."""
    part = f"shard {shard}: its part is done" if report.ok else f"shard {shard}: a part of it failed"
    n = report.n_chunks_missing
    if n:
        rest = f"{n:,} {'chunk' if n == 1 else 'chunks'} are still to be written by other shards."
    else:
        rest = "No chunk of what it ran is left to other shards."
    if not report.complete:
        return f"{part}. {rest}\nno representation is complete yet."
    return "\n".join([f"{part}. {rest}", *(f"complete: {name}" for name in report.complete)])


def failures_text(report: RunReport) -> str:
    """Name what failed."""
    n = len(report.failures)
    lines = [f"{n} {'job' if n == 1 else 'jobs'} failed; the rest is done."] if n else []
    lines += [f"  {what}: {why}" for what, why in report.failures]
    if report.n_waiting:
        lines.append(f"{report.n_waiting:,} results wait for features that are not complete: run `drfarm extract`.")
    return "\n".join(lines)


def info_text(store: Store) -> str:
    """Count what is in a store."""
    catalogue = store.features.catalogue()
    n_complete = sum(i.complete for i in catalogue)
    stored = size(sum(i.stored_bytes for i in catalogue))
    counts = f"{n_complete} complete representations, {len(catalogue) - n_complete} begun, {stored}"
    lines = [f"store {store.url}", counts]
    for kind in KINDS:
        lines.append(f"{len(store.results.jobs(kind)):,} {'probes' if kind == 'probes' else 'CKA values'}")
    failures = store.results.failures()
    if failures:
        lines.append(f"{len(failures)} jobs failed; `drfarm status STUDY` names them")
    studies = [str(s["study"]) for s in store.studies()]
    lines.append(f"studies: {', '.join(studies) if studies else 'none'}")
    return "\n".join(lines)


def text_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an aligned plain-text table, however wide."""
    table = Table(box=None, pad_edge=False, header_style="", show_edge=False)
    for name in header:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(v) for v in row))
    buffer = io.StringIO()
    Console(file=buffer, width=10_000, no_color=True, markup=False, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def redundancy_text(redundancy: pa.Table) -> str:
    """Show DR by Eq. 1, one line for each layer, measure and threshold, narrow enough for a terminal."""
    strict = [r for r in redundancy.to_pylist() if r["rule"] == "strict"]
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "model/layer": lambda r: f"{r['model']}/{r['layer']}",
        "dataset": lambda r: r["dataset"],
        "measure": lambda r: r["measure"],
        "fitted by": lambda r: " ".join(r[c] for c in ("solver", "protocol") if r[c] is not None) or "-",
        "method": lambda r: r["method"],
        "delta": lambda r: f"{r['delta']:g}",
        "DR": lambda r: _share(r["dr"]) if r["dr"] is not None else _censored(r),
        "neurons": lambda r: "-" if r["dr"] is None else f"{r['n_neurons']} of {r['width']}",
        "grid leaves open": lambda r: (
            "-"
            if r["bracket_low"] is None or r["bracket_high"] == 0
            else f"[{_share(r['bracket_low'])}, {_share(r['bracket_high'])})"
        ),
        "95 % interval": lambda r: "-" if r["ci_low"] is None else f"{_share(r['ci_low'])} to {_share(r['ci_high'])}",
    }
    for name in ("fitted by", "method"):  # told where it tells rows apart
        if len({columns[name](r) for r in strict} - {"-"}) < 2:
            del columns[name]
    rows = [tuple(show(r) for show in columns.values()) for r in strict]
    header = tuple(columns)
    return text_table(header, rows)


def _share(value: float | None) -> str:
    return "?" if value is None else f"{value:.3f}"


def _censored(row: dict[str, Any]) -> str:
    """Say what is known where no measured size reaches the threshold."""
    if row["bracket_high"] is None:
        return "unknown"
    return f"< {_share(row['bracket_high'])}" if row["bracket_high"] > 0 else "never"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "[" + ", ".join(_cell(v) for v in value[:6]) + (", ...]" if len(value) > 6 else "]")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return str(value)
