"""What a store, and all that ran on it, must be like after any faults: as an undisturbed run leaves it."""

import re
from dataclasses import dataclass
from pathlib import Path

import drfarm
from store import open_store
from store.schema import KINDS

PER_RUN = ("study", "elapsed_s", "batch_id", "created_at")
"""Columns that tell of the run, not of the result."""

VIEWS = ("representations", "redundancy")

UNWANTED = re.compile(r"Traceback|distributed\.|tornado|asyncio|Task exception|leaked|Warning:|Segmentation")
"""What no person should see of what the command is made of."""


def files(store: Path) -> dict[str, bytes]:
    """Return every byte of the features and of what the ledger has of them."""
    patterns = ("features/**/*", "ledger/*/chunks/*", "ledger/*/complete.json")
    found = [p for pattern in patterns for p in store.glob(pattern)]
    return {str(p.relative_to(store)): p.read_bytes() for p in found if p.is_file()}


def rows(store: Path) -> dict[str, list[dict]]:
    """Return every row of every results file, whatever is there twice, and of the views that are made of them."""
    results = open_store(str(store)).results
    tables = {kind: results.dataset(kind).to_table() for kind in KINDS}
    tables |= {view: drfarm.open_store(str(store)).query(f"SELECT * FROM {view}") for view in VIEWS}
    return {name: sorted(map(_plain, table.to_pylist()), key=repr) for name, table in tables.items()}


def _plain(row: dict) -> dict:
    """Return what of a row tells of the result; NaN equals NaN here."""
    return {k: repr(v) if isinstance(v, float) else v for k, v in row.items() if k not in PER_RUN}


@dataclass(frozen=True)
class Expected:
    """What the undisturbed store holds."""

    files: dict[str, bytes]
    rows: dict[str, list[dict]]


def expected_of(store: Path) -> Expected:
    found = Expected(files(store), rows(store))
    assert found.files
    assert all(found.rows.values())
    return found


def differences(store: Path, expected: Expected) -> list[str]:
    """Return, in words, what of a store is not as it must be."""
    told = []
    got_files = {name: data for name, data in files(store).items() if "#" not in name}
    for what, names in (
        ("is missing", expected.files.keys() - got_files.keys()),
        ("should not be there", got_files.keys() - expected.files.keys()),
        ("has other bytes", [n for n, data in got_files.items() if expected.files.get(n, data) != data]),
    ):
        told += [f"{name} {what}" for name in sorted(names)[:3]]
    got = rows(store)
    for kind, there in expected.rows.items():
        ids = [r["job_id"] for r in got[kind] if "job_id" in r]
        if len(set(ids)) != len(ids):
            told.append(f"{len(ids) - len(set(ids))} rows of {kind} are there twice")
        if got[kind] != there:
            pairs = zip(got[kind], there, strict=False)
            first = next(((g, e) for g, e in pairs if g != e), None)
            told.append(f"{kind} differ: {len(got[kind])} rows, expected {len(there)}; the first is {_short(first)}")
    told += [f"a failure is left: {f['what']}: {f['error']}" for f in open_store(str(store)).results.failures()]
    return told


def _short(pair: tuple[dict, dict] | None) -> str:
    if pair is None:
        return "one that only one of them has"
    got, expected = pair
    return "; ".join(f"{k} {got.get(k)!r} for {v!r}" for k, v in expected.items() if got.get(k) != v)[:500]


def half_made(store: Path) -> list[str]:
    """Return the files that a killed process was writing: they have ``#`` in their names, and no store sees them."""
    return sorted(str(p.relative_to(store)) for p in store.glob("**/*") if "#" in p.name)


def n_made(store: Path) -> int:
    """Return how much of a study is made: chunks and batches."""
    return sum(1 for pattern in ("ledger/*/chunks/*.json", "results/*/*.parquet") for _ in store.glob(pattern))
