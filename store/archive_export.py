"""Taking a study, or all that is finished in a store, out into one file that another store takes in.

An archive holds complete representations with their ledger, statistics and sets of neurons, results, and what the
studies are. What is in the making, has failed, or is of one machine (rates, batch sizes) stays.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from store import _result_parquet, ledger, neuron_sets, statistics
from store._archive_file import ArchiveWriter
from store.codecs import checksum
from store.errors import InvalidRequest, StoreError, UnknownName
from store.root import Store
from store.schema import KINDS, Kind
from store.timings import BatchTiming
from store.whole_file import whole_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What an archive holds, or what of it was new."""

    representations: int
    """Representations, all of them complete."""
    results: Mapping[Kind, int]
    """Results, by kind."""
    studies: tuple[str, ...]
    """Names of the studies."""
    left_out: tuple[str, ...] = ()
    """Paths of representations that were left out: not complete, or (taking in) there already."""


def export_archive(store: Store, file: Path, *, study: str | None = None, features: bool = True) -> Archived:
    """Write a study, or all that is finished in a store, into one file, at once: a reader sees a whole file or none.

    Parameters
    ----------
    store
        Where it is.
    file
        Where it goes: ``.tar``, ``.tar.zst`` or ``.tar.gz``. The same contents make the same bytes.
    study
        Only what this study names, and what it measured. All by default.
    features
        Whether representations and their statistics are taken along; without them results stay results.

    Raises
    ------
    UnknownName
        If there is no such study.
    InvalidRequest
        If the file's name does not say how it is compressed, the file can't be written, or there is nothing to export.
    Corrupt
        If something is not what was written; the message names it.
    """
    ids, names = _wanted(store, study)
    try:
        with whole_file(file) as partial:
            writer = ArchiveWriter(partial, file.name)
            try:
                done = _export(store, writer, ids, names, study, features=features)
            except BaseException:
                writer.abandon()
                raise
    except OSError as e:
        if isinstance(e, StoreError) or e.errno is None:
            raise
        raise InvalidRequest(f"{file} can't be written: {os.strerror(e.errno)}. Choose another place with -o.") from e
    return done


def _wanted(store: Store, study: str | None) -> tuple[frozenset[str] | None, list[str]]:
    """Return the ids that a study names, stand-ins too, and the studies to take along; None for all."""
    named = store.named_representations()
    if study is None:
        return None, sorted(named)
    if study not in named:
        raise UnknownName.among("study", study, named, where=store.url)
    ids = named[study]
    if ids is None:
        raise InvalidRequest(
            f"{store.url}: study {study!r} was written down by an earlier drfarm, which did not say what it needs. Run "
            "it again (what is done is not done again), or export the whole store."
        )
    stand_ins = {f.stand_in for f in store.features.fallbacks() if f.key.id in ids}
    return ids | stand_ins, [study]


def _export(
    store: Store,
    writer: ArchiveWriter,
    ids: frozenset[str] | None,
    studies: list[str],
    study: str | None,
    *,
    features: bool,
) -> Archived:
    infos = [i for i in store.features.catalogue() if ids is None or i.key.id in ids] if features else []
    whole = [i for i in infos if i.complete]
    tables = {kind: _results_of(store, kind, ids, study) for kind in KINDS}
    if not whole and not any(t.num_rows for t in tables.values()):
        raise InvalidRequest(f"{store.url} has nothing finished to export: `drfarm run` a study first.")
    for digest in sorted({i.key.neurons for i in whole if i.key.neurons is not None}):
        store.neuron_sets.get(digest)
        name = neuron_sets.object_name(digest)
        writer.add(name, store.objects.get(name))
    parents = sorted({p for i in whole for p in parents_of(i.key.path)})
    for name in parents:
        if store.objects.exists(name):
            writer.add(name, store.objects.get(name))
    for info in whole:
        _export_representation(store, writer, info.key.id)
    if features:
        for fallback in store.features.fallbacks():
            if ids is None or fallback.key.id in ids:
                name = ledger.fallback_key(fallback.key.id)
                writer.add(name, store.objects.get(name))
        if study is None:
            for o in store.objects.list("descriptions"):
                writer.add(o.key, store.objects.get(o.key))
    made = _made(store)
    for kind, table in tables.items():
        if table.num_rows:
            batches = set(pc.unique(table["batch_id"]).to_pylist())
            times = {b: t for b, t in made[kind].items() if b in batches}
            writer.add(f"results/{kind}.parquet", _result_parquet.encode(table, times))
    for name in studies:
        writer.add(f"studies/{name}.json", store.objects.get(f"studies/{name}.json"))
    writer.close({"study": study, "features": features})
    return Archived(
        representations=len(whole),
        results={kind: t.num_rows for kind, t in tables.items()},
        studies=tuple(studies),
        left_out=tuple(i.key.path for i in infos if not i.complete),
    )


def _export_representation(store: Store, writer: ArchiveWriter, rep_id: str) -> None:
    """Add the group, then the ledger, then statistics; the seal comes last of the ledger, as it is taken in."""
    reader = store.features.open(rep_id)
    sealed = store.objects.get(ledger.complete_key(rep_id))
    for name in sorted(reader.small_objects()):
        reader.check_small_object(name)
        writer.add(name, store.objects.get(name))
    for (view, chunk), entry in ledger.sealed_entries(sealed, rep_id, reader.grid).items():
        name = reader.chunk_object(view, chunk)
        data = store.objects.get(name)
        if checksum(data) != entry.checksum:
            reader.check_chunk(view, chunk)  # says what to do
        writer.add(name, data)
    seal, opened = ledger.complete_key(rep_id), ledger.opened_key(rep_id)
    entries = [o.key for o in store.objects.list(ledger.chunk_prefix(rep_id))]
    for name in (opened, *entries, seal):
        writer.add(name, store.objects.get(name))
    for rows in store.statistics.rows(rep_id):
        store.statistics.get(rep_id, rows)
        name = statistics.object_name(rep_id, rows)
        writer.add(name, store.objects.get(name))


def _results_of(store: Store, kind: Kind, ids: frozenset[str] | None, study: str | None) -> pa.Table:
    """Return results, each once, in an order that says nothing of the files that they lay in."""
    table = store.results.table(kind)
    if ids is not None:
        on = pc.is_in(table["test_id"], value_set=pa.array(sorted(ids), pa.string()))
        table = table.filter(pc.or_(on, pc.fill_null(pc.equal(table["study"], study), fill_value=False)))
    return table.sort_by([("batch_id", "ascending"), ("job_id", "ascending")]).combine_chunks()


def _made(store: Store) -> dict[Kind, dict[str, BatchTiming]]:
    """Return when each batch was made, as far as it is known."""
    made: dict[Kind, dict[str, BatchTiming]] = {kind: {} for kind in KINDS}
    for row in store.results.timings().to_pylist():
        if row["worker"] is not None:
            made[row["kind"]][row["batch_id"]] = BatchTiming(
                worker=row["worker"], started_at=row["started_at"], finished_at=row["finished_at"]
            )
    return made


def parents_of(path: str) -> list[str]:
    """Return the metadata of the groups that a group lies in, which Zarr writes."""
    parts = path.split("/")[:-1]
    return ["/".join([*parts[:n], "zarr.json"]) for n in range(len(parts) + 1)]
