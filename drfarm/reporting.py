"""The report of a study or a store: one HTML page with what was found, what it cost and where it comes from."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

import aggregate
from aggregate.report import Failure, Listing, ReportInput, report_page
from drfarm import provenance
from drfarm._spent import spent
from drfarm._version import __version__
from drfarm.api import DEFAULT_DELTAS, OpenStore
from drfarm.logs import without_secrets
from drfarm.outputs import rows_of_study, write_text
from drfarm.planning import StudyPlan, plan_study
from drfarm.running import failures_of
from drfarm.study import Study
from store import NotFound, Store
from store import open_store as open_plain_store
from store.schema import CKA, PROBES

_LISTS = ("class_accuracy", "predicted_count")
_NO_JOINS = "row"
"""Column that holds the place of a row while list columns are away: Arrow joins no lists."""


def report(
    source: Study | StudyPlan | OpenStore | str | Path,
    out: str | Path,
    *,
    store: str | None = None,
    study_file: str | Path | None = None,
    title: str | None = None,
) -> Path:
    """Write one self-contained HTML page about a study, or about everything in a store.

    Parameters
    ----------
    source
        A study, its plan, an open store, or the address of a store.
    out
        The file to write.
    store
        Instead of the study's store.
    study_file
        The file that the study was read from: the page shows it as it is.
    title
        Instead of the study's name, or the store's.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    NotFound
        If there is no store.
    InvalidRequest
        If the file can't be written.
    """
    if isinstance(source, Study):
        source = plan_study(source, store_url=store)
    if isinstance(source, StudyPlan):
        given = _of_study(source, None if study_file is None else Path(study_file), title)
    else:
        given = _of_store(open_plain_store(source.url if isinstance(source, OpenStore) else source), title)
    return write_text(Path(out), report_page(given))


def _of_study(plan: StudyPlan, file: Path | None, title: str | None) -> ReportInput:
    try:
        store = open_plain_store(plan.store_url)
    except NotFound as e:
        raise NotFound(f"{e} The report shows what is in the study's store.") from e
    probes, cka = _tables(store)
    place = pa.array(range(probes.num_rows), pa.int64())
    narrow, cka = rows_of_study(plan, probes.drop_columns(list(_LISTS)).append_column(_NO_JOINS, place), cka)
    for name in _LISTS:
        narrow = narrow.append_column(PROBES.field(name), probes[name].take(narrow[_NO_JOINS]))
    settings = plan.study.model_dump(mode="json")
    return _input(
        store,
        title=title or plan.study.study,
        probes=narrow.select(probes.column_names),
        cka=cka,
        deltas=plan.study.deltas,
        studies=[settings],
        study=settings,
        named=plan.representation_ids,
        failures=failures_of(plan, store),
        reproduce=_again(plan.study.study, _study_text(settings, file), None if file is None else file.name),
    )


def _of_store(store: Store, title: str | None) -> ReportInput:
    probes, cka = _tables(store)
    studies = store.studies()
    named = {d for s in studies for d in s.get("deltas", ())}
    listings: list[Listing] = []
    for study in studies:
        listings += _again(str(study["study"]), _study_text(study, None), None)
    return _input(
        store,
        title=title or store.url.rstrip("/").rpartition("/")[2] or store.url,
        probes=probes,
        cka=cka,
        deltas=tuple(sorted({*DEFAULT_DELTAS, *named})),
        studies=studies,
        study=None,
        named=(),
        failures=sorted(store.results.failures(), key=lambda f: (f["study"], f["stage"], f["what"])),
        reproduce=tuple(listings),
    )


def _input(
    store: Store,
    *,
    title: str,
    probes: pa.Table,
    cka: pa.Table,
    deltas: tuple[float, ...],
    studies: list[dict[str, Any]],
    study: dict[str, Any] | None,
    named: tuple[str, ...],
    failures: list[Any],
    reproduce: tuple[Listing, ...],
) -> ReportInput:
    infos = provenance.used(store, [probes, cka], named)
    facts, tables = spent(store, infos, probes, cka)
    redundancy = aggregate.redundancy(probes.drop_columns(list(_LISTS)), cka, deltas=list(deltas))
    if infos:
        reproduce = (*reproduce, Listing(title="Hashes in full", text=provenance.hashes(infos)))
    return ReportInput(
        title=title,
        probes=probes,
        cka=cka,
        redundancy=redundancy,
        failures=tuple(map(_failure, failures)),
        facts={**({"Cost": facts} if facts else {}), **provenance.where_from(store, study)},
        tables=(*tables, *provenance.origins(infos, probes, cka, studies)),
        reproduce=reproduce,
        made=f"made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by drfarm {__version__}",
    )


def _tables(store: Store) -> tuple[pa.Table, pa.Table]:
    return (store.results.table("probes", columns=PROBES.names), store.results.table("cka", columns=CKA.names))


def _failure(record: dict[str, Any]) -> Failure:
    return Failure(
        what=str(record["what"]),
        error=without_secrets(str(record["error"])),
        n_jobs=_n_missing(record.get("work")),
        batch_id=str(record["batch_id"]),
        stage=str(record["stage"]),
        attempts=int(record.get("attempts") or 0),
        log=without_secrets(str(record.get("log") or "")),
    )


def _n_missing(work: Any) -> int:
    """Count the results of a batch, given its sizes by curve as `quarantine.described` tells them."""
    n = 0
    for text in work.values() if isinstance(work, dict) else ():
        first, dash, last = str(text).partition("-")
        n += int(last) - int(first) + 1 if dash else sum(map(bool, str(text).split(",")))
    return n


def _study_text(settings: dict[str, Any], file: Path | None) -> str:
    """Return the study file as it is; of a study that only the store knows, its settings as YAML."""
    if file is not None:
        return without_secrets(file.read_text(encoding="utf-8"))
    kept = {k: v for k, v in settings.items() if k != "representations"}
    return without_secrets(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True))


def _again(name: str, text: str, file: str | None) -> tuple[Listing, ...]:
    path = file or f"{name}.yaml"
    commands = f"pip install drfarm=={__version__}\ndrfarm run {path}\ndrfarm report {path} -o report.html"
    told = f"{path}, the study file" if file else f"{path}, as the store keeps the study"
    return (Listing(title=f"Commands for {name}", text=commands), Listing(title=told, text=text.rstrip()))
