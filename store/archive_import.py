"""Taking an archive of another store in: all of it is checked before anything of it is written.

Then each representation is sealed after its bytes, and results are listed after theirs: what a killed import leaves is
whole or unreadable, and the same import again goes on.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store import _result_parquet, ledger, neuron_sets, records
from store._archive_file import archive_objects, read_archive
from store._opened import Opened, read_opened
from store.archive_export import Archived, parents_of
from store.errors import Conflict, Corrupt, NotFound
from store.objects import ObstoreObjects
from store.root import Store, open_store
from store.schema import KINDS, SCHEMAS, Kind
from store.timings import BatchTiming

SAME: Final = 0.02
"""Values of one job from two machines may differ by rounding. What is further apart was not measured on one thing."""

_VALUE: Final[dict[Kind, str]] = {"probes": "accuracy", "cka": "value"}
_SMALL = re.compile(r"(ledger|studies|descriptions|results|neurons)/")
_DEPTH = 6
"""Names of at most this many words are of the groups above a representation: features/model/dataset/split/layer."""


@dataclass(slots=True)
class _Part:
    """One representation in an archive."""

    opened: Opened
    """What its record says."""
    names: list[str] = field(default_factory=list)
    """Names of its objects."""


class _Kept:
    """Objects of an archive, for what reads objects of a store."""

    def __init__(self, file: Path, kept: Mapping[str, bytes]) -> None:
        self.url = str(file)
        self._kept = kept

    def get(self, key: str) -> bytes:
        """Return the object's bytes."""
        if key not in self._kept:
            raise NotFound(f"{self.url}: {key} is not in it.")
        return self._kept[key]


def import_archive(file: Path, url: str | Path) -> Archived:
    """Take an archive into a store, making the store where there is none; the same archive again changes nothing.

    Everything is checked before anything is written. What the store has already stays as it is.

    Returns
    -------
    Archived
        What was new.

    Raises
    ------
    Corrupt
        If the archive is cut short, damaged, or not what `export_archive` writes; nothing was taken in.
    UnsupportedFormat
        If a newer drfarm wrote it, or it is no archive.
    Conflict
        If the store has something else under the same identity; nothing was taken in.
    """
    _, sizes, kept = read_archive(file, keep=_SMALL)
    parts = _parts(file, sizes, kept)
    tables = {kind: _archived_results(file, kind, kept) for kind in KINDS}
    store = open_store(url, create=True)
    new = {i: p for i, p in parts.items() if _is_new(store, file, i, kept[ledger.opened_key(i)])}
    fallbacks = [n for n in kept if n.endswith("/fallback.json") and _is_new_fallback(store, file, n, kept[n])]
    studies = [n for n in kept if n.startswith("studies/") and _is_new_study(store, file, n, kept[n])]
    results = {kind: _new_results(store, file, kind, *made) for kind, made in tables.items() if made is not None}
    _take_in_features(store, file, new)
    for name in fallbacks:
        store.objects.put_new(name, kept[name])
    for name, data in kept.items():
        if name.startswith("descriptions/"):
            store.objects.put_new(name, data)
    for kind, (table, made) in results.items():
        if table.num_rows:
            store.results.write_merged(kind, table, made)
    for name in studies:
        store.objects.put(name, kept[name])
    return Archived(
        representations=len(new),
        results={kind: table.num_rows for kind, (table, _) in results.items()},
        studies=tuple(_study_of(n) for n in studies),
        left_out=tuple(sorted(p.opened.key.path for i, p in parts.items() if i not in new)),
    )


def _parts(file: Path, sizes: Mapping[str, int], kept: Mapping[str, bytes]) -> dict[str, _Part]:
    """Return the representations of an archive; each must be whole, and where its record says."""
    parts: dict[str, _Part] = {}
    held = cast("ObstoreObjects", _Kept(file, kept))
    for name in kept:
        rep_id = name.split("/")[1]
        if name == ledger.opened_key(rep_id) and (opened := read_opened(held, rep_id)) is not None:
            parts[rep_id] = _Part(opened)
        elif name.startswith("neurons/"):
            neuron_sets.NeuronSets(held).get(rep_id.removesuffix(".int64"))
    for name in sizes:
        words = name.split("/")
        folder = words[0]
        if folder == "features" and not (words[-1] == "zarr.json" and len(words) <= _DEPTH):
            part = parts.get(words[5])
            if part is None or not name.startswith(f"{part.opened.key.path}/"):
                raise _strange(file, f"{name} belongs to no representation of it")
            part.names.append(name)
        elif folder in ("ledger", "statistics") and not name.endswith("/fallback.json"):
            if words[1] not in parts:
                raise _strange(file, f"{name} belongs to no representation of it")
            parts[words[1]].names.append(name)
    for rep_id, part in parts.items():
        seal = ledger.complete_key(rep_id)
        if seal not in kept:
            raise _strange(file, f"{part.opened.key.path} is not complete in it")
        entries = ledger.sealed_entries(kept[seal], rep_id, part.opened.grid)
        chunks = f"{part.opened.key.path}/activations"
        needed = {f"{chunks}/{part.opened.grid.object_name(*cell)}": e.n_bytes for cell, e in entries.items()}
        missing = [n for n, size in needed.items() if sizes.get(n) != size]
        missing += [n for n in part.opened.digests if n not in sizes]
        digest = part.opened.key.neurons
        missing += [n for n in ([] if digest is None else [neuron_sets.object_name(digest)]) if n not in sizes]
        if missing:
            raise _strange(file, f"{missing[0]} is needed and not in it")
    return parts


