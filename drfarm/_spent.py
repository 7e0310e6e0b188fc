"""What results cost: time of stages and processes, images through networks, bytes. Pure but for reading the store."""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from aggregate.report import Fact, PlainTable
from drfarm.progress import bytes_text, duration
from store import RepresentationInfo, Store


def spent(
    store: Store, infos: Sequence[RepresentationInfo], probes: pa.Table, cka: pa.Table
) -> tuple[tuple[Fact, ...], tuple[PlainTable, ...]]:
    """Return what results cost in all, and stage by stage.

    Parameters
    ----------
    store
        Has the times of the batches.
    infos
        Representations that the results come from.
    probes, cka
        The results, with ``batch_id`` and ``elapsed_s``.
    """
    stages = _stages(store, probes, cka)
    rates = _rates(store, infos)
    facts = []
    if infos:
        facts.append(Fact(name="Images through networks", value=f"{_forwards(infos):,}"))
        facts.append(Fact(name="Features", value=bytes_text(sum(i.stored_bytes for i in infos))))
    for name, table in (("Time in probes", probes), ("Time in CKA", cka)):
        seconds = pc.sum(table["elapsed_s"]).as_py() if table.num_rows else None
        if seconds is not None:
            facts.append(Fact(name=name, value=f"{duration(seconds)} of one process"))
    return tuple(facts), tuple(t for t in (stages, rates) if t.rows)


def _stages(store: Store, probes: pa.Table, cka: pa.Table) -> PlainTable:
    timings = store.results.timings()
    rows = []
    for stage, table in (("probes", probes), ("cka", cka)):
        batches = pc.unique(table["batch_id"]) if table.num_rows else pa.array([], pa.string())
        of = timings.filter((pc.field("kind") == stage) & pc.field("batch_id").isin(batches))
        known = of.filter(pc.field("started_at").is_valid())
        if not of.num_rows:
            continue
        row = [stage if stage == "probes" else "CKA", f"{of.num_rows:,}", f"{table.num_rows:,}"]
        if known.num_rows:
            first, last = pc.min(known["started_at"]).as_py(), pc.max(known["finished_at"]).as_py()
            workers = pc.unique(known["worker"]).to_pylist()
            hosts = sorted({w.rpartition(":")[0] for w in workers})
            row += [_moment(first), _moment(last), duration((last - first).total_seconds())]
            row += [duration(pc.sum(known["elapsed_s"]).as_py()), f"{len(workers):,} on {', '.join(hosts)}"]
        else:
            row += ["-"] * 5
        rows.append(tuple(row))
    return PlainTable(
        about="cost",
        title="Stages",
        columns=(
            "stage",
            "batches",
            "results",
            "begun",
            "ended",
            "from begin to end",
            "time of processes",
            "processes",
        ),
        rows=tuple(rows),
        numeric=frozenset({"batches", "results", "from begin to end", "time of processes"}),
        note="Times are UTC, by the clocks of the hosts. From begin to end counts pauses between runs too; a dash "
        "stands where no times were kept (imported results).",
    )


def _rates(store: Store, infos: Sequence[RepresentationInfo]) -> PlainTable:
    models = {i.key.model for i in infos}
    rows = []
    for rate in store.rates.all("extraction"):
        if rate.get("model") in models and rate.get("images_per_s"):
            n = _forwards([i for i in infos if i.key.model == rate["model"]])
            speed = float(rate["images_per_s"])
            rows.append(
                (
                    rate["model"],
                    rate["device"],
                    f"{rate['batch_size']:,}",
                    f"{speed:,.0f}",
                    f"{n:,}",
                    duration(n / speed),
                )
            )
    return PlainTable(
        about="cost",
        title="Extraction",
        columns=("network", "device", "batch size", "images/s", "images", "time at that rate"),
        rows=tuple(sorted(rows)),
        numeric=frozenset({"batch size", "images/s", "images", "time at that rate"}),
        note="The rate that was measured last on each device, decoding included.",
    )


def _forwards(infos: Sequence[RepresentationInfo]) -> int:
    """Count images through networks; the layers of a network share a pass."""
    passes = {
        (
            i.key.weights,
            i.key.architecture,
            i.key.dataset_fingerprint,
            i.key.transform,
            i.key.transform_seed,
        ): i.n_samples * i.key.n_views
        for i in infos
    }
    return sum(passes.values())


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
