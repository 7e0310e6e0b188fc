"""``drfarm fidelity``: the paper's numbers beside their recomputation, and beside what a store measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from drfarm._cli_options import StoreUrl, beside
from store import InvalidRequest

if TYPE_CHECKING:
    from drfarm.outputs import StudyResults


def fidelity(
    study: Annotated[
        Path | None, typer.Argument(metavar="[STUDY]", help="A study to hold against the paper; or give --store.")
    ] = None,
    store: StoreUrl = None,
    only: Annotated[
        Literal["table1", "accuracy", "cka", "claims"] | None,
        typer.Option("--only", help="table1: DR and ImageNet; accuracy; cka; claims: sentences of the paper."),
    ] = None,
    output_format: Annotated[Literal["md", "csv", "json"], typer.Option("--format", help="How to write it.")] = "md",
    roles: Annotated[
        list[str] | None,
        typer.Option(
            "--as", metavar="ROLE=NAME", help="The store's NAME is the paper's ROLE, such as resnet50=my-resnet."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write it here.")] = None,
) -> None:
    """Hold the paper's numbers against their recomputation, Eq. 1, and what was measured here.

    Without a study or store it shows the published part alone. Examples: drfarm fidelity --only claims;
    drfarm fidelity --store S --only table1 -o fidelity.md
    """
    import aggregate
    from drfarm.outputs import write_text

    results = _results(study, store)
    table = aggregate.fidelity(
        None if results is None else results.probes,
        None if results is None else results.cka,
        roles=_parse_roles(roles or ()),
    )
    text = aggregate.fidelity_text(table, output_format, only=only)
    if out is None:
        typer.echo(text.rstrip("\n"))
    else:
        typer.echo(write_text(out, text))


def _results(study: Path | None, store: str | None) -> "StudyResults | None":
    if study is None and store is None:
        return None
    from drfarm.outputs import store_results, study_results
    from drfarm.planning import plan_study
    from drfarm.study import load_study
    from store import open_store

    if study is not None:
        with beside(study):
            return study_results(plan_study(load_study(study), store_url=store))
    return store_results(open_store(str(store)), (0.9,))


def _parse_roles(given: Sequence[str]) -> dict[str, str]:
    """Read ROLE=NAME, each role once.

    Raises
    ------
    InvalidRequest
        If one has another form, or a role has two names.
    """
    roles: dict[str, str] = {}
    for word in given:
        role, equals, name = word.partition("=")
        if not (role and equals and name):
            raise InvalidRequest(f"--as takes ROLE=NAME, such as resnet50=my-resnet, got {word!r}.")
        if roles.setdefault(role, name) != name:
            raise InvalidRequest(f"--as gives the role {role} two names, {roles[role]} and {name}: choose one.")
    return roles