def _archived_results(
    file: Path, kind: Kind, kept: Mapping[str, bytes]
) -> tuple[pa.Table, dict[str, BatchTiming]] | None:
    name = f"results/{kind}.parquet"
    if name not in kept:
        return None
    data = _result_parquet.held(kept[name], f"{file}: {name}")
    table = pq.read_table(pa.BufferReader(data))
    if table.schema.names != SCHEMAS[kind].names:
        raise _strange(file, f"{name} has other columns")
    batches = pc.unique(table["batch_id"]).to_pylist()
    return table, _result_parquet.made_when(data, batches)


def _is_new(store: Store, file: Path, rep_id: str, record: bytes) -> bool:
    """Say whether a representation is to be taken in; `Conflict` where the store has begun it by itself."""
    status = store.features.status(rep_id)
    if status == "complete":
        return False
    if status == "fallback":
        raise Conflict(
            f"{store.url}: representation {rep_id} did not fit float16 there and another one stands in for it, while "
            f"{file} has it. Take the archive into another store."
        )
    if status == "partial" and store.objects.get(ledger.opened_key(rep_id)) != record:
        raise Conflict(
            f"{store.url}: representation {rep_id} was begun there and is not complete. Finish it with `drfarm "
            "extract`, or take the archive into another store."
        )
    return True


def _is_new_fallback(store: Store, file: Path, name: str, data: bytes) -> bool:
    rep_id = name.split("/")[1]
    stand_in = records.from_bytes(data, where=f"{file}: {name}")["stand_in"]
    there = store.features.fallback(rep_id)
    if there == stand_in:
        return False
    if there is not None or store.features.status(rep_id) != "absent":
        raise Conflict(
            f"{store.url}: representation {rep_id} is there, while in {file} another one stands in for it. Take the "
            "archive into another store."
        )
    return True


def _is_new_study(store: Store, file: Path, name: str, data: bytes) -> bool:
    records.from_bytes(data, where=f"{file}: {name}")
    if not store.objects.exists(name):
        return True
    if store.objects.get(name) != data:
        raise Conflict(
            f"{store.url} has another study {_study_of(name)!r}: its settings differ from those in {file}. Take the "
            f"archive into another store, or forget the one that is there: drfarm store gc --store {store.url} "
            f"--forget {_study_of(name)} --yes."
        )
    return False


def _new_results(
    store: Store, file: Path, kind: Kind, table: pa.Table, made: Mapping[str, BatchTiming]
) -> tuple[pa.Table, dict[str, BatchTiming]]:
    """Return the batches that have a job which the store lacks; `Conflict` where a job has another value there."""
    value = _VALUE[kind]
    there = store.results.table(kind, columns=["job_id", value])
    at = pc.index_in(table["job_id"], value_set=there["job_id"].combine_chunks())
    known = pc.is_valid(at).to_numpy(zero_copy_only=False)
    mine = there[value].combine_chunks().take(pc.drop_null(at).combine_chunks())
    ours, theirs = mine.to_numpy(zero_copy_only=False), table[value].to_numpy()[known]
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    agree = (np.abs(ours - theirs) <= SAME) | (np.isnan(ours) & np.isnan(theirs))
    if not agree.all():
        row = table.slice(int(np.flatnonzero(known)[np.argmin(agree)]), 1).to_pylist()[0]
        what = f"{row['model']}/{row['layer']} on {row['dataset']}, {row['method']}, seed {row['seed']}"
        raise Conflict(
            f"{store.url} has {value} {ours[np.argmin(agree)]:g} for {what}, {row['n_neurons']} neurons, and {file} "
            f"{row[value]}: one job, two results. Take the archive into another store."
        )
    fresh = pc.unique(table["batch_id"].filter(pa.array(~known)))
    new = table.filter(pc.is_in(table["batch_id"], value_set=fresh))
    return new, {b: t for b, t in made.items() if b in set(fresh.to_pylist())}


def _take_in_features(store: Store, file: Path, new: Mapping[str, _Part]) -> None:
    """Write the objects of new representations in the order of the archive: the seal of each comes after its bytes."""
    owner = {name: rep_id for rep_id, part in new.items() for name in part.names}
    sets = {neuron_sets.object_name(p.opened.key.neurons) for p in new.values() if p.opened.key.neurons is not None}
    parents = {p for part in new.values() for p in parents_of(part.opened.key.path)}
    if not new:
        return
    for name, data in archive_objects(file):
        if name in sets or name in parents:
            store.objects.put_new(name, data)
        elif name not in owner:
            continue
        elif name == ledger.opened_key(owner[name]):
            if not store.objects.put_new(name, data) and store.objects.get(name) != data:
                raise Conflict(
                    f"{store.url}: another process began representation {owner[name]} at this moment. Finish it with "
                    "`drfarm extract`, then take the archive in again: what is there is kept."
                )
        else:
            store.objects.put(name, data)


def _study_of(name: str) -> str:
    return name.removeprefix("studies/").removesuffix(".json")


def _strange(file: Path, why: str) -> Corrupt:
    return Corrupt(f"{file} is not an archive that drfarm writes: {why}. Nothing of it was taken in. Export it anew.")
