"""The catalogue of features: which representations match, as rows for people and for programs. Pure (no I/O)."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from drfarm.filters import Filter, chosen
from store import RepresentationInfo
from store.schema import REPRESENTATIONS
from store.views import representation_row

CATALOGUE = pa.schema([*REPRESENTATIONS, ("n_chunks", pa.int64()), ("n_chunks_done", pa.int64())])
"""The columns of the view ``representations``, and how far each is."""


def catalogue_table(
    infos: Sequence[RepresentationInfo],
    filters: Mapping[str, Filter],
    *,
    incomplete: bool = False,
    gathered: bool = False,
) -> pa.Table:
    """Return the representations that match, in the order given, with the columns of `CATALOGUE`.

    Parameters
    ----------
    infos
        The catalogue.
    filters
        By column: a value, a pattern as a shell has it, or several of these.
    incomplete, gathered
        Keep only those that are not complete; only those of which some neurons are stored.

    Raises
    ------
    UnknownName
        If a filter alone matches nothing; the message has the nearest name.
    """
    rows = [representation_row(i) | {"n_chunks": i.n_chunks, "n_chunks_done": i.n_chunks_done} for i in infos]
    table = chosen(pa.Table.from_pylist(rows, schema=CATALOGUE), filters, what="this store's representations")
    keep = [
        not (incomplete and complete) and (some or not gathered)
        for complete, some in zip(table["complete"].to_pylist(), table["gathered"].to_pylist(), strict=True)
    ]
    return table.filter(pa.array(keep, pa.bool_()))


def catalogue_text(table: pa.Table, *, n_all: int, width: int | None = None) -> str:
    """Return the catalogue for people: a line for each representation, and the totals.

    Parameters
    ----------
    table
        What `catalogue_table` returns.
    n_all
        Representations before any filter.
    width
        Characters of a line, where it is to fit a terminal.
    """
    from drfarm._show_answer import answer_table

    if not table.num_rows:
        return "there are no representations." if not n_all else f"none of the {n_all:,} representations matches."
    shown = pa.table({name: [make(r) for r in table.to_pylist()] for name, make in _SHOWN.items()})
    return answer_table(shown, width=width, count=_totals(table, n_all))


def _totals(table: pa.Table, n_all: int) -> str:
    from drfarm.progress import bytes_text

    rows = table.to_pylist()
    n = len(rows)
    told = [f"{n:,} representation{'' if n == 1 else 's'}" if n == n_all else f"{n:,} of {n_all:,} representations"]
    begun = sum(not r["complete"] for r in rows)
    told.append("all complete" if not begun else f"{begun:,} not complete")
    for name in ("model", "dataset"):
        values = len({r[name] for r in rows})
        told.append(f"{values:,} {name.replace('dataset', 'data set')}{'' if values == 1 else 's'}")
    return ", ".join([*told, f"{bytes_text(sum(r['bytes'] for r in rows))} stored"])


def _size(row: Mapping[str, int]) -> str:
    from drfarm.progress import bytes_text

    return bytes_text(row["bytes"])


_SHOWN = {
    "model": lambda r: r["model"],
    "layer": lambda r: r["layer"],
    "dataset": lambda r: r["dataset"],
    "split": lambda r: r["split"],
    "view x sample x neuron": lambda r: (
        f"{r['n_views']} x {r['n_samples']:,} x {r['width']:,}" + (f" of {r['layer_width']:,}" if r["gathered"] else "")
    ),
    "dtype": lambda r: r["dtype"],
    "stored": _size,
    "state": lambda r: "complete" if r["complete"] else f"{r['n_chunks_done']} of {r['n_chunks']} chunks",
    "id": lambda r: r["id"][:12],
}
