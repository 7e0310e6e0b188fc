"""The results store: one immutable Parquet file per finished batch, merged now and then, each result read once.

results/<kind>/<batch_id>.parquet              a finished batch
results/<kind>/merged/<digest>.parquet         several batches in one file ...
results/<kind>/merged/<digest>.json            ... read only with its manifest, which is written after it
failures/<batch_id>.json                       a batch that is quarantined, with its error
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store import _result_parquet, records
from store._result_files import Source, plan_sources
from store.errors import Corrupt, InvalidRequest, NotFound, StorageFailure, StoreError, UnknownName, UnsupportedFormat
from store.ids import JSON, check_name, content_id
from store.objects import ObjectInfo, ObstoreObjects
from store.schema import KINDS, RESULTS_FORMAT, SCHEMAS, Kind
from store.timings import TIMINGS, BatchTiming, timing_here

if TYPE_CHECKING:
    import pyarrow.dataset as pads

_ATTEMPTS = 50
"""Looks at the listing before a reader gives up; each one that fails means that a compaction has ended meanwhile."""
_ORPHAN_AGE = timedelta(days=1)
"""A merged file this old that has no manifest is of a compactor that was killed; a younger one may be in the making."""


class ResultStore:
    """Probe and CKA results below one root. Made by `open_store`."""

    def __init__(self, objects: ObstoreObjects) -> None:
        self._objects = objects

    def write(
        self,
        kind: Kind,
        batch_id: str,
        rows: Sequence[Mapping[str, Any]] | pa.Table,
        *,
        started_at: datetime | None = None,
    ) -> str:
        """Write a finished batch, atomically, under the name its identity gives; a double overwrites itself.

        Parameters
        ----------
        kind
            ``probes`` or ``cka``.
        batch_id
            Computed from the identity of the batch's jobs, never from a counter.
        rows
            Rows with the columns of `store.schema.SCHEMAS`.
        started_at
            When this process began to make the batch; kept for `timings`.

        Returns
        -------
        str
            Name of the object that was written.
        """
        schema = _schema(kind)
        check_name("batch", batch_id)
        table = _as_table(rows, schema, batch_id)
        if table.num_rows == 0:
            raise InvalidRequest(f"batch {batch_id} has no rows; a finished batch has at least one.")
        if pc.unique(table["batch_id"]).to_pylist() != [batch_id]:
            raise InvalidRequest(f"every row of batch {batch_id} must carry its batch_id.")
        jobs = table["job_id"]
        if jobs.null_count or len(pc.unique(jobs)) != table.num_rows:
            raise InvalidRequest(f"every row of batch {batch_id} must carry a job_id of its own.")
        name = f"results/{kind}/{batch_id}.parquet"
        made = {} if started_at is None else {batch_id: timing_here(started_at)}
        self._objects.put(name, _result_parquet.encode(table, made))
        return name

    def write_merged(self, kind: Kind, table: pa.Table, made: Mapping[str, BatchTiming]) -> str:
        """Write many batches that were finished elsewhere as one file, atomically; they are read from its manifest on.

        Parameters
        ----------
        kind
            ``probes`` or ``cka``.
        table
            Their rows, with all columns of `store.schema.SCHEMAS`.
        made
            When each batch was made, as far as that is known.

        Returns
        -------
        str
            Name of the object that was written.
        """
        members = sorted(pc.unique(table["batch_id"]).to_pylist())
        for batch in members:
            check_name("batch", batch)
        stem = f"results/{kind}/merged/{content_id(members)}"
        self._objects.put(f"{stem}.parquet", _result_parquet.encode(table.cast(SCHEMAS[kind]), made))
        self._put_manifest(f"{stem}.json", members)
        return f"{stem}.parquet"

    def jobs(self, kind: Kind) -> set[str]:
        """Return the ids of the jobs that are done."""
        return set(pc.unique(self.dataset(kind).to_table(columns=["job_id"])["job_id"]).to_pylist())

    def holds(self, kind: Kind, batch_id: str) -> bool:
        """Say whether a batch is written."""
        if self._objects.exists(f"results/{kind}/{batch_id}.parquet"):
            return True
        return batch_id in self._readable(kind)

    def table(self, kind: Kind, *, columns: Sequence[str] | None = None) -> pa.Table:
        """Read results, each once.

        Parameters
        ----------
        kind
            ``probes`` or ``cka``.
        columns
            Columns to read; all by default.

        Raises
        ------
        Corrupt
            If a file is not what was written; the message names it.
        """
        known = _schema(kind).names
        names = list(columns or known)
        for name in names:
            if name not in known:
                raise UnknownName.among(f"column of {kind}", name, known, most=len(known))
        table = self.dataset(kind).to_table(columns=list(dict.fromkeys([*names, "job_id", "batch_id"])))
        return _each_job_once(table).select(names)

    def timings(self) -> pa.Table:
        """Return when each batch was made, and by which process: the columns of `store.timings.TIMINGS`.

        Rows are sorted by kind and batch. Of a batch that an earlier version wrote, only the number of jobs is known.
        """
        rows: list[dict[str, Any]] = []
        for kind in KINDS:
            snapshot = self._snapshot(kind)
            batches = pc.value_counts(self._dataset(kind, snapshot).to_table(columns=["batch_id"])["batch_id"])
            made = _made_when(snapshot)
            for batch, n_jobs in sorted((b["values"], b["counts"]) for b in batches.to_pylist()):
                row = {"kind": kind, "batch_id": batch, "n_jobs": n_jobs}
                if batch in made:
                    t = made[batch]
                    row |= {"worker": t.worker, "started_at": t.started_at, "finished_at": t.finished_at}
                    row |= {"elapsed_s": t.elapsed_s}
                rows.append(row)
        return pa.Table.from_pylist(rows, schema=TIMINGS)

    def dataset(self, kind: Kind) -> "pads.Dataset":
        """Return the results of this moment as one lazy Arrow dataset, every batch once.

        The files are held in memory, compressed as they are, and held against their checksums: what is compacted or
        removed later changes nothing. A job that two batches hold is there twice.
        """
        return self._dataset(kind, self._snapshot(kind))

    def compact(self, kind: Kind) -> int:
        """Merge the batch files of a kind into one; a reader sees each result once at every moment.

        The merged file is written first, then its manifest, then the batch files are removed: killed anywhere, nothing
        is lost or doubled. A second compactor at the same moment wastes work, and loses nothing.

        Returns
        -------
        int
            Files that were merged.
        """
        snapshot = self._snapshot(kind)
        if len(snapshot) > 1:
            table = _each_job_once(self._dataset(kind, snapshot).to_table()).sort_by([("batch_id", "ascending")])
            members: list[str] = sorted(frozenset[str]().union(*(s.batches for s, _ in snapshot)))
            stem = f"results/{kind}/merged/{content_id(members)}"
            self._objects.put(f"{stem}.parquet", _result_parquet.encode(table, _made_when(snapshot)))
            with suppress(NotFound):  # another compactor merged the same, and more, and has removed this one
                # What follows removes the only other copy: look at what the storage has.
                _result_parquet.held(self._objects.get(f"{stem}.parquet"), f"{stem}.parquet")
                self._put_manifest(f"{stem}.json", members)
        with suppress(NotFound):  # another compactor is removing them
            self._remove_leftovers(kind)
        return len(snapshot) if len(snapshot) > 1 else 0

    def check(self, kind: Kind) -> Iterator[tuple[str, str | None]]:
        """Re-read every file and yield (name, what is wrong with it); None where it is what was written."""
        for info in self._files(kind):
            try:
                yield info.key, self._problem(kind, info.key)
            except NotFound:  # compacted since it was listed
                continue

    def _problem(self, kind: Kind, name: str) -> str | None:
        data = self._objects.get(name)
        try:
            if name.endswith(".json"):
                batches = frozenset(records.from_bytes(data, where=name)["batches"])
                if not self._objects.exists(_data_of(name)) and batches - self._readable(kind):
                    return f"{_data_of(name)}, which it describes, is gone."
            else:
                _result_parquet.held(data, name)
        except StoreError as e:
            return str(e)
        return None

    def discard(self, name: str) -> None:
        """Remove one results file, so that its batches are computed anew.

        A merged file that is what was written is kept where only its manifest is damaged: the manifest is made anew.
        """
        if not name.startswith(tuple(f"results/{kind}/" for kind in KINDS)):
            raise InvalidRequest(f"{name!r} is not a results file.")
        if name.endswith(".json"):
            data = _data_of(name)
            try:
                table = pq.read_table(pa.BufferReader(_result_parquet.held(self._objects.get(data), data)))
            except (NotFound, Corrupt):
                self._objects.delete([name, data])
            else:
                self._put_manifest(name, sorted(pc.unique(table["batch_id"]).to_pylist()))
        else:
            self._objects.delete([name.removesuffix(".parquet") + ".json", name])

    def record_failure(self, batch_id: str, record: Mapping[str, JSON]) -> None:
        """Quarantine a batch: keep its error where `status` finds it."""
        key = f"failures/{check_name('batch', batch_id)}.json"
        self._objects.put(key, records.to_bytes({**record, "batch_id": batch_id}))

    def failures(self) -> list[dict[str, Any]]:
        """Return the records of quarantined batches."""
        found = []
        for o in self._objects.list("failures"):
            try:
                found.append(records.from_bytes(self._objects.get(o.key), where=o.key))
            except NotFound:  # cleared since it was listed
                continue
        return found

    def clear_failure(self, batch_id: str) -> None:
        """Take a batch out of quarantine."""
        self._objects.delete([f"failures/{check_name('batch', batch_id)}.json"])

    def _files(self, kind: Kind, below: str = "") -> list[ObjectInfo]:
        _schema(kind)
        return [o for o in self._objects.list(f"results/{kind}{below}") if o.key.endswith((".parquet", ".json"))]

    def _snapshot(self, kind: Kind) -> list[tuple[Source, bytes]]:
        """Return the files that hold every batch once, with their bytes: one moment, whatever runs beside us.

        A file can be merged and removed between the listing and the reading: then the listing is made anew.
        """
        read: dict[str, bytes] = {}
        for attempt in range(_ATTEMPTS):
            try:
                sources = self._sources(kind)
                for source in sources:
                    if source.key not in read:
                        read[source.key] = _result_parquet.held(self._objects.get(source.key), source.key)
            except NotFound:
                time.sleep(0.001 * attempt)
                continue
            return [(source, read[source.key]) for source in sources]
        raise StorageFailure(
            f"{self._objects.url}: the results of {kind} changed {_ATTEMPTS} times while they were read. Run again "
            "when no compaction runs."
        )

    def _sources(self, kind: Kind) -> tuple[Source, ...]:
        """Choose the files to read.

        A listing is not of one moment. Merged files are listed again after everything: a batch file that was removed
        during the first listing is in a merged file of the second; and a merged file that replaced others during either
        makes the two differ.
        """
        for _ in range(_ATTEMPTS):
            keys = [o.key for o in self._files(kind)]
            merged = [k for k in keys if _is_merged(k)]
            if merged == [o.key for o in self._files(kind, "/merged")]:
                batches = [k for k in keys if not _is_merged(k) and k.endswith(".parquet")]
                return plan_sources(batches, self._manifests(merged))
        raise StorageFailure(
            f"{self._objects.url}: the merged results of {kind} changed {_ATTEMPTS} times while they were listed. Run "
            "again when no compaction runs."
        )

    def _manifests(self, merged: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return the merged files that count: those with a manifest, and the batches that it names."""
        found = {}
        for manifest in merged:
            data = _data_of(manifest)
            if manifest.endswith(".json") and data in merged:
                found[data] = self._members(manifest)
        return found

    def _members(self, manifest: str) -> frozenset[str]:
        """Return the batches that a manifest names."""
        record = records.from_bytes(self._objects.get(manifest), where=manifest)
        if record.get("format") != RESULTS_FORMAT:
            raise UnsupportedFormat(
                f"{manifest} has results format {record.get('format')}; this drfarm reads and writes format "
                f"{RESULTS_FORMAT}. Upgrade drfarm."
            )
        return frozenset(record["batches"])

    def _readable(self, kind: Kind) -> frozenset[str]:
        """Return the batches that can be read."""
        return frozenset[str]().union(*(s.batches for s in self._sources(kind)))

    def _put_manifest(self, name: str, batches: Sequence[str]) -> None:
        self._objects.put(name, records.to_bytes({"format": RESULTS_FORMAT, "batches": list(batches)}))

    def _remove_leftovers(self, kind: Kind) -> None:
        """Remove files whose batches a larger merged file holds, and what a killed compactor left."""
        infos = {o.key: o for o in self._files(kind)}
        merged = self._manifests([k for k in infos if _is_merged(k)])
        batches = [k for k in infos if not _is_merged(k) and k.endswith(".parquet")]
        needed = {s.key for s in plan_sources(batches, merged)}
        stale = [k for k in merged if k not in needed]
        self._objects.delete([_manifest_of(k) for k in stale])
        self._objects.delete([*stale, *(k for k in batches if k not in needed)])
        # Two compactors at once can remove a merged file's data under its new manifest: others hold those batches.
        held = frozenset(map(_batch_of, batches)).union(*merged.values())
        manifests = [k for k in infos if _is_merged(k) and k.endswith(".json") and _data_of(k) not in infos]
        self._objects.delete([k for k in manifests if self._members(k) <= held])
        before = datetime.now(UTC) - _ORPHAN_AGE
        orphans = [k for k in infos if _is_merged(k) and k.endswith(".parquet") and _manifest_of(k) not in infos]
        self._objects.delete([k for k in orphans if infos[k].modified < before])

    def _dataset(self, kind: Kind, snapshot: Sequence[tuple[Source, bytes]]) -> "pads.Dataset":
        import pyarrow.dataset as pads

        schema = SCHEMAS[kind]
        parts = []
        for source, data in snapshot:
            if source.exclude:
                keep = ~pc.field("batch_id").isin(pa.array(sorted(source.exclude)))
                parts.append(pads.dataset(_result_parquet.dataset([data], schema).to_table(filter=keep)))
        whole = [data for source, data in snapshot if not source.exclude]
        if whole or not parts:
            parts.append(_result_parquet.dataset(whole, schema))
        return parts[0] if len(parts) == 1 else pads.UnionDataset(schema, parts)


