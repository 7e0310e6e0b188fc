"""``drfarm certs``: certificates for a cluster of several machines."""

from pathlib import Path
from typing import Annotated

import typer


def certs(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where they go; only you can read it.")],
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME", help="A machine's name or address to put in; may be repeated."),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, help="How long they are good.")] = 365,
) -> None:
    """Make an authority and certificates for a scheduler, workers and clients (see docs/security.md)."""
    from drfarm.certificates import ROLES, make_certificates

    files = make_certificates(folder, hosts=host or (), days=days)
    for role in ROLES:
        typer.echo(f"{role}: {folder / role}.pem, .key, and {folder / 'ca.pem'}")
    typer.echo(
        f"{len(files)} files in {folder}, good for {days} days. Give each machine the three of its role, and say "
        f"--tls FOLDER there. Keep {folder / 'ca.key'} off the cluster: who has it can sign for anybody."
    )
