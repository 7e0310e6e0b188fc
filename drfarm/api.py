"""The public face of an open store, and redundancy over it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

import aggregate
from drfarm.filters import Filter, chosen
from drfarm.rows import Rows
from store import Features, InvalidRequest, NotFound, Store
from store import open_store as open_plain_store
from store.schema import CKA, PROBES

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_DELTAS = (0.8, 0.9, 0.95)
"""Thresholds of the ``redundancy`` view, beside those of the studies that ran in the store."""

_WIDE = ("class_accuracy", "predicted_count")


class OpenStore:
    """An open store: its representations, its results, and questions to them. Made by `open_store`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __repr__(self) -> str:
        catalogue = self._store.features.catalogue()
        return f"<drfarm store {self._store.url}: {sum(i.complete for i in catalogue)} complete representations>"

    def _repr_html_(self) -> str:
        from drfarm.notebook import store_html

        return store_html(self._store)

    @property
    def url(self) -> str:
        """Where it is."""
        return self._store.url

    @property
    def plain(self) -> Store:
        """The store itself, with all that is beside features and results."""
        return self._store

    def representations(self) -> "pa.Table":
        """Return the catalogue of features."""
        return self.query("SELECT * FROM representations ORDER BY model, layer, dataset, split, id")

    def features(self, id: str | None = None, **where: str) -> Features:  # noqa: A002 - the catalogue's own word
        """Open one complete representation.

        Parameters
        ----------
        id
            Its id, or the beginning of it.
        **where
            Instead: ``model``, ``layer``, ``dataset``, ``split`` as in the catalogue, as many as single one out.

        Raises
        ------
        NotFound
            If there is none.
        InvalidRequest
            If there are several; the message lists them.
        """
        unknown = sorted(set(where) - {"model", "layer", "dataset", "split"})
        if unknown or (id is None and not where):
            raise InvalidRequest(
                f"name a representation by its id, or by model, layer, dataset, split; got "
                f"{', '.join(unknown) or 'nothing'}."
            )
        found = [
            i
            for i in self._store.features.catalogue()
            if i.key.id.startswith(id or "") and all(getattr(i.key, k) == v for k, v in where.items())
        ]
        if not found:
            raise NotFound(f"{self.url}: there is no representation {id or where}. `drfarm store ls` lists them.")
        if len(found) > 1:
            lines = "; ".join(
                f"{i.key.model}/{i.key.layer}/{i.key.dataset}/{i.key.split} {i.key.id[:12]}" for i in found[:8]
            )
            raise InvalidRequest(f"{self.url}: {len(found)} representations match {id or where}: {lines}. Say more.")
        return self._store.features.open(found[0].key.id)

    def query(self, sql: str) -> "pa.Table":
        """Ask the views in SQL (DuckDB's); read-only. ``drfarm query --schema`` lists them, docs/query.md too.

        Returns
        -------
        pyarrow.Table
            ``.to_pandas()`` gives a data frame. A second column of one name is called ``model_1``.

        Raises
        ------
        InvalidRequest
            If the SQL is wrong, or wants more than to read the views; the message points at it.
        """
        from drfarm.asking import ask

        return ask(self._store, sql, redundancy=self.redundancy)

    def probes(self, **filters: Filter) -> Rows:
        """Return results of probes: ``.arrow()``, ``.pandas()`` or ``.xarray()`` of what is returned.

        Parameters
        ----------
        **filters
            Columns of the view ``probes`` and what they must be: a value, a pattern such as ``"resnet*"``, None for
            null, or a list of these.

        Raises
        ------
        UnknownName
            If there is no such column, or a filter alone matches nothing.
        """
        return Rows("probes", chosen(self._store.results.table("probes"), filters, what="probes"))

    def cka(self, **filters: Filter) -> Rows:
        """Return CKA values, as `probes` does; filters are columns of the view ``cka``."""
        table = self._store.results.table("cka")
        at = table.column_names.index("estimator")  # files of earlier versions do not say it
        table = table.set_column(at, "estimator", pc.fill_null(table["estimator"], "biased"))
        return Rows("cka", chosen(table, filters, what="cka"))

    def redundancy(
        self, *, deltas: Sequence[float] | None = None, rules: Sequence[aggregate.Rule] = aggregate.RULES
    ) -> "pa.Table":
        """Return DR of every cell in the store; see `aggregate.redundancy`.

        Parameters
        ----------
        deltas
            Thresholds; by default 0.8, 0.9, 0.95 and those of the studies that ran here.
        rules
            ``strict`` (Eq. 1), ``nearest`` (the authors' code), ``interpolated``.
        """
        from drfarm.notebook import show_tables_in_kernel

        show_tables_in_kernel()
        if deltas is None:
            named = {d for s in self._store.studies() for d in s.get("deltas", ())}
            deltas = sorted({*DEFAULT_DELTAS, *named})
        probes = self._store.results.table("probes", columns=[c for c in PROBES.names if c not in _WIDE])
        cka = self._store.results.table("cka", columns=CKA.names)
        return aggregate.redundancy(probes, cka, deltas=deltas, rules=rules)


def open_store(url: str | Path) -> OpenStore:
    """Open the store at a local path or an address such as ``s3://bucket/prefix``.

    Raises
    ------
    NotFound
        If there is none.
    UnsupportedFormat
        If it was written by a newer drfarm.
    """
    return OpenStore(open_plain_store(url))


def redundancy(
    store: OpenStore | str | Path,
    *,
    deltas: Sequence[float] | None = None,
    rules: Sequence[aggregate.Rule] = aggregate.RULES,
) -> "pa.Table":
    """Return DR of every cell in a store: `OpenStore.redundancy`."""
    opened = store if isinstance(store, OpenStore) else open_store(store)
    return opened.redundancy(deltas=deltas, rules=rules)