def _schema(kind: str) -> pa.Schema:
    if kind not in SCHEMAS:
        raise UnknownName.among("kind of results", kind, SCHEMAS)
    return SCHEMAS[kind]


def _made_when(snapshot: Sequence[tuple[Source, bytes]]) -> dict[str, BatchTiming]:
    """Return when the batches of these files were made, as far as it was written down."""
    made: dict[str, BatchTiming] = {}
    for source, data in snapshot:
        made |= _result_parquet.made_when(data, source.batches)
    return made


def _is_merged(key: str) -> bool:
    return "/merged/" in key


def _batch_of(key: str) -> str:
    return key.rsplit("/", 1)[-1].removesuffix(".parquet")


def _data_of(manifest: str) -> str:
    return manifest.removesuffix(".json") + ".parquet"


def _manifest_of(data: str) -> str:
    return data.removesuffix(".parquet") + ".json"


def _as_table(rows: Sequence[Mapping[str, Any]] | pa.Table, schema: pa.Schema, batch_id: str) -> pa.Table:
    """Return rows as a table of exactly this schema; a column that it does not have is refused, not dropped."""
    given = rows.schema.names if isinstance(rows, pa.Table) else sorted({name for row in rows for name in row})
    for name in given:
        if name not in schema.names:
            raise UnknownName.among("column of results", name, schema.names, where=f"batch {batch_id}")
    try:
        if not isinstance(rows, pa.Table):
            return pa.Table.from_pylist([dict(r) for r in rows], schema=schema)
        return rows if rows.schema.equals(schema) else rows.select(schema.names).cast(schema)
    except (pa.ArrowException, KeyError, TypeError, ValueError, OverflowError) as e:
        raise InvalidRequest(f"batch {batch_id} does not have the columns of results: {e}") from e


def _each_job_once(table: pa.Table) -> pa.Table:
    """Keep one row of each job, that of its first batch by name; equal jobs have equal results."""
    if len(pc.unique(table["job_id"])) == table.num_rows:
        return table
    table = table.sort_by([("batch_id", "ascending")])
    numbered = pa.table({"job_id": table["job_id"], "row": pa.array(range(table.num_rows), pa.int64())})
    first = numbered.group_by("job_id").aggregate([("row", "min")])["row_min"]
    return table.take(first.take(pc.sort_indices(first)))
