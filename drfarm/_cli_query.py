"""``drfarm query``: asking a store in SQL, with questions to begin with and the columns to ask for."""

import re
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from drfarm._cli_options import StoreUrl
from store import InvalidRequest

STDIN = "-"
"""Stands for what is piped in, or for what is piped on."""


def query(
    sql: Annotated[
        str | None,
        typer.Argument(metavar="[SQL]", help="A SELECT over the views (see --schema); - reads it from standard input."),
    ] = None,
    store: StoreUrl = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Read the SQL from a file; - is standard input.")
    ] = None,
    output_format: Annotated[
        Literal["table", "csv", "json", "parquet"] | None,
        typer.Option("--format", help="How to write it; by default as FILE ends, else as a table."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write it here; parquet needs this. - is standard output."),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Show every view and column with its meaning.")] = False,
    examples: Annotated[bool, typer.Option("--examples", help="Show useful questions.")] = False,
) -> None:
    """Ask the results in SQL (DuckDB's); read-only: a query can reach no file, network or setting.

    Example: drfarm query --store S "SELECT model, dataset, dr, ci_low, ci_high FROM redundancy WHERE rule = 'strict'"
    """
    from drfarm._show_answer import chosen_format

    chosen = chosen_format(output_format, out)
    if chosen == "parquet" and out is None:
        raise InvalidRequest("parquet is not for the screen: give a file with -o FILE.")
    if schema or examples:
        _show_help(schema=schema, examples=examples, asked=output_format, out=out)
        return
    text = _sql(sql, file)
    if store is None:
        raise InvalidRequest("Missing option '--store': a query asks a store, a folder or s3://...")
    from drfarm.api import open_store
    from drfarm.asking import nothing_measured

    opened = open_store(store)
    _write(opened.query(text), chosen, out)
    if re.search(r"\b(probes|cka|redundancy)\b", text, re.IGNORECASE):
        why = nothing_measured(opened.plain)
        if why is not None:
            typer.echo(f"drfarm: note: {why}", err=True)


def _show_help(
    *, schema: bool, examples: bool, asked: Literal["table", "csv", "json", "parquet"] | None, out: Path | None
) -> None:
    from drfarm._show_answer import chosen_format
    from drfarm.questions import questions_table, questions_text
    from drfarm.view_columns import schema_text, view_schema

    if schema and examples:
        raise InvalidRequest("give either --schema or --examples.")
    chosen = chosen_format(asked, out)
    if chosen != "table":
        _write(view_schema() if schema else questions_table(), chosen, out)
        return
    text = schema_text() if schema else questions_text()
    _put((text + "\n").encode(), out)


def _sql(sql: str | None, file: Path | None) -> str:
    """Return the SQL, from wherever it is."""
    if (sql is None) == (file is None):
        raise InvalidRequest(
            'give the SQL, or a file of it with -f: drfarm query --store S "SELECT ...". --examples shows questions, '
            "--schema what can be asked for."
        )
    if sql not in (None, STDIN):
        return str(sql)
    if file is None or str(file) == STDIN:
        return sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        reason = getattr(e, "strerror", None) or str(e)
        raise InvalidRequest(f"{file} can't be read: {reason}. Give the path of a text file with SQL.") from e


def _write(table: Any, output_format: Literal["table", "csv", "json", "parquet"], out: Path | None) -> None:
    from drfarm._show_answer import answer_bytes

    width = shutil.get_terminal_size().columns if out is None and sys.stdout.isatty() else None
    _put(answer_bytes(table, output_format, width=width), out)


def _put(data: bytes, out: Path | None) -> None:
    from drfarm.outputs import write_bytes

    if out is None:
        typer.echo(data.decode(), nl=False)
    elif str(out) == STDIN:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    elif out.exists() and not out.is_file() and not out.is_dir():
        out.write_bytes(data)  # a pipe or a device: to replace it by a file would be no answer
    else:
        write_bytes(out, data)
