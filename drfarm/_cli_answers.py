"""``drfarm table``: DR, and other tables by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from drfarm._cli_options import StoreUrl, beside
from drfarm.study import load_study
from store import InvalidRequest, UnknownName
from store import open_store as open_plain_store

if TYPE_CHECKING:
    from drfarm.outputs import StudyResults


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRequest:
    """What a named table is made from."""

    results: "StudyResults"
    """Results of the study, or of the whole store; DR for the deltas that were asked for."""
    output_format: Literal["csv", "md", "tex"]
    """How it is written."""
    rule: Literal["strict", "nearest", "interpolated"] | None
    """Rule of DR that was asked for; None: the table's own default."""
    deltas: tuple[float, ...]
    """Thresholds that were asked for; empty: the table's own default."""
    own_models: bool
    """Whether the store's own models are wanted (``--models all``) in place of the paper's."""
    roles: Mapping[str, str]
    """The store's names that play networks and data sets of the paper (``--as``)."""


def _redundancy(request: TableRequest) -> str:
    import aggregate

    return aggregate.redundancy_table(request.results.redundancy, request.output_format, rule=request.rule or "strict")


def _fidelity(request: TableRequest) -> str:
    import aggregate

    if request.output_format == "tex":
        raise InvalidRequest("the table fidelity is written as md or csv, got tex; `drfarm fidelity` also writes json.")
    return aggregate.fidelity_text(
        aggregate.fidelity(request.results.probes, request.results.cka), request.output_format
    )


def _table1(request: TableRequest) -> str:
    import aggregate

    if len(request.deltas) > 1:
        given = ", ".join(f"{delta:g}" for delta in request.deltas)
        raise InvalidRequest(f"Table 1 has one threshold, got {given}: give one --delta.")
    # The paper's rule is always there, to be compared with; another one that is asked for stands beside it.
    rules: list[aggregate.Rule] = ["nearest"]
    if request.rule not in (None, "nearest"):
        rules.append(request.rule)
    return aggregate.table1(
        request.results.probes,
        request.output_format,
        delta=request.deltas[0] if request.deltas else 0.9,
        rules=rules,
        models="all" if request.own_models else "paper",
        roles=request.roles,
    )


def _rules(request: TableRequest) -> str:
    import aggregate

    return aggregate.three_rules_table(request.results.redundancy, request.output_format)


# To add a table: write `def _name(request: TableRequest) -> str` above (import what it needs inside: the command must
# start without matplotlib, bokeh and torch) and add one line here. `drfarm table NAME [STUDY] --store S` then finds it,
# with --format, --rule, --delta, --models, --as and -o.
TABLES: Final[dict[str, Callable[[TableRequest], str]]] = {
    "redundancy": _redundancy,
    "fidelity": _fidelity,
    "rules": _rules,
    "table1": _table1,
}
"""Tables by name; `redundancy` is what `drfarm table` prints without one."""


def table(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME] [STUDY]", help="redundancy (default), or another table; a study, or --store."),
    ] = None,
    store: StoreUrl = None,
    output_format: Annotated[Literal["csv", "md", "tex"], typer.Option("--format", help="How to write it.")] = "md",
    rule: Annotated[
        Literal["strict", "nearest", "interpolated"] | None,
        typer.Option("--rule", help="strict: Eq. 1, the default; nearest: as Table 1 of the paper; interpolated."),
    ] = None,
    delta: Annotated[list[float] | None, typer.Option("--delta", help="Threshold; may be given several times.")] = None,
    models: Annotated[
        str | None, typer.Option("--models", metavar="all", help="all: the store's own models, not the paper's.")
    ] = None,
    roles: Annotated[
        list[str] | None,
        typer.Option("--as", metavar="ROLE=NAME", help="Who plays a network or data set of Table 1: resnet50=mine."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write it here.")] = None,
) -> None:
    """Print the DR table of a study, or of a whole store."""
    from drfarm.outputs import write_text

    names, study = names_and_study(what or [], TABLES, "table")
    if len(names) > 1:
        raise InvalidRequest(f"one table at a time, got {', '.join(names)}: call `drfarm table` once for each.")
    if models not in (None, "all"):
        raise InvalidRequest(f"--models of a table is `all` or not given, got {models!r}.")
    if roles and names != ["table1"]:
        raise InvalidRequest("--as is for Table 1 of the paper: `drfarm table table1`.")
    if roles and models == "all":
        raise InvalidRequest("--as is for the paper's networks and --models all for the store's own: give one of them.")
    deltas = tuple(delta or ())
    request = TableRequest(
        results=read_results(study, store, deltas),
        output_format=output_format,
        rule=rule,
        deltas=deltas,
        own_models=models == "all",
        roles=pairs_of_roles(roles or ()),
    )
    text = TABLES[names[0] if names else "redundancy"](request)
    if out is None:
        typer.echo(text.rstrip("\n"))
    else:
        typer.echo(write_text(out, text))


def names_and_study(what: list[str], known: Any, kind: str) -> tuple[list[str], Path | None]:
    """Tell names apart from a study file: a known name is a name, a file is a study, anything else is a typing error.

    Raises
    ------
    InvalidRequest
        If there are two studies, or a word is neither a name nor a file.
    """
    names = [word for word in what if word in known]
    others = [word for word in what if word not in known]
    if len(others) > 1:
        raise InvalidRequest(f"give one study file at most, got {', '.join(others)}; names of {kind}s: see --help.")
    if not others:
        return names, None
    file = Path(others[0])
    if not file.exists() and not file.suffix and len(file.parts) == 1:
        raise UnknownName.among(kind, others[0], known, where="neither a file nor a name")
    return names, file


def pairs_of_roles(given: Sequence[str]) -> dict[str, str]:
    """Return what ``--as`` says: a role of the paper to the name in the store that plays it.

    Raises
    ------
    InvalidRequest
        If a text is not ROLE=NAME, or a role is given twice.
    """
    found: dict[str, str] = {}
    for text in given:
        role, equals, name = text.partition("=")
        if not (role and equals and name):
            raise InvalidRequest(f"--as takes ROLE=NAME, such as resnet50=my-resnet, got {text!r}.")
        if role in found:
            raise InvalidRequest(f"--as names role {role!r} twice, {found[role]!r} and {name!r}: one plays a role.")
        found[role] = name
    return found


def read_results(study: Path | None, store: str | None, deltas: tuple[float, ...]) -> Any:
    """Return the results of a study, or of a whole store (`drfarm.outputs.StudyResults`)."""
    from drfarm.api import DEFAULT_DELTAS
    from drfarm.outputs import store_results, study_results
    from drfarm.planning import plan_study

    if study is None:
        if store is None:
            raise InvalidRequest("give a study file, or a store with --store.")
        return store_results(open_plain_store(store), deltas or DEFAULT_DELTAS)
    loaded = load_study(study)
    if deltas:
        loaded = loaded.model_copy(update={"deltas": deltas})
    with beside(study):
        return study_results(plan_study(loaded, store_url=store))
