"""Where results come from: networks, data, protocols, versions, machines, and what it all cost. Read from the store."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from aggregate.report import Fact, PlainTable
from drfarm._version import __version__
from drfarm.logs import without_secrets
from drfarm.machines import machines, versions, versions_text
from drfarm.progress import bytes_text
from drfarm.study_measures import AccuracyMeasure
from store import RepresentationInfo, Store, content_id
from store.root import STORE_FORMAT

_SHORT = 12


def used(store: Store, tables: Sequence[pa.Table], named: Sequence[str] = ()) -> list[RepresentationInfo]:
    """Return the representations that results were computed from, and those that a study names besides.

    Parameters
    ----------
    store
        Where they are.
    tables
        Results with the columns ``test_id``, and ``train_id`` where there is one.
    named
        More ids.
    """
    ids = set(named)
    for table in tables:
        for column in {"train_id", "test_id"} & set(table.column_names):
            ids |= set(pc.unique(table[column]).to_pylist())
    return [i for i in store.features.catalogue() if i.key.id in ids]


def where_from(store: Store, study: Mapping[str, Any] | None) -> dict[str, tuple[Fact, ...]]:
    """Return the store, the versions and the machines that worked on it, as lines under headings.

    Parameters
    ----------
    store
        The store.
    study
        The study's settings as the store would keep them; None where the report is of a whole store.
    """
    facts = [Fact(name="Store", value=f"{without_secrets(store.url)}, format {STORE_FORMAT}")]
    if study is None:
        names = ", ".join(sorted(str(s["study"]) for s in store.studies())) or "none"
        facts.append(Fact(name="Studies in it", value=names))
    else:
        facts.append(Fact(name="Study", value=f"{study['study']}, settings sha256 {content_id(study)}"))
    facts.append(Fact(name="Versions now", value=f"drfarm {__version__}, {versions_text(versions())}"))
    found: dict[str, tuple[Fact, ...]] = {"Where it comes from": tuple(facts)}
    seen = machines(store)
    if seen:
        found["Machines that ran it"] = tuple(Fact(name=m.host, value=m.told) for m in seen)
    return found


def origins(
    infos: Sequence[RepresentationInfo], probes: pa.Table, cka: pa.Table, studies: Sequence[Mapping[str, Any]]
) -> tuple[PlainTable, ...]:
    """Return networks, data sets, representations and protocols, each as a table.

    Parameters
    ----------
    infos
        Representations that results come from.
    probes, cka
        The results.
    studies
        Settings of the studies: what the protocols' names mean.
    """
    return tuple(
        t for t in (_networks(infos), _data(infos), _representations(infos), _protocols(probes, cka, studies)) if t.rows
    )


def hashes(infos: Sequence[RepresentationInfo]) -> str:
    """Return every hash in full, a line each: weights, data, representations."""
    lines = {f"weights  {i.key.weights}  {i.key.model}" for i in infos}
    lines |= {f"data     {i.key.dataset_fingerprint}  {i.key.dataset}/{i.key.split}" for i in infos}
    ids = [f"features {i.key.id}  {i.key.model}/{i.key.layer}/{i.key.dataset}/{i.key.split}" for i in infos]
    return "\n".join([*sorted(lines), *ids])


def _networks(infos: Sequence[RepresentationInfo]) -> PlainTable:
    rows = {
        (
            i.key.model,
            i.key.architecture,
            ", ".join(f"{k}={v}" for k, v in sorted(i.key.arguments.items())) or "-",
            i.key.weights[:_SHORT],
            str(i.key.input_size),
            f"{_numbers(i.key.mean)} / {_numbers(i.key.std)}",
            i.key.precision,
        )
        for i in infos
    }
    return PlainTable(
        about="provenance",
        title="Networks",
        columns=("network", "source", "arguments", "weights", "input", "mean / deviation", "arithmetic"),
        rows=tuple(sorted(rows)),
        numeric=frozenset({"input"}),
        note="Weights by the first twelve characters of their hash; all hashes are below in full.",
    )


def _data(infos: Sequence[RepresentationInfo]) -> PlainTable:
    rows = {
        (f"{i.key.dataset}/{i.key.split}", f"{i.n_samples:,}", i.key.dataset_fingerprint[:_SHORT], i.key.transform)
        for i in infos
    }
    return PlainTable(
        about="provenance",
        title="Data",
        columns=("data set/split", "samples", "fingerprint", "transform"),
        rows=tuple(sorted(rows)),
        numeric=frozenset({"samples"}),
        note="The fingerprint covers the samples, their labels and their order.",
    )


def _representations(infos: Sequence[RepresentationInfo]) -> PlainTable:
    return PlainTable(
        about="provenance",
        title="Representations",
        columns=(
            "network/layer",
            "data set/split",
            "neurons",
            "samples",
            "views",
            "type",
            "stored",
            "made (UTC)",
            "id",
        ),
        rows=tuple(
            (
                f"{i.key.model}/{i.key.layer}",
                f"{i.key.dataset}/{i.key.split}",
                f"{i.width:,}" if not i.gathered else f"{i.width:,} of {i.layer_width:,}",
                f"{i.n_samples:,}",
                str(i.key.n_views),
                i.key.dtype,
                bytes_text(i.stored_bytes) if i.complete else f"{i.n_chunks_done} of {i.n_chunks} chunks",
                f"{i.created_at:%Y-%m-%d %H:%M}",
                i.key.id[:_SHORT],
            )
            for i in infos
        ),
        numeric=frozenset({"neurons", "samples", "views", "stored"}),
    )


def _protocols(probes: pa.Table, cka: pa.Table, studies: Sequence[Mapping[str, Any]]) -> PlainTable:
    known = _settings(studies)
    rows = []
    for row in _counted(probes, ["solver", "protocol"]):
        solver, protocol = row["solver"] or "-", row["protocol"] or "-"
        names = [n for s, n in known if s == solver and (protocol == n or protocol.startswith(f"{n}+"))]
        meaning = known[solver, max(names, key=len)] if names else _UNKNOWN.get(protocol, "not kept in this store")
        rows.append((f"{solver}, {protocol}", f"{row['n']:,} probes", meaning))
    for row in _counted(cka, ["estimator"] if "estimator" in cka.column_names else []):
        rows.append((f"CKA, {row.get('estimator') or 'biased'}", f"{row['n']:,} values", "linear kernel, test split"))
    return PlainTable(
        about="provenance",
        title="Protocols",
        columns=("solver, protocol", "results", "settings"),
        rows=tuple(sorted(rows)),
        numeric=frozenset({"results"}),
        note="Results of different protocols are never averaged: each has its own lines and rows in this report.",
    )


_UNKNOWN = {"imported": "accuracies measured elsewhere, read from a file"}


def _settings(studies: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Return what each named protocol of these studies sets, as text, by solver and name."""
    found: dict[tuple[str, str], str] = {}
    for study in studies:
        for measure in study.get("measures", ()):
            if measure.get("measure") != "accuracy":
                continue
            try:
                protocol = AccuracyMeasure.model_validate(measure).settings()
            except ValidationError:  # a newer drfarm kept it
                continue
            values = {k: v for k, v in protocol.identity().items() if k not in ("name", "solver")}
            text = ", ".join(f"{k.replace('_', ' ')} {_value(v)}" for k, v in values.items())
            found[protocol.solver, protocol.name] = text
    return found


def _counted(table: pa.Table, columns: list[str]) -> list[dict[str, Any]]:
    """Return each combination of values, with the number of its rows as ``n``."""
    if not table.num_rows:
        return []
    if not columns:
        return [{"n": table.num_rows}]
    return table.group_by(columns).aggregate([([], "count_all")]).rename_columns([*columns, "n"]).to_pylist()


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _numbers(values: Sequence[float]) -> str:
    distinct = values[:1] if len(set(values)) == 1 else values
    return " ".join(f"{v:g}" for v in distinct)
