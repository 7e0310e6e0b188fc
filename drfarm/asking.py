"""Asking a store in SQL: one statement that only reads, and messages that point at what is wrong."""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from drfarm.view_columns import SCHEMA_OF
from store import InvalidRequest, Store
from store.views import failures_table

_READS = ("SELECT", "EXPLAIN", "MULTI")
"""DuckDB's types of statements that only read; MULTI is PIVOT."""
_WHERE = re.compile(r"\n+(LINE \d+: [^\n]*\n *\^+)[^\n]*", re.DOTALL)
_NO_TABLE = re.compile(r'(?:Table|View) with name "?([^"\s]+)"? does not exist')
_SHUT = re.compile(r"disabled by configuration|has been locked|configuration.*locked|external access", re.IGNORECASE)
_WHOLE_NUMBERS = pa.decimal128(38, 0)


def ask(store: Store, sql: str, *, redundancy: Callable[[], pa.Table]) -> pa.Table:
    """Answer one question in DuckDB's SQL over the views of `view_columns.VIEWS`; nothing but the store is read.

    Parameters
    ----------
    store
        The store that is asked.
    sql
        One statement that only reads.
    redundancy
        Makes the view ``redundancy``; called where the question names it.

    Returns
    -------
    pyarrow.Table
        Columns have names of their own: a second ``model`` is ``model_1``. Sums of whole numbers are int64 where they
        fit.

    Raises
    ------
    InvalidRequest
        If the SQL is wrong, or wants more than to read the views; the message points at it.
    """
    import duckdb

    made: dict[str, Callable[[], pa.Table]] = {
        "redundancy": redundancy,
        "timings": store.results.timings,
        "failures": lambda: failures_table(store.results),
    }
    con = store.connect()
    try:
        _check_statements([s.type.name for s in con.extract_statements(sql)])
        for name, make in made.items():  # made where they are asked for; else only their columns are there
            con.register(name, make() if name in sql.lower() else SCHEMA_OF[name].empty_table())
        return _tidy(con.sql(sql).to_arrow_table())
    except duckdb.Error as e:
        raise InvalidRequest(_explained(_pointed(con, sql, e))) from e
    finally:
        con.close()


def nothing_measured(store: Store) -> str | None:
    """Say why a store has no results: none yet, or all failed; None where it has some."""
    if store.objects.first("results") is not None:
        return None
    return f"the store {store.url} has no results yet: {_why_not(store, None) or '`drfarm run` a study first.'}"


def nothing_of_study(store: Store, study: str) -> str:
    """Say why a store has no results of a study."""
    why = _why_not(store, study) or "`drfarm run` it first."
    return f"the store {store.url} has no results of study {study!r} yet: {why}"


def _why_not(store: Store, study: str | None) -> str | None:
    """Say what failed, of a study or of all; None where nothing did."""
    failures = [f for f in store.results.failures() if study is None or f.get("study") == study]
    if not failures:
        return None
    n, first = len(failures), failures[0]
    error = (str(first.get("error", "")).strip().splitlines() or ["no reason was kept"])[0]
    return (
        f"{n} {'job' if n == 1 else 'jobs'} failed, the first {first.get('what', first['batch_id'])}: "
        f'{error.rstrip(".")}. `drfarm query --store {store.url} "SELECT what, error FROM failures"` lists them; '
        "`drfarm retry STUDY` tries them again."
    )


def _check_statements(statements: Sequence[str]) -> None:
    """Refuse all but one statement that only reads, given the names of DuckDB's types of statements."""
    if not statements:
        raise InvalidRequest("the SQL is empty: write SELECT ... FROM probes, for example.")
    if len(statements) > 1 or statements[0] not in _READS:
        got = f"{len(statements)} statements" if len(statements) > 1 else statements[0]
        raise InvalidRequest(
            f"a query is one statement that only reads, such as SELECT, DESCRIBE or EXPLAIN; got {got}. Write SELECT "
            "... FROM probes, for example."
        )


def _pointed(con: Any, sql: str, error: Any) -> str:
    """Return DuckDB's message with the place in the SQL, which it tells only where a statement is executed."""
    import duckdb

    text = str(error)
    if "LINE " not in text and isinstance(error, duckdb.BinderException | duckdb.CatalogException):
        try:
            con.execute(sql)
        except duckdb.Error as again:
            return str(again)
    return text


def _explained(text: str) -> str:
    """Return what was wrong, where, and what to do."""
    found = _WHERE.search(text)
    place = "" if found is None else found[1]
    what = (text if found is None else text[: found.start()]).strip()
    what = re.sub(r"^(?:[A-Z]\w+ )+Error: ", "", what)
    unknown = _NO_TABLE.search(what)
    if unknown is not None:
        near = difflib.get_close_matches(unknown[1].lower(), SCHEMA_OF, n=1, cutoff=0.5)
        what = f'Table with name "{unknown[1]}" does not exist.'
        what += f' Did you mean "{near[0]}"?' if near else ""
        what += f" The views are {', '.join(SCHEMA_OF)}."
    elif _SHUT.search(what):
        what += (
            "\nA query reads the views of the store, and nothing else: files, the network and settings are shut off."
        )
    elif "not found in FROM" in what or "does not have a column" in what:
        what += "\n`drfarm query --schema` lists the columns of every view."
    elif "Out of Memory" in text or "out of memory" in what:
        what += "\nThe answer does not fit in memory, and a query writes no file: ask for fewer rows or columns."
    return f"the query can't be answered: {what}" + (f"\n\n{place}" if place else "")


def _tidy(table: pa.Table) -> pa.Table:
    """Give every column a name of its own, and whole numbers the type that others know."""
    seen: set[str] = set()
    names, columns = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        distinct, n = name, 0
        while distinct in seen or (n and distinct in table.column_names):
            n += 1
            distinct = f"{name}_{n}"
        seen.add(distinct)
        names.append(distinct)
        columns.append(_whole_numbers(column) if column.type == _WHOLE_NUMBERS else column)
    return pa.Table.from_arrays(columns, names=names)


def _whole_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:  # larger than int64
        return column
