"""Results out of a store in the form that one likes: Arrow, pandas, or xarray with an axis for each name."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from store import InvalidRequest

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Ids = Literal["refuse", "axis"]
"""What becomes of one name that stands for several representations: an error, or an axis of its own."""

_AXES: Final = {
    "probes": ("model", "layer", "dataset", "method", "seed", "n_neurons"),
    "cka": ("model", "layer", "dataset", "method", "seed", "n_neurons"),
}
"""Axes that a data set always has."""
_MORE_AXES: Final = {"probes": ("solver", "protocol"), "cka": ("kind", "estimator", "seed_b")}
"""Axes where there are several of them; else they are told in the attributes."""
_IDS: Final = {"probes": ("train_id", "test_id"), "cka": ("test_id",)}
_VALUES: Final = {
    "probes": ("accuracy", "val_accuracy", "hyperparameter", "gradient_norm", "elapsed_s"),
    "cka": ("value", "ci_low", "ci_high", "elapsed_s"),
}
_MOST_CELLS = 100_000_000
"""Cells of a data set, empty ones included: 800 MB for each of its variables."""


class Rows:
    """Rows of the view ``probes`` or ``cka``. Made by `OpenStore.probes` and `OpenStore.cka`."""

    def __init__(self, view: Literal["probes", "cka"], table: pa.Table) -> None:
        self._view: Literal["probes", "cka"] = view
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __repr__(self) -> str:
        counts = [(name, len(pc.unique(self._table[name]))) for name in (*_AXES[self._view], *_MORE_AXES[self._view])]
        told = ", ".join(f"{n} {name}" for name, n in counts if n)
        return f"<{len(self):,} {self._view}{': ' if told else ''}{told}>"

    def arrow(self) -> pa.Table:
        """Return them as an Arrow table, with the columns of the view."""
        return self._table

    def pandas(self) -> "pd.DataFrame":
        """Return them as a pandas data frame, with the columns of the view."""
        return self._table.to_pandas()

    def xarray(self, *, values: Sequence[str] | None = None, ids: Ids = "refuse") -> "xr.Dataset":
        """Return them as an xarray data set: an axis for each name, NaN where nothing was measured.

        Axes are model, layer, dataset, method, seed and n_neurons; of probes also solver and protocol, of CKA kind,
        estimator and seed_b where there are several (one alone stands in the attributes). The coordinate ``width``
        holds the neurons of each layer, over the axes that it depends on.

        Parameters
        ----------
        values
            Columns of numbers that become variables; by default the accuracy or value and what else is known of it.
        ids
            What becomes of names that stand for several representations (another transform, other weights):
            ``refuse`` them, or give them the ``axis`` ``representation``.

        Raises
        ------
        InvalidRequest
            If one name stands for several representations, a column holds no numbers, or the data set would be huge.
        """
        return _dataset(self._view, self._table, values, ids)


def _dataset(view: Literal["probes", "cka"], table: pa.Table, values: Sequence[str] | None, ids: Ids) -> "xr.Dataset":
    import xarray as xr

    variables = _variables(view, table, values)
    axes: dict[str, tuple[pa.Array, np.ndarray]] = {name: _ranked(table[name]) for name in _AXES[view]}
    attrs: dict[str, Any] = {}
    for name in _MORE_AXES[view]:
        labels, index = _ranked(table[name])
        if len(labels) > 1:
            axes[name] = labels, index
        elif len(labels) and labels[0].as_py() is not None:
            attrs[name] = labels[0].as_py()
    table = _with_ids(view, table)
    doubled = _ambiguous(table)
    if doubled and ids == "refuse":
        raise InvalidRequest(
            f"{len(doubled)} of the names stand for several representations, such as {doubled[0]}: their values are "
            "not to be mixed. Choose one with test_id=... (and train_id=...), or give them an axis with ids='axis'."
        )
    if doubled:
        axes["representation"] = _ranked(table["representation"])
    shape = tuple(len(labels) for labels, _ in axes.values())
    if math.prod(shape) > _MOST_CELLS:
        told = " x ".join(f"{n} {name}" for name, n in zip(axes, shape, strict=True))
        raise InvalidRequest(
            f"the data set would have {math.prod(shape):,} cells ({told}) for {table.num_rows:,} rows, at most "
            f"{_MOST_CELLS:,} are made. Filter the rows, or use .arrow() or .pandas()."
        )
    place = np.ravel_multi_index(tuple(i for _, i in axes.values()), shape) if table.num_rows else np.empty(0, int)
    _refuse_doubles(table, axes, place)
    data = {}
    for name in variables:
        cells = np.full(math.prod(shape), np.nan)
        cells[place] = table[name].cast(pa.float64()).to_numpy()
        data[name] = (tuple(axes), cells.reshape(shape))
    coords = {name: _labels(labels) for name, (labels, _) in axes.items()}
    return xr.Dataset(data, coords=coords | _width(table, axes), attrs=attrs)


def _variables(view: str, table: pa.Table, values: Sequence[str] | None) -> list[str]:
    if values is None:
        known = _VALUES[view]
        return [n for n in known if n == known[0] or table[n].null_count < table.num_rows]
    for name in values:
        if name not in table.column_names or not _is_number(table.schema.field(name).type):
            numbers = [f.name for f in table.schema if _is_number(f.type) and f.name not in _AXES[view]]
            raise InvalidRequest(f"{view} has no column of numbers {name!r}; it has {', '.join(numbers)}.")
    return list(values)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _ranked(column: pa.ChunkedArray) -> tuple[pa.Array, "np.ndarray[Any, Any]"]:
    """Return the distinct values, sorted, null last, and which of them each row has."""
    distinct = pc.unique(column)
    labels = distinct.take(pc.array_sort_indices(distinct))
    index = pc.index_in(column, value_set=labels)
    return labels, index.to_numpy()


def _labels(labels: pa.Array) -> Any:
    if pa.types.is_integer(labels.type) and not labels.null_count:
        return labels.to_numpy()
    return np.array(["" if v is None else v for v in labels.to_pylist()], dtype=object)


def _with_ids(view: str, table: pa.Table) -> pa.Table:
    """Add the column ``representation``: the ids behind a row, short as far as they stay distinct."""
    pairs = [tuple(p) for p in zip(*(table[c].to_pylist() for c in _IDS[view]), strict=True)]
    return table.append_column("representation", pa.array(["+".join((i or "-")[:12] for i in p) for p in pairs]))


def _ambiguous(table: pa.Table) -> list[str]:
    names = ["model", "layer", "dataset"]
    counts = table.group_by(names).aggregate([("representation", "count_distinct")]).to_pylist()
    return sorted("/".join(str(r[n]) for n in names) for r in counts if r["representation_count_distinct"] > 1)


def _refuse_doubles(table: pa.Table, axes: Any, place: "np.ndarray[Any, Any]") -> None:
    """Refuse two rows in one cell: something that is no axis tells them apart."""
    _, first, counts = np.unique(place, return_index=True, return_counts=True)
    if not (counts > 1).any():
        return
    cell = place == place[first[np.argmax(counts > 1)]]
    rows = table.filter(pa.array(cell)).slice(0, 2)
    first_row, second_row = rows.to_pylist()
    apart = [c for c in rows.column_names if c not in axes and first_row[c] != second_row[c]]
    named = "/".join(str(rows[c][0].as_py()) for c in ("model", "layer", "dataset"))
    raise InvalidRequest(
        f"{named}: several rows have one place in the data set; they differ in {', '.join(apart) or 'nothing'}. Filter "
        "by one of these columns."
    )


def _width(table: pa.Table, axes: Any) -> dict[str, Any]:
    """Return the coordinate ``width``, over as few axes as decide it."""
    widths = pc.unique(table["width"]).to_pylist()
    if len(widths) == 1:
        return {"width": widths[0]}
    for names in (("layer",), ("model", "layer"), ("model", "layer", "dataset")):
        shape = tuple(len(axes[n][0]) for n in names)
        place = np.ravel_multi_index(tuple(axes[n][1] for n in names), shape) if table.num_rows else np.empty(0, int)
        width = table["width"].to_numpy()
        cells = np.full(math.prod(shape), -1)
        cells[place] = width
        if table.num_rows and (cells[place] == width).all():
            return {"width": (names, cells.reshape(shape))}
    return {}
